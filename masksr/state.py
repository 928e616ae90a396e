"""The state of a training: all that a checkpoint holds, and what it must never hold, a number that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from masksr import checkpoints, devices
from masksr.errors import MasksrError
from masksr.steps import Metrics

if TYPE_CHECKING:
    from masksr.loop import Phase


class State:
    """Everything a checkpoint holds: networks, optimisers, moving average, history, the sums since its last row."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        for network in phase.networks:
            network.to(phase.device, memory_format=torch.channels_last).train()
            if phase.settings.compile:
                devices.compile_network(network, phase.settings.compile)
        phase.networks[0].recompute = phase.settings.gradient_checkpointing
        fused = phase.device.type in ("cpu", "cuda")
        self.optimizers = [
            torch.optim.Adam((p for p in n.parameters() if p.requires_grad), betas=(0.9, 0.999), fused=fused)
            for n in phase.networks
        ]
        self.result = phase.networks[0]
        self.average = None
        if decay := phase.settings.ema:
            self.average = AveragedModel(self.result, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            self.average.n_averaged.fill_(1)  # it begins at the initial weights, which the copy has
            self.result = self.average.module
        self.parts = [*phase.networks, *self.optimizers, *([self.average] if self.average else [])]
        self.window = Window()

    def prepare(self, learning_rate: float) -> None:
        if self.phase.settings.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # what graphs returned for the step before may be overwritten
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.zero_grad(set_to_none=True)

    def update(self, parts: int) -> None:
        """One step along the mean of the gradients that ``parts`` parts of the batch have left summed."""
        for optimizer in self.optimizers:
            if parts > 1:
                gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
                torch._foreach_div_(gradients, parts)
            optimizer.step()
        if self.average:
            self.average.update_parameters(self.phase.networks[0])

    def save(self, folder: Path, step: int) -> None:
        """A checkpoint, unless something in it is not finite: a run must never resume from a broken state."""
        where = f"{self.phase.name}, step {step}"
        self.window.mean(where)
        for part in self.parts:
            if not all(torch.isfinite(tensor).all() for tensor in _tensors(part.state_dict())):
                raise diverged(where, f"something in the state of {type(part).__name__}")
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
            raise diverged(where, ", ".join(bad))
        return means


def _tensors(state: Any) -> Iterator[Tensor]:
    """All tensors of a state dict, however deep."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)


def diverged(where: str, what: str) -> MasksrError:
    return MasksrError(
        f"{where}: {what} is no longer finite, so the training stopped; its last checkpoint, from before, is kept. "
        "Lower the learning rate or the weight of that loss in params.yaml, or use precision: fp32"
    )
