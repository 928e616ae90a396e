"""Figure 5 in numbers: how sure it is, for every pair of k and b, that it differs from the plain model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import Markdown

from masksr.params import Params
from masksr.results import evidence

Differences = Mapping[tuple[float, float], pd.DataFrame]  # (k, b) -> PI minus plain, (seeds, images), as of results
ENOUGH = 3  # images; the interval of two is some ten times longer than they lie apart


def intervals(differences: Differences) -> pd.DataFrame:
    """The mean difference from the plain model and its interval: a row per k, b and set, and per their ``mean``.

    Columns: k, b, set and those of ``evidence.judged`` (difference, low, high, seeds, images, verdict, ...). Each
    interval alone holds with ``evidence.LEVEL``. The verdict rests on longer ones, together_low and together_high:
    those of all pairs on one set, or on the mean of the sets, hold together with that level.
    """
    rows = []
    for (k, b), table in differences.items():
        sets = list(dict.fromkeys(table.columns.get_level_values("set")))
        parts = {name: table.xs(name, axis="columns", level="set") for name in sets}
        if len(sets) > 1:
            parts["mean"] = _weighted(parts)
        rows += [{"k": k, "b": b, "set": name} | _judged(d, len(differences)) for name, d in parts.items()]
    return pd.DataFrame(rows)


def _judged(differences: pd.DataFrame, pairs: int) -> dict[str, Any]:
    alone = evidence.judged(differences, "pi", evidence.LEVEL)
    together = evidence.judged(differences, "pi", evidence.together(evidence.LEVEL, pairs))
    ends = {f"together_{end}": together[end] for end in ("low", "high")}
    return alone | ends | {name: together[name] for name in ("verdict", "trainings")}


def _weighted(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All images, scaled so that their mean is the mean of the sets' means; NaN where a set has nothing.

    Where sets differ in size or mean, the scaled ones lie further apart: the interval gets longer, never shorter.
    """
    whole = [d.dropna(axis="columns") for d in parts.values()]
    if any(d.empty for d in whole):
        return pd.concat(whole, axis="columns") * float("nan")
    images = sum(d.shape[1] for d in whole)
    return pd.concat([d * images / (len(whole) * d.shape[1]) for d in whole], axis="columns")


def note(params: Params) -> Markdown:
    """What stands below figure 5, with what its bands say in this profile."""
    sweep, seeds = params.sweep, len(params.sweep.seeds)
    over = f"{seeds} seeds and the images" if seeds > 1 else "the images alone, one seed saying nothing of another"
    text = (
        "Above: against $k$, a line for each $b$. Below that: against $b$, a line for each $k$. The dashed line is "
        f"{params.models[sweep.model].title} without a mask; points below it support the paper's claim. A band is the "
        "interval of the difference from the plain model, drawn from the dashed line: where it stays clear of it, "
        f"that difference is more than chance over {over}. Each holds with {evidence.LEVEL:.0%} by itself, so of many "
        f"one or the other misleads; panels of fewer than {ENOUGH} images have none."
    )
    if len(sweep.k) > 1 and len(sweep.b) > 1:
        text += " Last: that difference for every pair"
        sure = f"in bold where it is decided for all pairs together with {evidence.LEVEL:.0%}"
        text += f", {sure}." if seeds > 1 else "; with one seed none of them is decided."
    return Markdown(f"*{text}*")
