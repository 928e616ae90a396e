"""The state of a training: all that a checkpoint holds, and what it must never hold, a number that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from masksr.data.share import WHOLE, Share, average
from masksr.errors import MasksrError
from masksr.training import checkpoints, devices
from masksr.training.steps import Metrics

if TYPE_CHECKING:
    from masksr.training.loop import Phase


class State:
    """Everything a checkpoint holds: networks, optimisers, moving average, history, the sums since its last row.

    Several processes all have the same state, and the first one writes it down: a checkpoint tells no number of them.
    """

    def __init__(self, phase: Phase) -> None:
        self.phase, self.share = phase, phase.sampler.share
        for network in phase.networks:
            network.to(phase.device, memory_format=phase.memory_format).train()
            if phase.settings.sync_batchnorm:
                self.share.synchronise(network, phase.device)
            if phase.settings.compile:
                devices.compile_network(network, phase.settings.compile)
        phase.networks[0].recompute = phase.settings.gradient_checkpointing
        self.networks = [self.share.replicate(network) for network in phase.networks]  # those to call
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
        self.window = Window(self.share)

    def prepare(self, learning_rate: float) -> None:
        if self.phase.settings.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # what graphs returned for the step before may be overwritten
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.zero_grad(set_to_none=True)

    def apart(self, last: bool) -> ExitStack:
        """For one part of a batch: processes meet in the ``last`` one, with the sums of the gradients of all parts."""
        stack = ExitStack()
        if self.share.ranks > 1 and not last:
            for network in self.networks:
                stack.enter_context(network.no_sync())
        return stack

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
        if self.share.rank > 0:
            return
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
        with self.share.first_alone():  # which sets aside what is damaged
            saved = checkpoints.load_last(folder, self.phase.device)
        step = saved["step"] if saved else 0
        if self.share.mean(torch.tensor(float(step), device=self.phase.device)) != step:
            raise MasksrError(f"{folder}: the processes of this training do not see the same checkpoints; try again")
        if not saved:
            return 0
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(state)
        self.phase.history, self.window.sums = saved["history"], saved["window"]
        torch.set_rng_state(saved["rng"].cpu())
        if len(saved["rng_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in saved["rng_cuda"]])
        if step < self.phase.steps:
            print(f"{self.phase.name}: goes on from step {step} of {self.phase.steps}", flush=True)
        return step


class Window:
    """Sums of the metrics since the last row of the history, kept on the device so that no step waits for it.

    Those of several processes, each of its share, become their mean when they are looked at.
    """

    def __init__(self, share: Share = WHOLE) -> None:
        self.share = share
        self.sums: dict[str, Any] = {}

    @property
    def steps(self) -> int:
        return int(self.sums.get("steps", 0))

    def add(self, metrics: Metrics) -> None:
        self.sums = {"steps": self.steps + 1} | {k: v + self.sums.get(k, 0.0) for k, v in metrics.items()}

    def mean(self, where: str) -> dict[str, float]:
        """The means as numbers. Raises MasksrError when one is NaN or infinite."""
        names = [name for name in self.sums if name != "steps"]
        if self.share.ranks > 1 and names:
            self.sums |= zip(names, average(torch.stack([self.sums[name] for name in names])), strict=True)
        means = {name: float(self.sums[name]) / self.steps for name in names}
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
