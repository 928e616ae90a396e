"""All sections of the benchmark, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

from benchmarks import machine, mask, patches, pipeline, quality, scaling, steps, upscale
from benchmarks.report import Table
from masksr.training import devices


def run(only: Collection[str], device: str, *, quick: bool) -> tuple[dict[str, Any], list[Table]]:
    """What the machine is, and a table for each thing that was measured. Raises MasksrError where there is no GPU."""
    devices.choose_device(device)  # type: ignore[arg-type]
    _say("the peak of the machine")
    peaks = machine.peaks(device, seconds=0.2 if quick else 3.0)
    about = machine.describe(device)
    about["peak GFLOP/s"] = {
        name: {kind: speed / 1e9 for kind, speed in kinds.items()} for name, kinds in peaks.items()
    }
    tables: list[Table] = []
    if "steps" in only:
        _say("steps")
        table, sustained = steps.table(device, quick, peaks)
        tables.append(table)
        if not quick:
            tables.append(scaling.paper_profile(sustained))
    sections: dict[str, Callable[[], list[Table]]] = {
        "patches": lambda: patches.tables(quick),
        "quality": lambda: quality.tables(quick),
        "pipeline": lambda: pipeline.tables(quick),
        "upscale": lambda: upscale.tables(device, quick),
        "mask": lambda: mask.tables(device, quick),
        "scaling": lambda: scaling.tables(device, quick),
    }
    for name, section in sections.items():
        if name in only:
            _say(name)
            tables += section()
    return about, tables


def _say(what: str) -> None:
    print(f"benchmarks: {what} ...", file=sys.stderr, flush=True)
