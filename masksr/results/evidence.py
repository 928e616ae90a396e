"""How sure it is that a mask changes PI: paired differences, intervals, verdicts, seeds needed.

The measurements of one cell are differences, mask minus baseline, for every seed s and image i of a test set.
Both vary: another seed is another training, another image another picture. So the mean is taken as that of a
crossed random-effects model, d_si = mean + seed_s + image_i + rest_si, whose variance follows from its mean
squares (Searle, Casella and McCulloch, Variance Components, 1992). The interval is Student's, with no more
degrees of freedom than the smaller of the two factors has: a little long where seeds matter little, and true
where they matter most. tests/test_evidence.py measures how often it holds the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from masksr.params import Params
from masksr.quality.measures import lower_is_better
from masksr.results import paper
from masksr.results.scores import measure_titles
from masksr.results.tables import list_variants, variant_title

Array = NDArray[np.float64]
LEVEL = 0.95  # of all intervals of a table together


@dataclass(frozen=True)
class Effect:
    """What a mask changes on one test set, in units of the measure; NaN where there is too little."""

    mean: float
    low: float  # of the interval
    high: float
    sd_seeds: float  # standard deviation of the seeds' own part; NaN with a single seed
    sd_seeds_high: float  # its upper bound at 80 %: a few seeds tell little of how far seeds lie apart
    sd_images: float  # of the images' own part; with a single seed it holds the rest too
    sd_rest: float
    seeds: int
    images: int


FIELDS = ["difference", *(field.name for field in fields(Effect)[1:])]
COLUMNS = ["model", "mask", "variant", "set", "metric", *FIELDS, "verdict", "trainings", "without"]


# One cell: its interval and its verdict


def effect(differences: Array, level: float = LEVEL) -> Effect:
    """The mean of ``differences`` (seeds, images), and how sure it is.

    With one seed the interval is over images alone: it says nothing about another training.
    Raises ValueError for another shape, for nothing, and for numbers that are not finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or not d.size or not np.isfinite(d).all():
        raise ValueError("differences must be finite numbers of shape (seeds, images), at least one")
    seeds, images = d.shape
    nan = float("nan")
    mean, half, sds = d.mean(), nan, (nan,) * 4
    if seeds > 1 and images > 1:
        half, sds = _crossed(d, level)
    elif d.size > 1:  # one seed, or one image
        sd = float(d.std(ddof=1))
        half = stats.t.ppf((1 + level) / 2, d.size - 1) * sd / np.sqrt(d.size)
        sds = (sd, sd, nan, nan) if images == 1 else (nan, nan, sd, nan)
    return Effect(float(mean), float(mean - half), float(mean + half), *sds, seeds, images)


def _crossed(d: Array, level: float) -> tuple[float, tuple[float, ...]]:
    """Half the interval's length, and the standard deviations of seeds, their bound, of images and rest."""
    (seeds, images), mean = d.shape, d.mean()
    by_seed, by_image = d.mean(axis=1) - mean, d.mean(axis=0) - mean
    rest = d - mean - by_seed[:, None] - by_image
    ms_seeds = images * (by_seed**2).sum() / (seeds - 1)  # mean squares
    ms_images = seeds * (by_image**2).sum() / (images - 1)
    ms_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    # Never below what one part alone would give: by chance the sum can be, even negative.
    variance = max(ms_seeds + ms_images - ms_rest, ms_seeds, ms_images, ms_rest) / d.size
    half = stats.t.ppf((1 + level) / 2, min(d.shape) - 1) * np.sqrt(variance)
    bound = ms_seeds * (seeds - 1) / stats.chi2.ppf(0.2, seeds - 1)
    parts = [
        (ms_seeds - ms_rest) / images,
        (bound - ms_rest) / images,
        (ms_images - ms_rest) / seeds,
        ms_rest,
    ]
    return half, tuple(float(np.sqrt(max(part, 0.0))) for part in parts)


def verdict(effect: Effect, lower_is_better: bool = True) -> str:
    """``better``, ``worse`` or ``undecided``, which it always is with a single seed or image."""
    if effect.seeds < 2:
        return "undecided (one seed)"
    return "undecided (one image)" if effect.images < 2 else direction(effect, lower_is_better)


def direction(effect: Effect, lower_is_better: bool = True) -> str:
    """``better``, ``worse`` or ``undecided``, by where the interval lies, whatever it is over."""
    if not (effect.low > 0 or effect.high < 0):  # NaN too
        return "undecided"
    return "better" if (effect.high < 0) == lower_is_better else "worse"


