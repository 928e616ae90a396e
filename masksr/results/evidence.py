"""How sure we may be that a mask changes PI: paired differences, intervals, a verdict, and how many seeds it takes.

The measurements of one cell are differences, mask minus plain, for every seed s and image i of a test set. Both vary:
another seed is another training, another image another picture. So the mean is taken as that of a crossed
random-effects model, d_si = mean + seed_s + image_i + rest_si, whose variance follows from its mean squares (Searle,
Casella and McCulloch, Variance Components, 1992). The interval is Student's, with no more degrees of freedom than the
smaller of the two factors has: a little long where seeds matter little, and true where they matter most.

The bootstrap over seeds and images (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007) is
reported beside it and decides nothing: with two to five seeds its intervals are too short where trainings differ most.
tests/test_evidence.py measures how often either holds the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from masksr.errors import MasksrError
from masksr.params import Params
from masksr.quality.measures import lower_is_better
from masksr.results.scores import measure_titles
from masksr.results.tables import variant_title

Array = NDArray[np.float64]
LEVEL = 0.95  # of all intervals of a table together
RESAMPLES = 10_000


@dataclass(frozen=True)
class Effect:
    """What a mask changes on one test set. Lengths in the units of the measure; NaN where there is too little."""

    mean: float
    low: float  # of the interval that the verdict rests on
    high: float
    bootstrap_low: float
    bootstrap_high: float
    sd_seeds: float  # standard deviation of the seeds' own part; NaN with a single seed
    sd_seeds_high: float  # its upper bound at 80 %: a few seeds tell little of how far seeds lie apart
    sd_images: float  # of the images' own part; with a single seed it holds the rest too
    sd_rest: float
    seeds: int
    images: int


def effect(differences: Array, level: float = LEVEL) -> Effect:
    """The mean of ``differences`` (seeds, images), and how sure it is.

    With one seed the intervals are over images alone: they say nothing about another training.
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
    low, high = _bootstrap(d, level)
    return Effect(float(mean), float(mean - half), float(mean + half), low, high, *sds, seeds, images)


def verdict(found: Effect, lower_is_better: bool = True) -> str:
    """``better``, ``worse`` or ``undecided``; with a single seed, or a single image, nothing is decided of the mask."""
    if found.seeds < 2:
        return "undecided (one seed)"
    return "undecided (one image)" if found.images < 2 else direction(found, lower_is_better)


def direction(found: Effect, lower_is_better: bool = True) -> str:
    """``better``, ``worse`` or ``undecided``, by where the interval lies, whatever it is over."""
    if not (found.low > 0 or found.high < 0):  # NaN too
        return "undecided"
    return "better" if (found.high < 0) == lower_is_better else "worse"


