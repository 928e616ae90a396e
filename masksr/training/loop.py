"""The training loop: batches, schedule, history, validation, checkpoints, exact resume.

It knows neither GAN nor mask: a phase gives it networks and a function that leaves gradients in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from masksr.data.patches import PatchSampler
from masksr.data.supply import supply
from masksr.errors import MasksrError
from masksr.params import Schedule, Train
from masksr.training import devices
from masksr.training.state import State, Window
from masksr.training.steps import Metrics
from masksr.training.validation import Validation

# (networks, lr, hr, number): calls these networks, and adds gradients to those in their parameters
Step = Callable[[Sequence[nn.Module], Tensor, Tensor, int], Metrics]


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
    memory_format: torch.memory_format
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
    finite; the last checkpoint, always of a finite state, stays. Of several processes (``data.share``) all call this;
    the first one alone validates and writes.
    """
    state, share = State(phase), phase.sampler.share
    begin = state.resume(folder)
    with _explained(phase):
        batches = supply(phase.sampler, phase.device)
    clock, timed = time.perf_counter(), begin
    settings = {"desc": phase.name, "unit": "step", "leave": False, "mininterval": 1.0}
    bar = tqdm(total=phase.steps, initial=begin, **settings, disable=begin == phase.steps)
    with bar:
        for step in range(begin, phase.steps):
            with _explained(phase):
                lr, hr = batches(step)
                take_step(phase, state, lr, hr, step)
            bar.update()

            done = step + 1
            last = done == phase.steps
            validating = done % phase.settings.validate_every == 0 or last
            if done % phase.settings.log_every == 0 or validating:
                row = {"phase": phase.name, "step": done, "epoch": done / phase.settings.steps_per_epoch}
                row |= {"learning_rate": phase.learning_rate(step)} | state.window.mean(f"{phase.name}, step {done}")
                now = time.perf_counter()
                row["images_per_s"] = (done - timed) * phase.sampler.batch_size / (now - clock)
                if share.ranks > 1:
                    row["gpus"] = share.ranks
                if validating and share.rank == 0:
                    with _explained(phase):
                        row |= phase.validation.row(state.result)
                    bar.set_postfix_str(f"{row['psnr']:.2f} dB")
                phase.history.append(row)
                state.window, clock, timed = Window(share), time.perf_counter(), done
            if done % phase.settings.checkpoint_every == 0 or last:
                state.save(folder, done)
    return state.result


def take_step(phase: Phase, state: State, lr: Tensor, hr: Tensor, step: int) -> None:
    """One step of every optimiser on one batch of uint8 patches (B, 3, H, W), wherever they are."""
    parts = phase.settings.accumulate
    state.prepare(phase.learning_rate(step))
    for part, patches in enumerate(zip(lr.chunk(parts), hr.chunk(parts), strict=True)):
        some_lr, some_hr = (_to_device(some, phase) for some in patches)
        with state.apart(last=part == parts - 1):
            state.window.add(phase.step(state.networks, some_lr, some_hr, step * parts + part))
    state.update(parts)


@contextmanager
def _explained(phase: Phase) -> Iterator[None]:
    """Errors of a step that params.yaml can mend, as such."""
    try:
        yield
    except Exception as error:
        if devices.is_out_of_memory(error):
            raise MasksrError(
                f"{phase.name}: the memory of {phase.device} does not hold a step of {phase.sampler.batch_size} LR "
                f"patches of {phase.sampler.lr_size} x {phase.sampler.lr_size}; in params.yaml set train.accumulate to "
                "2 or more, train.gradient_checkpointing to true, or a smaller batch or lr_patch (python -m masksr "
                "cost counts the memory)"
            ) from error
        if phase.settings.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            raise MasksrError(
                f"{phase.name}: train.compile does not work here ({reason}); it needs a C++ compiler on a CPU and "
                "Triton on a GPU. Set it to false"
            ) from error
        raise


def _to_device(patches: Tensor, phase: Phase) -> Tensor:
    """(B, 3, H, W) uint8 -> float in the generator's pixel range, on the device."""
    pinned = phase.device.type == "cuda"  # only from pinned memory is a copy safe that is not waited for
    patches = patches.to(phase.device, non_blocking=pinned).float() * (phase.networks[0].pixel_range / 255)
    return patches.contiguous(memory_format=phase.memory_format)


def history_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """The history as a table, a row per entry, with the same leading columns for every training."""
    first = ["phase", "step", "epoch", "learning_rate", "psnr", "psnr_bicubic"]
    table = pd.DataFrame(history)
    return table[[c for c in first if c in table] + [c for c in table if c not in first]]
