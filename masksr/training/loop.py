"""The training loop: patches, schedule, history, validation, checkpoints, exact resume.

It knows nothing of GANs or masks: a training gives it networks and a function that leaves gradients in them.
"""

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from masksr.data.batch_share import average
from masksr.data.bicubic import imresize
from masksr.data.images import to_image
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler, validation_patches
from masksr.io import MasksrError, notice, write_atomic
from masksr.params import Schedule, Train
from masksr.quality.fidelity import psnr
from masksr.training.device import compile_network, is_out_of_memory
from masksr.training.step import Metrics

# (networks, lr, hr, number): calls these networks and adds to the gradients in their parameters
Step = Callable[[Sequence[nn.Module], Tensor, Tensor, int], Metrics]
KEPT = 2  # checkpoints: a damaged one costs the steps since the one before


@dataclass
class Training:
    """One phase of a training: what is trained, on what, for how long. The first network is the generator."""

    name: str  # model and phase, to be displayed
    phase: str  # as written in the history
    networks: list[nn.Module]
    step: Step
    sampler: PatchSampler
    validation: "Validation"
    schedule: Schedule
    learning_rates: list[float]  # initial ones, of each network
    settings: Train
    device: torch.device
    memory_format: torch.memory_format
    live: Path  # a CSV that grows during training
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return self.schedule.epochs * self.settings.steps_per_epoch

    def learning_rates_at(self, step: int) -> list[float]:
        """Return the rates in force at ``step``, counted from 0: halved after each epoch of ``halve_at``."""
        halvings = sum(step >= epoch * self.settings.steps_per_epoch for epoch in self.schedule.halve_at)
        return [rate * 0.5**halvings for rate in self.learning_rates]


def fit(training: Training, folder: Path) -> nn.Module:
    """Train to the end, from the last checkpoint in ``folder`` if there is one; fill ``training.history``.

    Returns the generator, or its moving average where that is on. Raises MasksrError when a loss or weight
    stops being finite; the last checkpoint, always of a finite state, is kept. Where several processes share
    a training (``data.batch_share``), all call this, but only the first validates and writes.
    """
    settings, share = training.settings, training.sampler.share

    # Networks, optimizers and moving average, restored from the last checkpoint.
    state = State(training)
    begin = state.resume(folder)
    clock, timed = time.perf_counter(), begin
    how = {"desc": training.name, "unit": "step", "leave": False, "mininterval": 1.0}
    bar = tqdm(total=training.steps, initial=begin, **how, disable=begin == training.steps)
    with explain_errors(training), bar:
        for step in range(begin, training.steps):
            # One step of every optimizer.
            take_step(training, state, *training.sampler.batch(step), step)
            bar.update()
            done = step + 1
            last = done == training.steps

            # A row of the history: means since the last row, speed, PSNR of the validation patches.
            validating = done % settings.validate_every == 0 or last
            if done % settings.log_every == 0 or validating:
                row = {"phase": training.phase, "step": done, "epoch": done / settings.steps_per_epoch}
                row["learning_rate"] = training.learning_rates_at(step)[0]
                row |= state.mean_metrics(done)
                now = time.perf_counter()
                row["images_per_s"] = (done - timed) * training.sampler.batch_size / (now - clock)
                if share.ranks > 1:
                    row["gpus"] = share.ranks
                if validating and share.rank == 0:
                    row |= training.validation.row(state.result)
                    bar.set_postfix_str(f"{row['psnr']:.2f} dB")
                training.history.append(row)
                if share.rank == 0:
                    rows = pd.DataFrame(training.history)
                    write_atomic(training.live, rows.to_csv(index=False, float_format="%.6g").encode())
                state.sums, clock, timed = {}, time.perf_counter(), done

            # A checkpoint.
            if done % settings.checkpoint_every == 0 or last:
                state.save(folder, done)
    return state.result


def take_step(training: Training, state: "State", lr: Tensor, hr: Tensor, step: int) -> None:
    """Take one step of every optimizer on one batch of uint8 patches (B, 3, H, W)."""
    settings, parts = training.settings, training.settings.accumulate
    if settings.compile == "reduce-overhead":
        # What graphs returned for the previous step may now be overwritten.
        torch.compiler.cudagraph_mark_step_begin()
    for optimizer, rate in zip(state.optimizers, training.learning_rates_at(step), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)

    # Gradients, summed over the parts of the batch; processes exchange them in the last part.
    for part, patches in enumerate(zip(lr.chunk(parts), hr.chunk(parts), strict=True)):
        some_lr, some_hr = (_to_device(some, training) for some in patches)
        with ExitStack() as apart:
            if training.sampler.share.ranks > 1 and part < parts - 1:
                for network in state.networks:
                    apart.enter_context(network.no_sync())
            state.add_metrics(training.step(state.networks, some_lr, some_hr, step * parts + part))

    state.update(parts)


