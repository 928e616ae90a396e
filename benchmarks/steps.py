"""One training step, optimisers and moving average included: masksr's against the public one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import profiles
from benchmarks.profiles import Case
from benchmarks.reference_steps import Networks, PublicTraining
from benchmarks.report import Row, Table, met
from benchmarks.timing import Timing, Variant, in_children, interleaved, memory
from masksr import build, devices
from masksr.loop import Phase, take_step
from masksr.meter import Meter
from masksr.models import random_vgg19
from masksr.params import Mask, Model
from masksr.state import State
from masksr.steps import adversarial_step

EMA = {"esrgan": 0.999}  # BasicSR's; PESR and EDSR-PyTorch have none
CPU = {"public": ("fp32", False), "fp32": ("fp32", False), "bf16": ("bf16", False)}  # variant -> precision, compiled
GPU = CPU | {"public TF32": ("fp32", False), "bf16 compiled": ("bf16", True)}
Peaks = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measured:
    """What was found out about one case."""

    timing: Timing
    flop: dict[str, int]  # of a step
    memory: dict[str, int]  # bytes at the peak, of each variant; empty where not measured


def table(device: str, quick: bool, peaks: Peaks) -> tuple[Table, dict[str, dict[str, float]]]:
    """The table, and the FLOP/s that masksr's step sustained: {"esrgan": {"fp32": ..., "bf16": ...}, ...}."""
    rows, sustained = [], dict[str, dict[str, float]]()
    for case in profiles.cases(device, quick):
        found = measure(case, device, quick)
        rows += list(_rows(case, device, found, peaks))
        for name in (name for name in found.flop if not name.startswith("public")):
            speed = found.flop[name] / found.timing.of(name).median
            sustained.setdefault(case.model, {})[name] = speed  # of the last, largest case
    note = (
        "Ratio: how many times as fast as the public step, the median of the rounds and their quartiles. The public "
        "step is that of `reference_steps.py`, in fp32. Operations are those of convolutions and matrix products, "
        "counted; '% of peak' is what masksr does a second, of the most that a large convolution or product of "
        "matrices was seen to do here in that precision. Memory is the most that a process of the variant alone had, "
        "beyond what it had before it made the networks."
    )
    return Table("Training step", note, rows), sustained


def measure(case: Case, device: str, quick: bool) -> Measured:
    """Time all variants of a step in turns; then, unless ``quick``, the memory of each in a process of its own."""
    variants = GPU if device == "cuda" else CPU
    rounds, calls = (2, 1) if quick else (4, 1) if device == "cpu" else (8, 5)
    timing, flop = _timed(case, device, rounds, calls)
    if quick:  # a process costs seconds
        return Measured(timing, flop, {})
    at_once = devices.cores() if device == "cpu" else 1
    return Measured(timing, flop, in_children(partial(peak_memory, case, device), variants, at_once))


def _rows(case: Case, device: str, found: Measured, peaks: Peaks) -> Iterator[Row]:
    pairs = [("public", "fp32"), ("public", "bf16")]
    if device == "cuda":
        pairs += [("public", "bf16 compiled"), ("public TF32", "bf16 compiled")]
    for reference, ours in pairs:
        precision = ours.split()[0]
        ratio, seconds = found.timing.ratio(reference, ours), found.timing.of(ours)
        target = profiles.target(case, device, precision)
        cells = {
            "step": str(case),
            "masksr": ours,
            "public": reference,
            "public s": found.timing.of(reference).median,
            "masksr s": seconds.median,
            "ratio": ratio,
            "target": target,
            "met": met(ratio.median, at_least=target),
            "public GFLOP": found.flop[reference] / 1e9,
            "masksr GFLOP": found.flop[ours] / 1e9,
            "% of peak": 100 * found.flop[ours] / seconds.median / max(peaks[precision].values()),
        }
        if found.memory:
            most, allowed = found.memory[ours], found.memory[reference]
            cells |= {"public GB": allowed / 1e9, "masksr GB": most / 1e9, "no more": met(most, at_most=allowed)}
        yield Row(cells, {name: found.timing.seconds[name] for name in (reference, ours)})


