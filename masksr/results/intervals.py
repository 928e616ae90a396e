"""How certain it is that a mask changes PI: paired differences, intervals, verdicts.

The measurements of one cell are differences, mask minus baseline, for every seed s and image i of a test set.
Both vary: another seed is another training, another image another picture. The mean is therefore that of a
crossed random-effects model, d_si = mean + seed_s + image_i + rest_si, whose variance follows from its mean
squares (Searle, Casella and McCulloch, Variance Components, 1992). The interval is Student's, with no more
degrees of freedom than the smaller of the two factors has: right where seeds matter most, and too long (with
three seeds up to threefold) where they matter little. tests/test_intervals.py measures its coverage.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from masksr.params import Params
from masksr.quality.measures import lower_is_better
from masksr.results.scores import measure_titles
from masksr.results.tables import list_variants, mask_words, variant_title

Array = NDArray[np.float64]
# (model, mask, title of the variant, test set) -> differences (seeds, images)
Cells = dict[tuple[str, str, str, str], pd.DataFrame]
LEVEL = 0.95  # of all intervals of a table together
FEWEST_IMAGES = 3  # for an interval: with two images it is twelve standard errors long and says nothing


@dataclass(frozen=True)
class Effect:
    """What a mask changes on one test set, in units of the measure; NaN where data are too few."""

    mean: float
    low: float  # of the interval
    high: float
    sd_seeds: float  # standard deviation of the seeds' own part; NaN with a single seed
    sd_seeds_high: float  # its upper bound at 80 %: a few seeds say little about the spread of seeds
    sd_images: float  # of the images' own part; with a single seed it includes the rest
    sd_rest: float
    seeds: int
    images: int


FIELDS = ["difference", *(field.name for field in fields(Effect)[1:])]
COLUMNS = ["model", "mask", "variant", "set", "metric", *FIELDS, "verdict", "trainings", "without"]


# ---- One cell: its interval and its verdict ----------------------------------------------------------------
def effect(d: Array, level: float = LEVEL) -> Effect:
    """Compute the mean of differences (seeds, images), all finite and at least one, and its interval.

    With one seed the interval is over images alone: it says nothing about another training. With fewer than
    three images there is none.
    """
    (seeds, images), nan = d.shape, float("nan")
    mean, half, sds = d.mean(), nan, (nan,) * 4
    if images >= FEWEST_IMAGES and seeds > 1:
        half, sds = _crossed(d, level)
    elif images >= FEWEST_IMAGES:
        sd = float(d.std(ddof=1))
        half, sds = stats.t.ppf((1 + level) / 2, images - 1) * sd / np.sqrt(images), (nan, nan, sd, nan)
    return Effect(float(mean), float(mean - half), float(mean + half), *sds, seeds, images)


def _crossed(d: Array, level: float) -> tuple[float, tuple[float, ...]]:
    """Return half the interval's length, and standard deviations: of seeds, its bound, of images, of rest."""
    (seeds, images), mean = d.shape, d.mean()
    by_seed, by_image = d.mean(axis=1) - mean, d.mean(axis=0) - mean
    rest = d - mean - by_seed[:, None] - by_image
    ms_seeds = images * (by_seed**2).sum() / (seeds - 1)  # mean squares
    ms_images = seeds * (by_image**2).sum() / (images - 1)
    ms_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    # Never below what one part alone would give: by chance the sum can be lower, even negative.
    variance = max(ms_seeds + ms_images - ms_rest, ms_seeds, ms_images, ms_rest) / d.size
    half = stats.t.ppf((1 + level) / 2, min(d.shape) - 1) * np.sqrt(variance)
    bound = ms_seeds * (seeds - 1) / stats.chi2.ppf(0.2, seeds - 1)
    parts = (ms_seeds - ms_rest) / images, (bound - ms_rest) / images, (ms_images - ms_rest) / seeds, ms_rest
    return half, tuple(float(np.sqrt(max(part, 0.0))) for part in parts)


def verdict(effect: Effect, lower_is_better: bool = True) -> str:
    """Return ``better``, ``worse`` or ``undecided``, which it always is with a single seed or few images."""
    if effect.seeds < 2:
        return "undecided (one seed)"
    few = effect.images < FEWEST_IMAGES
    return "undecided (too few images)" if few else direction(effect, lower_is_better)


def direction(effect: Effect, lower_is_better: bool = True) -> str:
    """Return ``better``, ``worse`` or ``undecided`` by where the interval lies, whatever it is over."""
    if not (effect.low > 0 or effect.high < 0):  # NaN too
        return "undecided"
    return "better" if (effect.high < 0) == lower_is_better else "worse"


