"""The measures of a picture, their names and which way is better: the paper's, and further ones of pyiqa.

Importing pyiqa takes seconds, and tables want no more than a name and a direction: its list alone is read.
"""

from __future__ import annotations

import difflib
import importlib.util
import runpy
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from masksr.io import MasksrError

MEASURES = ["niqe", "ma", "pi", "psnr", "ssim", "rmse"]  # of every picture, by the protocol of PIRM 2018
HIGHER_IS_BETTER = {"ma", "psnr", "ssim"}
NOT_OF_ONE_PICTURE = ("fid", "inception_score", "compare2score", "clipscore")  # of sets, or beside a text


class Kind(NamedTuple):
    """A further measure: whether it compares with the HR picture, and which way is better."""

    compares: bool
    lower_is_better: bool


@cache
def known() -> dict[str, Kind]:
    """List the measures of the installed pyiqa by its names."""
    package = Path(importlib.util.find_spec("pyiqa").origin).parent
    listed = runpy.run_path(str(package / "default_model_configs.py"))["DEFAULT_CONFIGS"]
    return {
        name: Kind(about.get("metric_mode") == "FR", about.get("lower_better", False))
        for name, about in listed.items()
    }


def check(names: Sequence[str], where: str = "params.yaml: measures.also") -> None:
    """Raise MasksrError for a name that pyiqa does not have or that cannot be a column of quality.csv."""
    for name in names:
        if name in MEASURES or names.count(name) > 1:
            raise MasksrError(f"{where}: {name} would be measured twice; leave it out")
        if name not in known():
            close = difflib.get_close_matches(name, known(), n=1)
            hint = f"did you mean {close[0]!r}?" if close else "pyiqa.list_models() names all"
            raise MasksrError(f"{where}: pyiqa has no measure {name!r} ({hint})")
        if any(word in name for word in NOT_OF_ONE_PICTURE):
            raise MasksrError(f"{where}: {name} is not a measure of one picture; leave it out")


def lower_is_better(name: str) -> bool:
    """Whether a lower value of one of ``MEASURES``, or of pyiqa's, is a better one."""
    return name not in HIGHER_IS_BETTER if name in MEASURES else known()[name].lower_is_better


def further_title(name: str) -> str:
    """Name one of pyiqa's as tables do, with an arrow to where better is: ``LPIPS ↓``."""
    return f"{name.upper() if name.isalpha() else name} {'↓' if lower_is_better(name) else '↑'}"


def half_label(name: str, weights: str) -> str:
    """Name ``NIQE`` or ``Ma`` plainly where the weights are ``official``, else as a stand-in."""
    return name if weights == "official" else f"{name} (stand-in)"


def pi_label(niqe_weights: str, ma_weights: str) -> str:
    """Name the index ``PI`` where both halves have ``official`` weights, else say which have not."""
    stand_ins = [half for half, kind in (("NIQE", niqe_weights), ("Ma", ma_weights)) if kind != "official"]
    return ["PI", f"PI (stand-in {''.join(stand_ins)})", "PI (stand-in)"][len(stand_ins)]
