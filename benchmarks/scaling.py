"""How the cost of a training step grows, and what the profile paper would take: from measured steps to hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from benchmarks import profiles
from benchmarks.profiles import Case
from benchmarks.report import Row, Table
from benchmarks.steps import make, switches
from benchmarks.timing import Variant, interleaved
from masksr.training.cost import Meter, training_costs


def tables(device: str, quick: bool) -> list[Table]:
    """masksr's ESRGAN step in bf16, by patch and by batch."""
    small = 16
    sides: Sequence[int] = (16, 24) if quick else (16, 32, 48) if device == "cpu" else (16, 32, 48, 64)
    batches: Sequence[int] = (2, 3) if quick else (1, 2, 4) if device == "cpu" else (4, 8, 16, 32)
    batch = 2 if device == "cpu" or quick else 16
    return [
        _growth("Step by patch", [Case("esrgan", side, batch, tiny=quick) for side in sides], device, quick),
        _growth("Step by batch", [Case("esrgan", small, count, tiny=quick) for count in batches], device, quick),
    ]


def _growth(title: str, cases: Sequence[Case], device: str, quick: bool) -> Table:
    rows = []
    for case in cases:
        run = make(case, device, "bf16")
        switches(device, "bf16")()
        with Meter() as meter:
            run()
        synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
        rounds = 1 if quick else 3
        found = interleaved({"bf16": Variant(run)}, rounds, warm_up=0 if quick else 1, synchronize=synchronize)
        seconds = found.of("bf16").median
        cells = {
            "step": str(case),
            "s": seconds,
            "ms per image": 1000 * seconds / case.batch,
            "µs per LR pixel": 1e6 * seconds / case.batch / case.lr_patch**2,
            "GFLOP": meter.flop / 1e9,
            "GFLOP/s": meter.flop / seconds / 1e9,
        }
        rows.append(Row(cells, found.seconds))
    return Table(title, "masksr's step in bf16, with optimiser and moving average.", rows)


def paper_profile(sustained: Mapping[str, Mapping[str, float]]) -> Table:
    """Hours of each training of the profile paper, at the FLOP/s that a step of its model sustained here."""
    settings = profiles.paper()
    counted = training_costs(settings, tflops=1.0).set_index("training")
    rows = []
    for model in settings.table1.models:
        title = settings.models[model].title
        for training in [name for name in counted.index if name.startswith(f"{title} ")]:
            number, steps, flop = counted.loc[training, ["trainings", "steps each", "GFLOP per step"]]
            hours = {name: 1e9 * flop * steps / speed / 3600 for name, speed in sustained[model].items()}
            cells = {"training": training, "trainings": int(number), "steps": int(steps)}
            cells |= {f"{name} s per step": 1e9 * flop / speed for name, speed in sustained[model].items()}
            rows.append(Row(cells | {f"{name} hours each": value for name, value in hours.items()}))
    note = (
        "Counted operations of a step at the paper's size, divided by what masksr's step sustained above (in the last "
        "row of each model; on a CPU, on one core), times the steps. Steps of the start are reckoned like those with "
        "the GAN. Validation and evaluation come on top."
    )
    return Table("The profile paper, extrapolated", note, rows)