def bonferroni(level: float, comparisons: int) -> float:
    """Return the level of each of ``comparisons`` intervals that jointly hold with ``level``."""
    return 1 - (1 - level) / comparisons


def judge(differences: pd.DataFrame, measure: str, level: float) -> dict[str, Any]:
    """Judge differences (seeds, images); returns ``COLUMNS`` from ``difference`` on. level: of this cell."""
    finite = differences.replace([np.inf, -np.inf], np.nan).dropna(axis="columns")
    without = differences.shape[1] - finite.shape[1]
    row: dict[str, Any] = dict.fromkeys(FIELDS, float("nan")) | {"without": without}
    if finite.empty:
        seeds, nothing = len(differences), "not measured"
        return row | {"seeds": seeds, "images": 0, "verdict": nothing, "trainings": nothing}
    result, lower = effect(finite.to_numpy(), level), lower_is_better(measure)
    row |= zip(FIELDS, vars(result).values(), strict=True)
    row["verdict"] = f"undecided ({without} left out)" if without else verdict(result, lower)
    return row | {"trainings": direction(result, lower) if result.seeds < 2 else row["verdict"]}


# ---- Many cells: masks against the baseline, and against each other ----------------------------------------
def judge_cells(cells: Cells, metric: str, measure: str) -> pd.DataFrame:
    """Judge all cells of a table: one row each, with ``COLUMNS``.

    The intervals of all rows jointly hold with ``LEVEL`` (Bonferroni). Where no score differs the verdict is
    ``the same``. No interval is needed there, and none is given for fewer than three images: neither uses up
    any of the 5 %. The level that is left to each interval is in ``attrs["level"]``.

    difference: ``mean`` of the Effect. without: images left out because the measure failed in some training,
    which does not happen by chance, so the cell is undecided. trainings: the direction for these very
    trainings, with images alone left to chance (with several seeds, the same as for the verdict).
    """
    same = {cell for cell, d in cells.items() if d.eq(0).all(axis=None)}
    without = {cell for cell, d in cells.items() if d.shape[1] < FEWEST_IMAGES}  # which get no interval
    level, rows = bonferroni(LEVEL, max(len(cells) - len(same | without), 1)), []
    for cell, d in cells.items():
        equal = {"verdict": "the same", "trainings": "the same"} if cell in same else {}
        rows.append(dict(zip(COLUMNS, [*cell, metric], strict=False)) | judge(d, measure, level) | equal)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["level"] = level
    return table


def compare(
    quality: pd.DataFrame, params: Params, measure: str = "pi", pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Judge every mask of Table 1 against the baseline of the same seed on every set (``judge_cells``).

    pairs: of masks, the first against the second, instead of each against the baseline. A negative difference
    means that the mask's measure is lower.
    """
    if pairs is None:
        pairs = [(mask, "none") for mask in params.table1.masks if mask != "none"]
    variants = {(row.model, row.mask): row.scores for row in list_variants(quality, params)}
    cells = {}
    for model, (mask, other), name in product(params.table1.models, pairs, params.data.test):
        if (model, mask) in variants and (model, other) in variants:
            parts = [table[table["set"] == name] for table in (variants[model, mask], variants[model, other])]
            grids = [part.pivot(index="seed", columns="image", values=measure) for part in parts]
            title = variant_title(params, model, mask)
            title += f" − {mask_words(params, other)}" if other != "none" else ""  # noqa: RUF001
            cells[model, mask, title, name] = grids[0] - grids[1]
    return judge_cells(cells, measure_titles(quality)[measure], measure)


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of ``compare`` that a reader needs, with the interval in one cell."""
    if effects.empty:
        return effects
    digits = 4 if effects[["low", "high"]].abs().max(axis=None) < 0.1 else 2  # in LPIPS a hundredth is much
    intervals = []
    for low, high in zip(effects["low"], effects["high"], strict=True):
        text = f"{low:+.{digits}f}\u00a0…\u00a0{high:+.{digits}f}"  # with spaces that do not break
        intervals.append("—" if math.isnan(low) else text.replace("-", "\N{MINUS SIGN}"))
    columns = {key: effects[key] for key in ("variant", "other is", "set") if key in effects}
    columns[effects["metric"].iloc[0]] = effects["difference"]
    if effects["low"].notna().any():
        columns["interval"] = intervals
    columns |= {"seeds": effects["seeds"], "images": effects["images"]}
    if effects["without"].any():
        columns["left out"] = effects["without"]
    decided = effects["trainings"].isin(["better", "worse"])
    if (decided & (effects["trainings"] != effects["verdict"])).any():
        columns["these trainings"] = effects["trainings"]
    return pd.DataFrame(columns | {"verdict": effects["verdict"]})
