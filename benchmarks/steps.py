"""One training step, optimisers and moving average included: masksr's against the public one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks import ours, profiles
from benchmarks.ours import EMA
from benchmarks.profiles import Case
from benchmarks.reference_steps import PublicTraining
from benchmarks.report import Row, Table, met
from benchmarks.timing import Timing, Variant, in_children, interleaved, memory
from masksr.training.cost import Meter
from masksr.training.device import choose_device, cores, make_deterministic

CPU: dict[str, tuple[str, bool | str]]  # variant -> precision, train.compile
CPU = {"public": ("fp32", False), "fp32": ("fp32", False), "bf16": ("bf16", False)}
GPU = CPU | {
    "public TF32": ("fp32", False),
    "bf16 compiled": ("bf16", True),
    "bf16 compiled, CUDA graphs": ("bf16", "reduce-overhead"),
}
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
    at_once = cores() if device == "cpu" else 1
    return Measured(timing, flop, in_children(partial(peak_memory, case, device), variants, at_once))


def _rows(case: Case, device: str, found: Measured, peaks: Peaks) -> Iterator[Row]:
    pairs = [("public", "fp32"), ("public", "bf16")]
    if device == "cuda":
        pairs += [(public, name) for name in GPU if "compiled" in name for public in ("public", "public TF32")]
    for reference, name in pairs:
        precision = name.split()[0]
        ratio, seconds = found.timing.ratio(reference, name), found.timing.of(name)
        target = profiles.target(case, device, precision)
        cells = {
            "step": str(case),
            "masksr": name,
            "public": reference,
            "public s": found.timing.of(reference).median,
            "masksr s": seconds.median,
            "ratio": ratio,
            "target": target,
            "met": met(ratio.median, at_least=target),
            "public GFLOP": found.flop[reference] / 1e9,
            "masksr GFLOP": found.flop[name] / 1e9,
            "% of peak": 100 * found.flop[name] / seconds.median / max(peaks[precision].values()),
        }
        if found.memory:
            most, allowed = found.memory[name], found.memory[reference]
            cells |= {"public GB": allowed / 1e9, "masksr GB": most / 1e9, "no more": met(most, at_most=allowed)}
        yield Row(cells, {who: found.timing.seconds[who] for who in (reference, name)})


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
    ours.sampler(case)  # pictures are packed here, which is no part of a training
    before = memory(peak=False)
    run = make(case, device, variant)
    run()
    if device == "cuda":  # cuDNN's trials of the first step are not the step's
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() if device == "cuda" else memory(peak=True) - before


def make(case: Case, device: str, variant: str) -> Callable[[], Any]:
    """A function that takes one step of the variant: masksr's from its pack, the public one from ready batches."""
    networks = ours.networks(case)
    precision, compiled = (GPU | CPU)[variant]
    if not variant.startswith("public"):
        return ours.step(case, networks, device, precision=precision, compiled=compiled)

    for network in (networks.generator, networks.discriminator, networks.vgg):
        network.to(device).train()
    training = PublicTraining(case.model, networks, profiles.recipe(case).gan.learning_rate, EMA.get(case.model))
    pair = ours.sampler(case).batch(0)
    floats = [x.float() * (networks.generator.pixel_range / 255) for x in pair]  # what a DataLoader delivers, for free
    if device == "cuda":
        floats = [x.pin_memory() for x in floats]
    return lambda: training.step(*(x.to(device, non_blocking=True) for x in floats))


def switches(device: str, variant: str) -> Callable[[], None]:
    """torch's global switches, as the code of the variant sets or leaves them."""

    def switch() -> None:
        if device == "cuda" and variant.startswith("public"):
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = variant == "public TF32"  # torch's default
        elif device == "cuda":
            make_deterministic(choose_device("cuda"))

    return switch
