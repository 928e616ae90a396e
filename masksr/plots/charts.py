"""Charts of how certain differences are."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masksr.plots.style import GREY, WIDTH, colours, marker


def draw_intervals(ax: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    """Draw each row's difference and its interval, low to high, on the line of its variant; 0 is no change.

    rows: as of ``intervals.compare``. A hollow marker with a pale interval: undecided, or a single seed.
    """
    ax.axvline(0, color=GREY, linewidth=1.1, zorder=0)
    for row in rows.itertuples():
        y, decided = variants.index(row.variant), row.verdict in ("better", "worse")
        colour = colours(rows["model"])[row.model]
        ax.hlines(y, row.low, row.high, color=colour, linewidth=2.2, alpha=1.0 if decided else 0.45)
        ax.plot(row.difference, y, color=colour, **marker(row.mask, filled=decided))
    ax.set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)), yticklabels=variants)
    ax.grid(axis="y", visible=False)


def effects(table: pd.DataFrame) -> Figure:
    """Draw mask minus baseline for the cells (one or more) of ``intervals.compare``: a panel per test set."""
    sets, variants = list(table["set"].unique()), list(table["variant"].unique())
    layout = {"figsize": (WIDTH, 1.3 + 0.34 * len(variants)), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False, **layout)
    for ax, name in zip(axes.flat, sets, strict=True):
        draw_intervals(ax, table[table["set"] == name], variants)
        ax.set_title(name)
    ends = table[["difference", "low", "high"]].abs().max()
    reach = 10 * ends["difference"]
    if 0 < reach < ends.max():  # let long intervals run off the page: the points are worth seeing
        ax.set_xlim(-reach, reach)
    other = "other mask" if "other is" in table else "baseline"
    figure.supxlabel(f"{table['metric'].iloc[0]}, mask minus {other}", fontsize=11)
    return figure