def _timed(case: Case, device: str, rounds: int, calls: int) -> tuple[Timing, dict[str, int]]:
    names = GPU if device == "cuda" else CPU
    runs = {name: make(case, device, name) for name in names}
    flop = {}
    for name, run in runs.items():  # the first step, which pays for the caches, also counts
        switches(device, name)()
        with Meter() as meter:
            if "compiled" not in name:
                run()
        flop[name] = meter.flop or flop[name.split()[0]]
    variants = {name: Variant(run, calls, switches(device, name)) for name, run in runs.items()}
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    return interleaved(variants, rounds, warm_up=0 if device == "cpu" else 3, synchronize=synchronize), flop


def peak_memory(case: Case, device: str, variant: str) -> int:
    """Bytes that two steps took at most; from the second on, Adam's moments are there. For a process of its own."""
    switches(device, variant)()
    before = memory(peak=False)
    run = make(case, device, variant)
    run()
    if device == "cuda":  # cuDNN's trials of the first step are not the step's
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() if device == "cuda" else memory(peak=True) - before


def make(case: Case, device: str, variant: str) -> Callable[[], Any]:
    """A function that takes one step of the variant, on the same patches each time."""
    recipe, rng = profiles.recipe(case), torch.Generator().manual_seed(0)
    lr, hr = (
        torch.randint(256, (case.batch, 3, side, side), generator=rng, dtype=torch.uint8)
        for side in (case.lr_patch, 4 * case.lr_patch)
    )
    networks = _networks(case, recipe)
    precision, compiled = (GPU | CPU)[variant]
    if not variant.startswith("public"):
        return _masksr(case, recipe, networks, (lr.to(device), hr.to(device)), device, precision, compiled)

    for network in (networks.generator, networks.discriminator, networks.vgg):
        network.to(device).train()
    training = PublicTraining(case.model, networks, recipe.gan.learning_rate, EMA.get(case.model))
    floats = [x.float() * (networks.generator.pixel_range / 255) for x in (lr, hr)]  # what a DataLoader delivers
    if device == "cuda":
        floats = [x.pin_memory() for x in floats]
    return lambda: training.step(*(x.to(device, non_blocking=True) for x in floats))


def _masksr(
    case: Case, recipe: Model, n: Networks, batch: tuple[Tensor, Tensor], device: str, precision: str, compiled: bool
) -> Callable[[], Any]:
    """The plain variant, through what ``masksr.loop.fit`` does in a step."""
    changes = {"device": device, "precision": precision, "compile": compiled, "ema": EMA.get(case.model)}
    settings = profiles.paper().train.model_copy(update=changes)
    where = devices.choose_device(device)  # type: ignore[arg-type]
    autocast = devices.autocast(where, precision)  # type: ignore[arg-type]
    vgg = n.vgg.to(where, memory_format=torch.channels_last)
    if compiled:
        vgg.compile(dynamic=False)
    options = {"loss": recipe.loss, "mask": Mask(kind="none"), "pixel_range": n.generator.pixel_range}

    def gradients(lr: Tensor, hr: Tensor, number: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(number)
        return adversarial_step(n.generator, n.discriminator, vgg, lr, hr, **options, autocast=autocast, rng=rng)

    networks = [n.generator, n.discriminator]
    phase = Phase("benchmark", networks, gradients, None, None, recipe.gan, settings, where)  # type: ignore[arg-type]
    state = State(phase)

    return lambda: take_step(phase, state, *batch, 0)


def _networks(case: Case, recipe: Model) -> Networks:
    generator = build.build_generator(recipe.generator, 4, seed=0)
    discriminator = build.build_discriminator(recipe.discriminator, 4 * case.lr_patch, seed=1)
    return Networks(generator, discriminator, random_vgg19(profiles.vgg_width(case), seed=2), recipe.loss)


def switches(device: str, variant: str) -> Callable[[], None]:
    """torch's global switches, as the code of the variant sets or leaves them."""

    def switch() -> None:
        if device == "cuda" and variant.startswith("public"):
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = variant == "public TF32"  # torch's default
        elif device == "cuda":
            devices.make_deterministic(devices.choose_device("cuda"))

    return switch
