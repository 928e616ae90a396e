"""What the mask costs: the same adversarial step without it, with equation 8, and with what the paper leaves open."""

from __future__ import annotations

import torch

from benchmarks import ours, profiles
from benchmarks.profiles import Case
from benchmarks.report import Row, Table
from benchmarks.steps import switches
from benchmarks.timing import Variant, interleaved
from masksr.params import Mask

PAPER = profiles.paper().masks["paper"]
MASKS: dict[str, Mask] = {
    "none": ours.PLAIN,
    "equation 8": PAPER,
    "equation 8, window of 9": PAPER.model_copy(update={"window": 9}),
    "equation 8, not detached": PAPER.model_copy(update={"detach": False}),
    "constant": PAPER.model_copy(update={"kind": "constant"}),
    "shuffled": PAPER.model_copy(update={"kind": "shuffled"}),
}


def tables(device: str, quick: bool) -> list[Table]:
    """ESRGAN's step in bf16 with each mask, in turns."""
    case = Case("esrgan", 16 if quick else 32, 2 if device == "cpu" else 16, tiny=quick)
    rounds, calls = (2, 1) if quick else (6, 1) if device == "cpu" else (8, 5)
    steps = {name: ours.step(case, ours.networks(case), device, precision="bf16", mask=m) for name, m in MASKS.items()}
    found = interleaved(
        {name: Variant(take, calls, switches(device, "bf16")) for name, take in steps.items()},
        rounds,
        synchronize=torch.cuda.synchronize if device == "cuda" else lambda: None,
    )
    rows = [
        Row(
            {
                "mask": name,
                "s per step": found.of(name).median,
                "times the plain step": found.ratio(name, "none"),
            },
            {name: found.seconds[name]},
        )
        for name in MASKS
    ]
    return [Table("What the mask costs", f"{case}, masksr's step in bf16; quartiles of {rounds} rounds.", rows)]
