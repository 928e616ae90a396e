"""The first minutes on a GPU: what has to be known of it, in the order of its worth, on a machine without a network.

    python -m benchmarks.first_gpu --device cuda --out FOLDER

Needs torch and the packages that ``make carry`` brings, none of the pipeline's. Every finding is written at once to
first_gpu.json and first_gpu.md; a section that fails says why, and the next one runs; after ``--minutes`` it ends by
itself. ``--device cpu`` does all of it on tiny networks within minutes, so that only the numbers are new on a GPU.
Nothing else should run on the machine meanwhile: what shares a GPU waits for it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, steps
from benchmarks.correct import correct
from benchmarks.harness import Run, TimeUp, short
from benchmarks.reference_steps import Networks
from benchmarks.steps import PLAIN, TITLES, WAYS, Case
from masksr.training.cost import step_cost

PROFILED = ("bf16", "public, fp32")


def the_machine(run: Run) -> None:
    """Versions, and the most that the card was seen to do: copying, products of matrices, convolutions."""
    run.peaks = machine.measure(run, run.device.type, seconds=0.1 if run.tiny else 0.5)
    size = (8 << 20) if run.tiny else (4 << 30)
    source = torch.randint(256, (size,), dtype=torch.uint8, device=run.device)
    copied = torch.empty_like(source)
    seconds = _median_seconds(run, lambda: copied.copy_(source), calls=5)
    run.add("machine", "copy", **{"GB a second, read and written": 2 * size / seconds / 1e9})


def speed(run: Run) -> None:
    """Steps of full networks at the paper's sizes, in every way."""
    sizes = {"esrgan": (64, 16), "pesr": (64, 16), "edsr": (48, 16)}
    cases = [Case(model, *((16, 2) if run.tiny else sizes[model]), tiny=run.tiny) for model in run.models]
    networks = {case: steps.networks(case) for case in cases}
    for name, case in itertools.product(WAYS, cases):  # ways in the order of their worth
        way = WAYS[name]
        # On a CPU there are no graphs, and one compilation takes a minute.
        needless = run.tiny and way.compiled and (way.compiled is not True or case.model != "esrgan")
        if needless or (way.precision == "tf32" and "tf32" not in run.peaks):
            continue
        run.fresh()
        try:
            with run.limit(300 if run.tiny else 60 if way.compiled else 40):
                run.add("speed", f"{case}: {name}", **_timed(run, case, copy.deepcopy(networks[case]), name))
        except (Exception, TimeUp) as error:
            if run.left <= 0:
                raise
            run.add("speed", f"{case}: {name}", False, error=short(error))


def _timed(run: Run, case: Case, networks: Networks, name: str) -> dict[str, Any]:
    way, cuda = WAYS[name], run.device.type == "cuda"
    step = steps.make_step(case, networks, way, run.device.type)
    steps.switch(way, run.device)
    begin = time.perf_counter()
    for _ in range(3):
        step()
    run.synchronize()
    found: dict[str, Any] = {"warm-up s": time.perf_counter() - begin}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = _median_seconds(run, step, calls=1 if run.tiny else 4)
    found["ms"] = 1e3 * seconds
    if cuda:
        found["GB"] = torch.cuda.max_memory_allocated() / 1e9
    if not way.public and run.peaks:  # the public step does more than is needed, so that its operations say little
        flop = step_cost(steps.settings(case), case.model, PLAIN, "fp32").flop
        found |= {"TFLOP": flop / 1e12, "% of peak": 100 * flop / seconds / max(run.peaks[way.precision].values())}
    if name in PROFILED:
        found["kernels"] = _longest_kernels(run, step)
    return found


def _median_seconds(run: Run, work: Callable[[], Any], calls: int, groups: int = 3) -> float:
    """Seconds of a call; the device is waited for after each group of calls, as a training waits now and then."""
    found = []
    for _ in range(groups):
        run.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        run.synchronize()
        found.append((time.perf_counter() - begin) / calls)
    return statistics.median(found)


def _longest_kernels(run: Run, step: Callable[[], Any]) -> list[dict[str, Any]]:
    """All kernels (of a CPU: operations) of one step together, and the ten that take longest."""
    cuda = run.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        step()
        run.synchronize()
    of = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = [(event.key[:120], getattr(event, of) / 1e3, event.count) for event in profiler.key_averages()]
    events.sort(key=lambda event: -event[1])
    everything = ("all", sum(ms for _, ms, _ in events), sum(calls for _, _, calls in events))
    return [{"kernel": name, "ms": ms, "calls": calls} for name, ms, calls in [everything, *events[:10]]]


SECTIONS: dict[str, tuple[Callable[[Run], None], float]] = {  # and which part of the minutes each may take
    "machine": (the_machine, 0.08),
    "correct": (correct, 0.40),
    "speed": (speed, 1.0),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("first_gpu"), help="folder of the results")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which it ends (default: 6)")
    known = {"only": SECTIONS, "models": TITLES}
    for name, every in known.items():
        parser.add_argument(f"--{name}", default=",".join(every), metavar="A,B", help=f"of {', '.join(every)}")
    options = parser.parse_args(arguments)
    chosen = {name: getattr(options, name).split(",") for name in known}
    for name, every in known.items():
        if unknown := set(chosen[name]) - set(every):
            parser.error(f"--{name}: there is no {', '.join(sorted(unknown))}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    run = Run(options.device, options.out, options.minutes, chosen["models"])
    run.all({name: (SECTIONS[name][0], 60 * options.minutes * SECTIONS[name][1]) for name in chosen["only"]})
    print(f"{len(run.list)} findings, {len(run.failed)} failed", *run.failed, sep="\n", flush=True)
    return int(bool(run.failed))


if __name__ == "__main__":
    sys.exit(main())