def _to_device(patches: Tensor, training: Training) -> Tensor:
    """Convert (B, 3, H, W) uint8 to float in the generator's pixel range, on the device."""
    on_cuda = training.device.type == "cuda"
    patches = patches.pin_memory() if on_cuda else patches  # so that the CPU need not wait for the copy
    pixels = patches.to(training.device, non_blocking=on_cuda).float()
    pixels = pixels * (training.networks[0].pixel_range / 255)
    return pixels.contiguous(memory_format=training.memory_format)


class State:
    """What a checkpoint holds: networks, optimizers, moving average, history, the sums since its last row.

    No random state: patches and masks derive their numbers from that of the step. All processes have the same
    state and the first one writes it, so a checkpoint does not depend on how many there are.
    """

    def __init__(self, training: Training) -> None:
        self.training, self.share = training, training.sampler.share
        settings, networks, device = training.settings, training.networks, training.device
        for network in networks:
            network.to(device, memory_format=training.memory_format).train()
            if settings.sync_batchnorm:
                self.share.synchronise(network, device)
            if settings.compile:
                compile_network(network, settings.compile)
        networks[0].recompute = settings.gradient_checkpointing
        self.networks = [self.share.replicate(network) for network in networks]  # those to call

        fused = device.type in ("cpu", "cuda")
        trained = [[p for p in network.parameters() if p.requires_grad] for network in networks]
        self.optimizers = [torch.optim.Adam(of_one, betas=(0.9, 0.999), fused=fused) for of_one in trained]

        self.result, self.ema = networks[0], None
        if decay := settings.ema:
            self.ema = AveragedModel(self.result, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            self.ema.n_averaged.fill_(1)  # it begins at the initial weights, which the copy holds
            self.result = self.ema.module

        self.stateful = [*networks, *self.optimizers, *([self.ema] if self.ema else [])]
        # The number of steps and sums of their metrics, on the device, so that no step waits for them.
        self.sums: dict[str, Any] = {}

    def update(self, parts: int) -> None:
        """Take a step with the mean of the gradients that ``parts`` parts of the batch have summed up."""
        for optimizer in self.optimizers:
            if parts > 1:
                gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
                torch._foreach_div_(gradients, parts)
            optimizer.step()
        if self.ema:
            self.ema.update_parameters(self.training.networks[0])

    def add_metrics(self, metrics: Metrics) -> None:
        steps = self.sums.get("steps", 0) + 1
        added = {name: value + self.sums.get(name, 0.0) for name, value in metrics.items()}
        self.sums = {"steps": steps} | added

    def mean_metrics(self, step: int) -> dict[str, float]:
        """Return means since the last row, over all processes. Raises MasksrError where one is not finite."""
        names = [name for name in self.sums if name != "steps"]
        if self.share.ranks > 1 and names:
            sums = average(torch.stack([self.sums[name] for name in names]))
            self.sums |= zip(names, sums, strict=True)
        means = {name: float(self.sums[name]) / self.sums["steps"] for name in names}
        self._check(step, {name: math.isfinite(value) for name, value in means.items()})
        return means

    def save(self, folder: Path, step: int) -> None:
        """Write a checkpoint; raises MasksrError if not finite: no run may resume from a broken state."""
        self.mean_metrics(step)
        tensors = [t for network in self.training.networks for t in network.state_dict().values()]
        moments = [of_one for optimizer in self.optimizers for of_one in optimizer.state.values()]
        tensors += [t for of_one in moments for t in of_one.values()]
        self._check(step, {"a weight": all(torch.isfinite(t).all() for t in tensors)})
        if self.share.rank == 0:
            state = {"step": step, "history": self.training.history, "window": self.sums}
            save_checkpoint(folder, step, state | {"parts": [part.state_dict() for part in self.stateful]})

    def resume(self, folder: Path) -> int:
        """Restore the last checkpoint in ``folder``; returns the step to go on from, 0 without one."""
        training, saved = self.training, load_checkpoint(folder, self.training.device)
        if not saved:
            return 0
        for part, state in zip(self.stateful, saved["parts"], strict=True):
            part.load_state_dict(state)
        training.history, self.sums = saved["history"], saved["window"]
        if saved["step"] < training.steps:
            notice(f"{training.name}: goes on from step {saved['step']} of {training.steps}")
        return saved["step"]

    def _check(self, step: int, finite: dict[str, bool]) -> None:
        if bad := [name for name, is_finite in finite.items() if not is_finite]:
            raise MasksrError(
                f"{self.training.name}, step {step}: {', '.join(bad)} is no longer finite, so the training "
                "stopped; its last checkpoint, from before, is kept. Lower the learning rate or the weight "
                "of that loss in params.yaml, or use precision: fp32"
            )


# ---- Checkpoints -------------------------------------------------------------------------------------------
# They survive a killed process, a full disk and a flipped bit: each is written beside its final name, flushed
# and renamed, with its sha256 in that name.
def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Add the checkpoint of ``step`` to ``folder`` and delete all but it and the one before.

    state: tensors, numbers, text and containers of them (it is read back with ``weights_only``).
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step-{step:08d}-{_short_digest(buffer.getvalue())}.pt"
    write_atomic(path, buffer.getvalue())
    there = sorted(folder.glob("step-*.pt"))
    kept = [other for other in there if other <= path][-KEPT:]  # later ones are damaged
    for other in set(there) - set(kept):
        other.unlink()


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the newest intact checkpoint of ``folder``, skipping damaged ones; None where there is none."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        content = path.read_bytes()
        if path.stem.endswith(_short_digest(content)):
            return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        notice(f"{path.name} is damaged (not the sha256 in its name): using the one before it")
    return None


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


# ---- Validation --------------------------------------------------------------------------------------------
class Validation:
    """PSNR-Y on a few fixed patches of the validation set: to watch a training, never to choose a model.

    The patches have ``lr_size`` LR pixels a side at ``scale``. Where an image of the set is smaller (as one
    of Set5 is than the paper's LR patches of 64), all patches are as small as its shorter side.
    """

    def __init__(self, pack: Pack, *, lr_size: int, scale: int, count: int) -> None:
        smallest = min(min(pack.lr(number, scale).shape[:2]) for number in range(len(pack)))
        self._lr, hr = validation_patches(pack, lr_size=min(lr_size, smallest), scale=scale, count=count)
        self._truth = list(hr.permute(0, 2, 3, 1).numpy())
        self._bicubic = self._psnr([imresize(patch, scale) for patch in self._lr.permute(0, 2, 3, 1).numpy()])

    @torch.inference_mode()
    def row(self, generator: nn.Module) -> dict[str, float]:
        """Return what the history records: mean PSNR-Y in dB of the generator, and of bicubic, to be beaten.

        The generator keeps its mode and its device.
        """
        device, training = next(generator.parameters()).device, generator.training
        lr = self._lr.to(device).float() * (generator.pixel_range / 255)
        run = generator.eval().forward  # not compiled: these shapes are not worth it
        patches = (sr for some in lr.split(8) for sr in run(some).cpu())  # a few at once need little memory
        images = [to_image(sr, generator.pixel_range) for sr in patches]
        generator.train(training)
        return {"psnr": self._psnr(images), "psnr_bicubic": self._bicubic}

    def _psnr(self, images: list[np.ndarray]) -> float:
        return float(np.mean([psnr(image, truth) for image, truth in zip(images, self._truth, strict=True)]))


# ---- Errors in a user's words ------------------------------------------------------------------------------
@contextmanager
def explain_errors(training: Training) -> Iterator[None]:
    """Turn errors of a step that params.yaml can fix into MasksrErrors that say how."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            patches = f"{training.sampler.batch_size} LR patches of {training.sampler.lr_size} pixels a side"
            raise MasksrError(
                f"{training.name}: the memory of {training.device} does not hold a step of {patches}; in "
                "params.yaml set train.accumulate to 2 or more, train.gradient_checkpointing to true, or a "
                "smaller batch or lr_patch (python -m masksr cost counts the memory)"
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            problem = f"train.compile does not work here ({str(error).strip().splitlines()[0]})"
            raise MasksrError(f"{training.name}: {problem}; set it to false") from error
        raise
