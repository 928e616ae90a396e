"""Differences with their intervals: a mark and a line for each, filled where it is decided."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masksr.plots.style import GREY, WIDTH, colours, marker


def draw_intervals(ax: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    """Draw difference, low and high of each row on the line of its variant; 0 is no change.

    rows: of ``evidence.compare`` or ``compare.mask_minus_plain``. A hollow mark with a pale interval is
    undecided, or rests on a single seed.
    """
    ax.axvline(0, color=GREY, linewidth=1.1, zorder=0)
    for row in rows.itertuples():
        y, decided = variants.index(row.variant), row.verdict in ("better", "worse")
        colour = colours(rows["model"])[row.model]
        ax.hlines(y, row.low, row.high, color=colour, linewidth=2.2, alpha=1.0 if decided else 0.45)
        ax.plot(row.difference, y, color=colour, **marker(row.mask, filled=decided))
    ax.set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)))
    ax.set_yticklabels(variants)
    ax.grid(axis="y", visible=False)


def effects(table: pd.DataFrame) -> Figure:
    """Draw mask minus plain of every cell of ``evidence.compare`` with its interval, a panel per test set.

    table: with at least one row; its column ``metric`` names the axis.
    """
    sets, variants = list(table["set"].unique()), list(table["variant"].unique())
    figure, axes = plt.subplots(
        1, len(sets), figsize=(WIDTH, 1.3 + 0.34 * len(variants)), squeeze=False, sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for ax, name in zip(axes.flat, sets, strict=True):
        draw_intervals(ax, table[table["set"] == name], variants)
        ax.set_title(name)
    ends = table[["difference", "low", "high"]].abs().max()
    reach = 10 * ends["difference"]
    if 0 < reach < ends.max():  # intervals of two images run off the page; the points are worth seeing
        ax.set_xlim(-reach, reach)
    other = "other mask" if "other is" in table else "plain"
    figure.supxlabel(f"{table['metric'].iloc[0]}, mask minus {other}", fontsize=11)
    return figure
