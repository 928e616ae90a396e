"""What a profile will cost, counted beforehand: floating-point operations and memory.

The very steps of ``training.step`` run once on fake tensors, which have shapes and types but no content, so a
network of any size is counted within seconds on any machine. Validation and evaluation are not. Counted are:

- **Operations** of convolutions and matrix products, forward and backward, by torch's own formulas; a
  multiply-add counts as two. Everything else (normalisation, activations, Adam) is bound by memory, not by
  arithmetic, and is left out.
- **Memory** of one GPU at the peak of a step: all tensors alive at once (weights, gradients, what autograd
  keeps, temporaries), plus Adam's two moments and, if on, the moving average. Left out: workspaces of cuDNN
  or oneDNN, what GPUs that share a batch exchange (as much as the gradients), fragmentation, the CUDA context
  (about half a GB). Plan for a fifth to a half more.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from masksr.io import MasksrError
from masksr.models.build import build_generator
from masksr.models.vgg import VGG19Features
from masksr.params import Mask, Params, Phase
from masksr.training.device import Precision, autocast
from masksr.training.train import gan_step, networks_of_a_gan, start_step

# TFLOP/s that ``describe_costs`` assumes unless told (benchmarks/results/h100-2026-11-26.md).
OF_ESRGAN = "what ESRGAN's step of full size reached on an H100; wider networks reach more"
SUSTAINED = {
    "fp32": (20.0, OF_ESRGAN),
    "tf32": (61.0, OF_ESRGAN),
    "bf16": (61.0, OF_ESRGAN + ", PESR's 248"),
    "cpu": (0.14, "what two CPU cores reached in the profile mini, in fp32"),
}


class Meter(TorchDispatchMode):
    """Counts ``flop`` of all that torch does inside, and ``peak``, the most bytes of tensors alive at once.

    torch's own FlopCounterMode hooks modules in a way that ``autograd.grad`` by an input rejects.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flop += formula(*args, **(kwargs or {}), out_val=out)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self._known:
                self._known.add(storage._cdata)  # views and in-place results share the storage and count once
                self.alive += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.alive)
        return out

    def _gone(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.alive -= size


def step_cost(params: Params, model: str, stage: Phase | Mask, precision: Precision | None = None) -> Meter:
    """Count a step of ``models.<model>``: of a phase of its start, or of its GAN training with a mask.

    Returns the operations of all GPUs, and the peak memory of each with what is kept from step to step.
    precision: else that of ``params.train``; bf16 under the CPU's autocast, which treats these layers alike.
    """
    recipe, train = params.models[model], params.train
    shares = train.accumulate * train.gpus
    context = autocast(torch.device("cpu"), precision or train.precision)
    with FakeTensorMode(), Meter() as meter:
        if isinstance(stage, Phase):
            networks = [build_generator(recipe.generator, stage.scale, seed=0)]
            step = start_step(stage.loss, context)
        else:
            generator = build_generator(recipe.generator, 4, seed=0)
            networks = networks_of_a_gan(recipe, stage, generator, seed=0)
            vgg = VGG19Features(params.weights.vgg_width) if recipe.loss.vgg54 else None
            step = gan_step(recipe, stage, vgg, generator.pixel_range, context, seed=0)
        networks[0].recompute = train.gradient_checkpointing
        sides = recipe.lr_patch, recipe.lr_patch * networks[0].scale
        lr, hr = (torch.empty(recipe.batch // shares, 3, side, side) for side in sides)
        step(networks, lr, hr, 0)
        kept = [p for network in networks for p in network.parameters() if p.requires_grad] * 2  # by Adam
        kept += networks[0].state_dict().values() if train.ema else []  # the moving average
    meter.flop *= shares
    meter.peak += sum(tensor.nbytes for tensor in kept)
    return meter


def training_costs(params: Params, tflops: float) -> pd.DataFrame:
    """Return a row for each kind of training that ``params`` asks for, and a last one for all of them.

    Equal trainings count once; GFLOP per step is the mean where a start has several phases; GB (10^9 bytes)
    is the peak of a step in each precision. tflops: what each of ``train.gpus`` sustains over a whole step,
    an assumption until a training has been timed: convolutions reach only part of the data sheet's peak,
    small networks wait for kernel launches, GPUs for each other. Raises MasksrError unless it is positive.
    """
    if not tflops > 0:
        raise MasksrError(f"tflops must be positive, got {tflops:g}")
    rows = []
    for name, model, mask, count in _trainings(params):
        recipe = params.models[model]
        stages = [(mask, recipe.gan.epochs)] if mask else [(p, p.epochs) for p in recipe.start.phases]
        steps = [epochs * params.train_of(model).steps_per_epoch for _, epochs in stages]
        costs = {p: [step_cost(params, model, stage, p) for stage, _ in stages] for p in ("fp32", "bf16")}
        flop = sum(n * cost.flop for n, cost in zip(steps, costs["fp32"], strict=True))
        hours = flop / (tflops * 1e12) / 3600 / params.train.gpus
        row: dict[str, Any] = {"training": name, "trainings": count, "steps each": sum(steps)}
        row["GFLOP per step"] = flop / max(sum(steps), 1) / 1e9
        row["PFLOP in all"] = count * flop / 1e15
        row |= {f"GB {p}": max((cost.peak for cost in costs[p]), default=0) / 1e9 for p in costs}
        rows.append(row | {"hours each": hours, "hours in all": count * hours})
    table = pd.DataFrame(rows)
    total = table[["trainings", "PFLOP in all", "hours in all"]].sum()
    total = pd.concat([total, table[["GB fp32", "GB bf16"]].max()])
    table = pd.concat([table, total.to_frame().T.assign(training="all")], ignore_index=True)
    return table.astype({"trainings": "Int64", "steps each": "Int64"})


def _trainings(params: Params) -> Iterator[tuple[str, str, Mask | None, int]]:
    """Yield every kind of training: its name, model, mask (None: the start), and how many it adds."""
    table1, sweep, done = params.table1, params.sweep, set()
    masks = {"start": None, **{name: params.masks[name] for name in table1.masks}}
    kinds = [(model, name, [masks[name]], table1.seeds) for model in table1.models for name in masks]
    points = [params.mask(sweep.mask, k, b) for k in sweep.k for b in sweep.b]
    for model, name, of, seeds in [*kinds, (sweep.model, "Figure 5", points, sweep.seeds)]:
        new = {(model, str(mask), seed) for mask in of for seed in seeds} - done
        done |= new
        yield f"{params.models[model].title} {name}", model, of[0], len(new)


def describe_costs(params: Params, tflops: float | None = None) -> str:
    """Write the table and its assumptions as Markdown for ``masksr cost``. tflops: see ``training_costs``."""
    why = "as told"
    if tflops is None:
        tflops, why = SUSTAINED["cpu" if params.train.device == "cpu" else params.train.precision]
    table = training_costs(params, tflops).astype(object).fillna("")
    table = table.to_markdown(index=False, floatfmt=",.3f", intfmt=",")
    return (
        f"What the profile {params.profile} costs\n\n{table}\n\n"
        f"Hours at {tflops:g} TFLOP/s sustained ({why}); this profile trains in {params.train.precision}.\n"
        "Memory without workspaces, fragmentation and the CUDA context.\n"
    )
