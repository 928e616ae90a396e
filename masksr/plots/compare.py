"""Two runs side by side: what the second changes on every picture that both have measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from masksr.plots.picture import Picture
from masksr.plots.style import GREY, colours, mask_style, new_figure, verdicts

ACROSS = 4  # panels in a row


def paired_differences(
    table: pd.DataFrame, differences: Mapping[tuple[str, str, str], pd.DataFrame], names: tuple[str, str]
) -> Picture | None:
    """The second minus the first, a panel per test set, a line per variant; 0 is no change. None where all is the same.

    table, differences: of ``results.compare``. A dot is a picture (the mean over its seeds), the mark their mean with
    its interval, filled where that decides; it may run off the axis, which is as wide as the pictures are.
    """
    table = table[table["verdict"] != "the same"]
    if table.empty:
        return None
    sets, variants = list(dict.fromkeys(table["set"])), list(dict.fromkeys(table["variant"]))
    across = min(len(sets), ACROSS)
    lines = -(-len(sets) // across)
    figure = new_figure(lines * (0.75 + 0.42 * len(variants)) + 0.45)
    axes = figure.subplots(lines, across, squeeze=False, sharey=True, sharex=True)
    for ax in axes.flat[len(sets) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, sets, strict=False):
        _panel(ax, table[table["set"] == name], differences, variants, colours(table["model"]))
        ax.set_title(name)
    widest = max(np.nanmax(np.abs(d.to_numpy()), initial=0.0) for d in differences.values())
    if np.isfinite(widest) and widest > 0:
        axes.flat[0].set_xlim(-1.15 * widest, 1.15 * widest)
    figure.supxlabel(f"{table['metric'].iloc[0]}, {names[1]} minus {names[0]}", fontsize=11)
    figure.alt = (
        f"{table['metric'].iloc[0]} of {names[1]} minus that of {names[0]}, a panel per test set, a line per variant "
        f"with a dot per picture and the interval of the mean: {verdicts(table['verdict'])}."
    )
    return figure


def _panel(
    ax: Axes,
    rows: pd.DataFrame,
    differences: Mapping[tuple[str, str, str], pd.DataFrame],
    variants: list[str],
    colour: dict[str, str],
) -> None:
    ax.axvline(0, color=GREY, linewidth=1.1, zorder=0)
    for row in rows.itertuples():
        y, decided = variants.index(row.variant), row.verdict in ("better", "worse")
        pictures = differences[row.model, row.mask, row.set].mean(axis="index").dropna()
        offsets = np.linspace(-0.22, 0.22, len(pictures)) if len(pictures) > 1 else [0.0]
        ax.plot(pictures, y + np.asarray(offsets), ".", color=colour[row.model], markersize=4, alpha=0.4, zorder=1)
        ax.plot([row.low, row.high], [y, y], color=colour[row.model], linewidth=2.2, alpha=1.0 if decided else 0.5)
        style = mask_style(row.mask) | {"linestyle": "none", "fillstyle": "full" if decided else "none"}
        ax.plot(row.difference, y, color=colour[row.model], markersize=8, markeredgewidth=1.6, **style)
    ax.set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)))
    ax.set_yticklabels(variants)
    ax.grid(axis="y", visible=False)
