"""The training loop: batches, schedule, history, validation, checkpoints, exact resume.

It knows neither GAN nor mask: a phase gives it networks and a function that leaves gradients in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from masksr import checkpoints
from masksr.errors import MasksrError
from masksr.params import Schedule, Train
from masksr.patches import PatchSampler
from masksr.steps import Metrics
from masksr.validation import Validation

Step = Callable[[Tensor, Tensor, int], Metrics]  # (lr, hr, step): leaves gradients in the networks


@dataclass
class Phase:
    """What one phase of a training consists of. The first network is the generator."""

    name: str
    networks: list[nn.Module]
    step: Step
    sampler: PatchSampler
    validation: Validation
    schedule: Schedule
    settings: Train
    device: torch.device
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return self.schedule.epochs * self.settings.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """In force at ``step``, counted from 0: halved after each epoch of ``halve_at``."""
        halvings = sum(step >= epoch * self.settings.steps_per_epoch for epoch in self.schedule.halve_at)
        return self.schedule.learning_rate * 0.5**halvings


def fit(phase: Phase, folder: Path) -> nn.Module:
    """Train to the end of the phase, from its last checkpoint in ``folder`` if there is one; fill its history.

    Returns the generator, or its moving average where that is on. Raises MasksrError when a loss or weight stops being
    finite; the last checkpoint, always of a finite state, stays.
    """
    state = _State(phase)
    begin = state.resume(folder)
    clock, timed = time.perf_counter(), begin
    bar = tqdm(total=phase.steps, initial=begin, desc=phase.name, unit="step", leave=False, mininterval=1.0)
    with bar:
        for step in range(begin, phase.steps):
            lr, hr = (_to_device(patches, phase) for patches in phase.sampler.batch(step))
            state.prepare(phase.learning_rate(step))
            state.window.add(phase.step(lr, hr, step))
            state.update()
            bar.update()

            done = step + 1
            last = done == phase.steps
            validating = done % phase.settings.validate_every == 0 or last
            if done % phase.settings.log_every == 0 or validating:
                row = {"phase": phase.name, "step": done, "epoch": done / phase.settings.steps_per_epoch}
                row |= {"learning_rate": phase.learning_rate(step)} | state.window.mean(f"{phase.name}, step {done}")
                now = time.perf_counter()
                row["images_per_s"] = (done - timed) * lr.shape[0] / (now - clock)
                if validating:
                    row |= phase.validation.row(state.result)
                    bar.set_postfix_str(f"{row['psnr']:.2f} dB")
                phase.history.append(row)
                state.window, clock, timed = Window(), time.perf_counter(), done
            if done % phase.settings.checkpoint_every == 0 or last:
                state.save(folder, done)
    return state.result


class _State:
    """Everything a checkpoint holds: networks, optimisers, moving average, history, the sums since its last row."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        for network in phase.networks:
            network.to(phase.device, memory_format=torch.channels_last).train()
        fused = phase.device.type in ("cpu", "cuda")
        self.optimizers = [
            torch.optim.Adam((p for p in n.parameters() if p.requires_grad), betas=(0.9, 0.999), fused=fused)
            for n in phase.networks
        ]
        self.result = phase.networks[0]
        self.average = None
        if decay := phase.settings.ema:
            self.average = AveragedModel(self.result, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            self.result = self.average.module
        self.parts = [*phase.networks, *self.optimizers, *([self.average] if self.average else [])]
        self.window = Window()

    def prepare(self, learning_rate: float) -> None:
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.zero_grad(set_to_none=True)

    def update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average:
            self.average.update_parameters(self.phase.networks[0])

    def save(self, folder: Path, step: int) -> None:
        """A checkpoint, unless something in it is not finite: a run must never resume from a broken state."""
        where = f"{self.phase.name}, step {step}"
        self.window.mean(where)
        for part in self.parts:
            if not all(torch.isfinite(tensor).all() for tensor in _tensors(part.state_dict())):
                raise _diverged(where, f"something in the state of {type(part).__name__}")
        state = {
            "step": step,
            "history": self.phase.history,
            "window": self.window.sums,
            "parts": [part.state_dict() for part in self.parts],
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all(),
        }
        checkpoints.save(folder, step, state)

    def resume(self, folder: Path) -> int:
        """Take over the last checkpoint of ``folder``; the step to go on from, 0 without one."""
        saved = checkpoints.load_last(folder, self.phase.device)
        if saved is None:
            return 0
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(state)
        self.phase.history, self.window.sums = saved["history"], saved["window"]
        torch.set_rng_state(saved["rng"].cpu())
        if len(saved["rng_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in saved["rng_cuda"]])
        if saved["step"] < self.phase.steps:
            print(f"{self.phase.name}: goes on from step {saved['step']} of {self.phase.steps}", flush=True)
        return saved["step"]


class Window:
    """Sums of the metrics since the last row of the history, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}

    @property
    def steps(self) -> int:
        return int(self.sums.get("steps", 0))

    def add(self, metrics: Metrics) -> None:
        self.sums = {"steps": self.steps + 1} | {k: v + self.sums.get(k, 0.0) for k, v in metrics.items()}

    def mean(self, where: str) -> dict[str, float]:
        """The means as numbers. Raises MasksrError when one is NaN or infinite."""
        means = {name: float(value) / self.steps for name, value in self.sums.items() if name != "steps"}
        if bad := [name for name, value in means.items() if not np.isfinite(value)]:
            raise _diverged(where, ", ".join(bad))
        return means


def _tensors(state: Any) -> Iterator[Tensor]:
    """All tensors of a state dict, however deep."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)


def _diverged(where: str, what: str) -> MasksrError:
    return MasksrError(
        f"{where}: {what} is no longer finite, so the training stopped; its last checkpoint, from before, is kept. "
        "Lower the learning rate or the weight of that loss in params.yaml, or use precision: fp32"
    )


def _to_device(patches: Tensor, phase: Phase) -> Tensor:
    """(B, 3, H, W) uint8 -> float in the generator's pixel range, on the device."""
    patches = patches.to(phase.device, non_blocking=True).float() * (phase.networks[0].pixel_range / 255)
    return patches.contiguous(memory_format=torch.channels_last)


def history_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """The history as a table, a row per entry, with the same leading columns for every training."""
    first = ["phase", "step", "epoch", "learning_rate", "psnr", "psnr_bicubic"]
    table = pd.DataFrame(history)
    return table[[c for c in first if c in table] + [c for c in table if c not in first]]
