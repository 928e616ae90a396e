"""What a table of scores says in a few lines: the means that ``masksr evaluate`` and ``masksr score`` print."""

from __future__ import annotations

import pandas as pd

from masksr.results.scores import further_measures, label_note, measure_titles
from masksr.results.typeset import to_markdown

MEASURES = ["pi", "niqe", "ma", "psnr", "ssim", "rmse"]
ENDS = ("bicubic", "HR")  # not trained: they differ only where the pictures or the yardstick do


def summary(table: pd.DataFrame, who: str = "model") -> str:
    """Means over each set, and over the sets where there are several, as a Markdown table with a note on its PI.

    table: with ``scores.COLUMNS``; a measure that nobody took has no column. who: the title of ``model``.
    """
    taken = [*MEASURES, *further_measures(table)]
    measures = [name for name in taken if name in ("pi", "niqe", "ma") or table[name].notna().any()]
    groups = table.groupby(["model", "set"], sort=False)
    means = groups[measures].mean().assign(images=groups.size(), without_pi=groups.size() - groups["pi"].count())
    rows = []
    for model, of_model in means.groupby("model", sort=False):
        name = model if model in ENDS else f"`{model}`"  # file names have underscores
        rows += of_model.reset_index().assign(model=name).to_dict("records")
        if len(of_model) > 1:  # every set counts alike; a set without any PI leaves no mean
            mean, total = of_model[measures].mean(skipna=False), of_model[["images", "without_pi"]].sum()
            rows.append({"model": name, "set": "mean of sets", **mean, **total})
    shown = pd.DataFrame(rows)[["model", "set", "images", *measures, "without_pi"]]
    return f"{to_markdown(shown.rename(columns=measure_titles(table) | {'model': who}))}\n{label_note(table)}"
