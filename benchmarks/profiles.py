"""What is measured: the networks and losses of the profile paper at sizes that a CPU or a GPU gets through in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from masksr import params
from masksr.params import Model, Params

TITLES = {"esrgan": "ESRGAN", "pesr": "PESR", "edsr": "EDSR"}
TINY: dict[str, dict[str, Any]] = {
    "esrgan": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "pesr": {"depth": 1, "num_channels": 8},
    "edsr": {"n_resblocks": 1, "n_feats": 8},
}


@dataclass(frozen=True)
class Case:
    """A model at one size of patches."""

    model: str
    lr_patch: int
    batch: int
    tiny: bool = False

    def __str__(self) -> str:
        return f"{TITLES[self.model]}{' (tiny)' * self.tiny}, LR {self.lr_patch}, batch {self.batch}"


@cache
def paper() -> Params:
    return params.load(Path(__file__).parents[1] / "profiles/paper.yaml")


def recipe(case: Case) -> Model:
    """The entry of the profile paper at the sizes of the case."""
    found = paper().models[case.model]
    changes: dict[str, Any] = {"lr_patch": case.lr_patch, "batch": case.batch}
    if case.tiny:
        changes["generator"] = found.generator.model_copy(update=TINY[case.model])
        changes["discriminator"] = found.discriminator.model_copy(update={"num_feat": 4})
    return found.model_copy(update=changes)


def vgg_width(case: Case) -> float:
    return 0.0625 if case.tiny else 1.0
