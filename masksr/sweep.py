"""Figure 5 in numbers: how sure it is, for every pair of k and b, that it differs from the plain model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from IPython.display import Markdown

from masksr import evidence
from masksr.params import Params

Differences = Mapping[tuple[float, float], pd.DataFrame]  # (k, b) -> PI minus plain, (seeds, images), as of results
ENOUGH = 3  # images; the interval of two is some ten times longer than they lie apart


def intervals(differences: Differences) -> pd.DataFrame:
    """The mean difference from the plain model and its interval: a row per k, b and set, and per their ``mean``.

    Columns: k, b, set and those of ``evidence.judged`` (difference, low, high, seeds, images, verdict, ...). For each
    set, and for the mean over the sets, the intervals of all pairs hold together with ``evidence.LEVEL``.
    """
    level, rows = evidence.together(evidence.LEVEL, len(differences)), []
    for (k, b), table in differences.items():
        sets = list(dict.fromkeys(table.columns.get_level_values("set")))
        parts = {name: table.xs(name, axis="columns", level="set") for name in sets}
        if len(sets) > 1:
            parts["mean"] = _weighted(parts)
        rows += [{"k": k, "b": b, "set": name} | evidence.judged(d, "pi", level) for name, d in parts.items()]
    return pd.DataFrame(rows)


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
        f"the difference is more than chance over {over}. The bands of a panel hold together with "
        f"{evidence.LEVEL:.0%}; panels of fewer than {ENOUGH} images have none."
    )
    if len(sweep.k) > 1 and len(sweep.b) > 1:
        text += " Last: that difference for every pair"
        text += ", in bold where it is decided." if seeds > 1 else "; with one seed none of them is decided."
    return Markdown(f"*{text}*")