def bonferroni(level: float, comparisons: int) -> float:
    """The level of each of ``comparisons`` intervals that hold together with ``level``."""
    return 1 - (1 - level) / comparisons


def judge(differences: pd.DataFrame, measure: str, level: float) -> dict[str, Any]:
    """One row of ``compare``, from ``difference`` on.

    differences: (seeds, images). level: of this cell alone, see ``bonferroni``.
    """
    finite = differences.replace([np.inf, -np.inf], np.nan).dropna(axis="columns")
    without = differences.shape[1] - finite.shape[1]
    row: dict[str, Any] = dict.fromkeys(FIELDS, float("nan")) | {"without": without}
    if finite.empty:
        nothing = {
            "seeds": len(differences),
            "images": 0,
            "verdict": "not measured",
            "trainings": "not measured",
        }
        return row | nothing
    result, lower = effect(finite.to_numpy(), level), lower_is_better(measure)
    row |= zip(FIELDS, vars(result).values(), strict=True)
    row["verdict"] = f"undecided ({without} left out)" if without else verdict(result, lower)
    return row | {"trainings": direction(result, lower)}


# Many cells: masks against the baseline, and against each other


def compare(
    quality: pd.DataFrame,
    params: Params,
    measure: str = "pi",
    pairs: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Every mask of Table 1 against the baseline of the same seed, on every test set.

    pairs: of masks, the first against the second, in place of each against the baseline.

    The intervals of all rows hold together with ``LEVEL`` (Bonferroni). Columns: model, mask, variant, set,
    metric, the fields of Effect (``mean`` as difference; negative: the mask's is lower), without (images left
    out because the measure failed in some training), verdict, and trainings: where the interval lies for
    these very trainings, images alone being left to chance (with several seeds as for the verdict).

    Images are left out where a generator fails, and not by chance: a cell without some of them is undecided.
    """
    if pairs is None:
        pairs = [(mask, "none") for mask in params.table1.masks if mask != "none"]
    variants = {(row.model, row.mask): row.scores for row in list_variants(quality, params)}
    cells = {}
    for model, (mask, other), name in product(params.table1.models, pairs, params.data.test):
        if (model, mask) in variants and (model, other) in variants:
            parts = [table[table["set"] == name] for table in (variants[model, mask], variants[model, other])]
            grids = [part.pivot(index="seed", columns="image", values=measure) for part in parts]
            cells[model, mask, other, name] = grids[0] - grids[1]
    rows = []
    for (model, mask, other, name), differences in cells.items():
        title = variant_title(params, model, mask)
        title += f" − {other}" if other != "none" else ""  # noqa: RUF001
        row = {"model": model, "mask": mask, "variant": title, "set": name}
        row |= {"metric": measure_titles(quality)[measure]}
        rows.append(row | judge(differences, measure, bonferroni(LEVEL, len(cells))))
    return pd.DataFrame(rows, columns=COLUMNS)


def one_change(params: Params) -> dict[tuple[str, str], str]:
    """Pairs of masks of Table 1, the first of kind error, that differ in one setting: {pair: "k: 2.0"}.

    Against the baseline a mask changes two things at once: how much of the images the discriminator sees, and
    where. A control keeps the one and takes away the other.
    """
    pairs: dict[tuple[str, str], str] = {}
    masks = {name: params.masks[name] for name in params.table1.masks if params.masks[name].kind != "none"}
    for (mask, first), (other, second) in product(masks.items(), masks.items()):
        values = second.model_dump()
        changes = [
            f"{key}: {values[key]}" for key, value in first.model_dump().items() if value != values[key]
        ]
        if first.kind == "error" and len(changes) == 1 and (other, mask) not in pairs:
            pairs[mask, other] = changes[0]
    return pairs


def compare_controls(quality: pd.DataFrame, params: Params, measure: str = "pi") -> pd.DataFrame:
    """``compare`` for the pairs of ``one_change``; ``other is`` says what the other mask has instead.

    A family of intervals of its own: all its rows hold together with 95 %.
    """
    pairs = one_change(params)
    table = compare(quality, params, measure, list(pairs))
    changes = [change for _, change, _ in product(params.table1.models, pairs.values(), params.data.test)]
    table.insert(3, "other is", changes)
    return table


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``compare`` that a reader needs, with the interval in one cell."""
    if effects.empty:
        return effects
    digits = 4 if effects[["low", "high"]].abs().max(axis=None) < 0.1 else 2  # of LPIPS a hundredth is much
    intervals = []
    for low, high in zip(effects["low"], effects["high"], strict=True):
        text = f"{low:+.{digits}f}\u00a0…\u00a0{high:+.{digits}f}"  # with spaces that do not break
        intervals.append("—" if math.isnan(low) else text.replace("-", "\N{MINUS SIGN}"))
    columns = {key: effects[key] for key in ("variant", "other is", "set") if key in effects}
    columns |= {effects["metric"].iloc[0]: effects["difference"], "interval": intervals}
    columns |= {"seeds": effects["seeds"], "images": effects["images"]}
    if effects["without"].any():
        columns["left out"] = effects["without"]
    if (effects["trainings"] != effects["verdict"]).any():
        columns["these trainings"] = effects["trainings"]
    return pd.DataFrame(columns | {"verdict": effects["verdict"]})


# Figure 5: every pair of k and b


def sweep_intervals(differences: Mapping[tuple[float, float], pd.DataFrame]) -> pd.DataFrame:
    """The mean difference from the baseline and its interval: a row per k, b and set, and per their ``mean``.

    differences: of ``tables.sweep_differences``. Columns: k, b, set and those of ``judge``. Each interval
    alone holds with ``LEVEL``. The verdict rests on longer ones, together_low and together_high: those of all
    pairs on one set, or on the mean of the sets, hold together with that level.
    """
    rows = []
    for (k, b), table in differences.items():
        sets = table.columns.unique("set")
        parts = {name: table.xs(name, axis="columns", level="set") for name in sets}
        if len(sets) > 1:
            parts["mean"] = _weigh(parts)
        for name, part in parts.items():
            alone = judge(part, "pi", LEVEL)
            together = judge(part, "pi", bonferroni(LEVEL, len(differences)))
            row = (
                {"k": k, "b": b, "set": name}
                | alone
                | {key: together[key] for key in ("verdict", "trainings")}
            )
            rows.append(row | {"together_low": together["low"], "together_high": together["high"]})
    return pd.DataFrame(rows)


def _weigh(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All images, scaled so that their mean is the mean of the sets' means; NaN where a set has nothing.

    Where sets differ in size or mean, the scaled ones lie further apart: the interval gets longer, never
    shorter.
    """
    finite = [part.dropna(axis="columns") for part in parts.values()]
    if any(part.empty for part in finite):
        return pd.concat(finite, axis="columns") * float("nan")
    images = sum(part.shape[1] for part in finite)
    return pd.concat([part * images / (len(finite) * part.shape[1]) for part in finite], axis="columns")


# Power: how many trainings would decide it


def paper_change(cell: pd.Series) -> float | None:
    """The size of what the paper's mask changed in a cell of ``compare``; None where that is unknown or 0."""
    table, column = paper.mask_effect().set_index("model"), paper.match_set(cell["set"])
    if cell["mask"] != "paper" or column is None or cell["model"] not in table.index:
        return None
    return abs(float(table.loc[cell["model"], column])) or None


def seeds_needed(
    cell: Effect | pd.Series, difference: float, *, sd_seeds: float, power: float = 0.8, level: float = LEVEL
) -> int | None:
    """How many seeds decide a true ``difference`` with probability ``power`` at ``level``.

    With the test of ``effect``, the spread ``sd_seeds`` of seeds and the other two of ``cell``. None where a
    thousand would not do: then it is the images that are too few.
    """
    if not difference:
        raise ValueError("a difference of zero cannot be found")
    sd_images, sd_rest = np.nan_to_num([cell.sd_images, cell.sd_rest])
    for seeds in range(2, 1001):
        variance = sd_seeds**2 / seeds + sd_images**2 / cell.images + sd_rest**2 / (seeds * cell.images)
        degrees = min(seeds, int(cell.images)) - 1
        if degrees and power_of(difference, np.sqrt(variance), degrees, level) >= power:
            return seeds
    return None


def power_of(difference: float, standard_error: float, degrees: int, level: float = LEVEL) -> float:
    """The probability that a two-sided t-test at ``level`` finds a true ``difference``."""
    if standard_error == 0:
        return 1.0
    # scipy's noncentral t gives NaN, or nothing, where the shift is many standard errors: here the mean over
    # the estimated standard errors that a sample may have.
    bound = stats.t.ppf((1 + level) / 2, degrees) * _standard_errors(degrees)
    shift = abs(difference) / standard_error
    return float((stats.norm.sf(bound - shift) + stats.norm.cdf(-bound - shift)).mean())


@cache
def _standard_errors(degrees: int) -> Array:
    """A thousand equally likely estimates of a standard error of 1 with so many degrees of freedom."""
    return np.sqrt(stats.chi2.ppf((np.arange(1000) + 0.5) / 1000, degrees) / degrees)
