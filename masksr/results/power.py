"""How many trainings would decide it: the power of the test of ``results.evidence``, from the spread that was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from masksr.results import paper
from masksr.results.evidence import LEVEL, Array, Effect, together

NOTE = (
    "Without rows where there is a single seed: how much trainings differ is then unknown, and a second one is needed."
)


def seeds_table(effects: pd.DataFrame, targets: Sequence[float] = (0.03, 0.1, 0.5)) -> pd.DataFrame:
    """How many seeds would decide a true difference of each size, and of the paper's, with a probability of 80 %.

    A row per cell of ``effects`` that has a spread over seeds. Two numbers: with that spread as it was estimated, and
    with its upper bound (80 %), for a few seeds tell little of it. ``more images`` where no number of seeds is enough.
    """
    rows = []
    for _, cell in effects.dropna(subset=["sd_seeds"]).iterrows() if len(effects) else ():
        row: dict[str, Any] = {"variant": cell["variant"], "set": cell["set"]}
        row |= {"sd of seeds": cell["sd_seeds"], "at most": cell["sd_seeds_high"]}
        row |= {"sd of images": cell["sd_images"], "sd of rest": cell["sd_rest"]}
        level = together(LEVEL, len(effects))
        row |= {f"seeds for {target:.2f}": _needed(cell, target, level) for target in targets}
        papers = _papers(cell)
        rows.append(row | {"seeds for the paper's": _needed(cell, papers, level) if papers else "—"})
    return pd.DataFrame(rows)


def seeds_needed(
    found: Effect | pd.Series, difference: float, *, sd_seeds: float, power: float = 0.8, level: float = LEVEL
) -> int | None:
    """How many seeds decide a true ``difference`` with probability ``power``, on as many images, at ``level``.

    With the test of ``effect``, the spread ``sd_seeds`` of seeds and the other two of ``found``. None where a thousand
    would not do: then it is the images that are too few.
    """
    if not difference:
        raise ValueError("a difference of zero cannot be found")
    sd_images, sd_rest = (0.0 if not np.isfinite(sd) else sd for sd in (found.sd_images, found.sd_rest))
    for seeds in range(2, 1001):
        variance = sd_seeds**2 / seeds + sd_images**2 / found.images + sd_rest**2 / (seeds * found.images)
        degrees = min(seeds, int(found.images)) - 1
        if degrees and power_of(difference, np.sqrt(variance), degrees, level) >= power:
            return seeds
    return None


def power_of(difference: float, standard_error: float, degrees: int, level: float = LEVEL) -> float:
    """The probability that a two-sided t-test at ``level`` finds a true ``difference``."""
    if standard_error == 0:
        return 1.0
    # scipy's noncentral t gives NaN, or nothing, where the shift is many standard errors: here the mean over the
    # estimated standard errors that a sample may have.
    bound, shift = stats.t.ppf((1 + level) / 2, degrees) * _estimated(degrees), abs(difference) / standard_error
    return float((stats.norm.sf(bound - shift) + stats.norm.cdf(-bound - shift)).mean())


@cache
def _estimated(degrees: int) -> Array:
    """A thousand equally likely estimates of a standard error of 1 with so many degrees of freedom."""
    return np.sqrt(stats.chi2.ppf((np.arange(1000) + 0.5) / 1000, degrees) / degrees)


def _papers(cell: Mapping[str, Any]) -> float | None:
    """What the paper's mask changed there, where it has that cell and anything changed."""
    name, table = paper.match_set(cell["set"]), paper.mask_effect().set_index("model")
    if cell["mask"] != "paper" or name is None or cell["model"] not in table.index:
        return None
    return abs(float(table.loc[cell["model"], name])) or None


def _needed(cell: pd.Series, target: float, level: float) -> str:
    spreads = cell["sd_seeds"], cell["sd_seeds_high"]
    few, many = (seeds_needed(cell, target, sd_seeds=spread, level=level) for spread in spreads)
    if few is None:
        return "more images"
    return f"{few} … {many or 'more images'}"