def compare(
    quality: pd.DataFrame,
    params: Params,
    measure: str = "pi",
    level: float = LEVEL,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Every mask of Table 1 against the plain model of the same seed, on every test set; or the first of each of
    ``pairs`` of masks against the second.

    The intervals of all rows hold together with ``level`` (Bonferroni). Columns: model, mask, variant, set, metric,
    the fields of Effect (``mean`` as difference; negative: the mask's is lower), without (images left out because the
    measure failed in some training), verdict, and trainings: where the interval lies for these very trainings, images
    alone being left to chance (with several seeds as for the verdict).

    Images are left out where a generator fails, and not by chance: a cell without some of them is undecided.
    """
    if pairs is None:
        pairs = [(mask, "none") for mask in params.table1.masks if mask != "none"]
    cells = _differences(quality, params, measure, pairs)
    rows: list[dict[str, Any]] = []
    for (model, mask, against, name), table in cells.items():
        title = variant_title(params, model, mask) + (f" − {against}" if against != "none" else "")  # noqa: RUF001
        row: dict[str, Any] = {"model": model, "mask": mask, "variant": title, "set": name}
        row |= {"metric": measure_titles(quality)[measure]}
        rows.append(row | judged(table, measure, together(level, len(cells))))
    return pd.DataFrame(rows, columns=COLUMNS)


def judged(differences: pd.DataFrame, measure: str, level: float) -> dict[str, Any]:
    """The columns of one cell of ``compare``, from ``difference`` on.

    differences: (seeds, images). level: of this cell alone, see ``together``.
    """
    whole = differences.replace([np.inf, -np.inf], np.nan).dropna(axis="columns")
    without = differences.shape[1] - whole.shape[1]
    row: dict[str, Any] = dict.fromkeys(_FIELDS, float("nan")) | {"without": without}
    if whole.empty:
        nothing = {"seeds": len(differences), "images": 0, "verdict": "not measured", "trainings": "not measured"}
        return row | nothing
    found, lower = effect(whole.to_numpy(), level), lower_is_better(measure)
    row |= {"difference" if key == "mean" else key: value for key, value in vars(found).items()}
    row |= {"verdict": verdict(found, lower), "trainings": direction(found, lower)}
    return row | ({"verdict": f"undecided ({without} left out)"} if without else {})


_FIELDS = ["difference" if field.name == "mean" else field.name for field in fields(Effect)]
COLUMNS = ["model", "mask", "variant", "set", "metric", *_FIELDS, "verdict", "trainings", "without"]


def together(level: float, comparisons: int) -> float:
    """The level of each of ``comparisons`` intervals that hold together with ``level`` (Bonferroni)."""
    return 1 - (1 - level) / comparisons


def _crossed(d: Array, level: float) -> tuple[float, tuple[float, float, float, float]]:
    """Half the interval's length, and the standard deviations of seeds, their bound, of images and rest."""
    (seeds, images), mean = d.shape, d.mean()
    by_seed, by_image = d.mean(axis=1) - mean, d.mean(axis=0) - mean
    rest = d - mean - by_seed[:, None] - by_image
    of_seeds = images * (by_seed**2).sum() / (seeds - 1)
    of_images = seeds * (by_image**2).sum() / (images - 1)
    of_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    # Never below what one part alone would give: by chance the sum can be, even negative.
    variance = max(of_seeds + of_images - of_rest, of_seeds, of_images, of_rest) / d.size
    bound = of_seeds * (seeds - 1) / stats.chi2.ppf(0.2, seeds - 1)
    parts = (of_seeds - of_rest) / images, (bound - of_rest) / images, (of_images - of_rest) / seeds, of_rest
    sds = [np.sqrt(max(part, 0.0)) for part in parts]
    half = stats.t.ppf((1 + level) / 2, min(d.shape) - 1) * np.sqrt(variance)
    return half, tuple(map(float, sds))  # type: ignore[return-value]


def _bootstrap(d: Array, level: float) -> tuple[float, float]:
    """Percentile interval of the mean where seeds and images are drawn again, each with replacement, always alike."""
    if d.size == 1:
        return float("nan"), float("nan")
    rng, (seeds, images) = np.random.default_rng(0), d.shape
    drawn = [rng.multinomial(number, np.full(number, 1 / number), RESAMPLES) for number in (seeds, images)]
    means = np.einsum("rs,si,ri->r", drawn[0], d, drawn[1], optimize=True) / d.size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _differences(
    quality: pd.DataFrame, params: Params, measure: str, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str, str, str], pd.DataFrame]:
    """(model, mask, against, set) -> mask minus the other, (seeds, images)."""
    found = {}
    for model, (mask, against) in product(params.table1.models, pairs):
        other, one = (_grid(quality, params, model, name, measure) for name in (against, mask))
        if one and other:
            found |= {(model, mask, against, name): one[name] - other[name] for name in params.data.test}
    return found


def _grid(quality: pd.DataFrame, params: Params, model: str, mask: str, measure: str) -> dict[str, pd.DataFrame]:
    """set -> (seeds, images) of one variant; empty where Table 1 has no such variant."""
    if mask not in params.table1.masks:
        return {}
    tables = {}
    for name in params.data.test:
        part = quality.query("model == @model and mask == @mask and set == @name")
        tables[name] = part.pivot(index="seed", columns="image", values=measure).reindex(params.table1.seeds)
        if tables[name].empty or (missing := set(params.table1.seeds) - set(part["seed"])):
            what = f"seed {min(missing)}" if missing else "anything"
            raise MasksrError(
                f"the quality tables have not {what} of {model} with mask {mask} on {name}; run `dvc repro`"
            )
    return tables
