"""Figure 5: PI over k and b."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masksr.figures.style import WIDTH, new_figure

PLAIN = "0.25"


def figure5(points: pd.DataFrame, plain: pd.DataFrame, label: str) -> Figure:
    """PI over k with a line per b (above) and over b with a line per k (below), a column per test set and their mean.

    points: columns k, b, seed, set, pi; plain: seed, set, pi of the model without mask, the dashed line. label: what
    ``tables.pi_label`` calls the metric. With several seeds: their mean, and the standard deviation as bars and band.
    """
    sets = list(dict.fromkeys(points["set"]))
    points, plain = _with_mean(points, ["k", "b", "seed"], sets), _with_mean(plain, ["seed"], sets)
    columns = list(dict.fromkeys(points["set"]))

    figure = new_figure(5.6, min(WIDTH, 3.2 + 2.4 * len(columns)))
    widths = [1] * len(columns) + [0.5]  # the last holds the legends
    axes = figure.subplots(2, len(columns) + 1, sharey="col", squeeze=False, width_ratios=widths)
    for (*row, margin), x, line in zip(axes, "kb", "bk", strict=True):
        for ax, name in zip(row, columns, strict=True):
            _plain(ax, plain.loc[plain["set"] == name, "pi"])
            _lines(ax, points[points["set"] == name], x, line)
        row[0].set_ylabel(f"{label}\n(lower is better)")
        margin.set_axis_off()
        margin.legend(*row[0].get_legend_handles_labels(), loc="center left", borderaxespad=0, handlelength=1.8)
    for ax, name in zip(axes[0], columns, strict=False):
        ax.set_title(name)
    return figure


def _with_mean(table: pd.DataFrame, keys: list[str], sets: Sequence[str]) -> pd.DataFrame:
    """One PI for each key and set, and their mean over the sets as one more; NaN where a set has none."""
    by_set = table.groupby([*keys, "set"])["pi"].mean().unstack("set").reindex(columns=sets)
    if len(sets) > 1:
        by_set["mean"] = by_set.mean(axis=1, skipna=False)
    by_set.columns.name = "set"
    return by_set.stack(future_stack=True).rename("pi").reset_index()


def _lines(ax: Axes, points: pd.DataFrame, x: str, line: str) -> None:
    """PI over ``x``, a line for each value of ``line``; the values are the same on all axes."""
    values = sorted(points[line].unique())
    import seaborn as sns  # here, for its second of import time

    palette = sns.color_palette("viridis", len(values) + 1)[: len(values)]  # without the yellow end
    for value, colour, marker in zip(values, palette, "osD^vP*X" * len(values), strict=False):
        by_x = points[points[line] == value].groupby(x)["pi"].agg(["mean", "std"])
        bars = by_x["std"] if by_x["std"].notna().any() else None
        style = {"color": colour, "marker": marker, "markersize": 5.5, "capsize": 2.5}
        ax.errorbar(by_x.index, by_x["mean"], yerr=bars, label=f"{line} = {value:g}", **style)
    _scale(ax, sorted(points[x].unique()))
    ax.set_xlabel(x)


def _plain(ax: Axes, seeds: pd.Series) -> None:
    if seeds.notna().any():
        ax.axhline(seeds.mean(), color=PLAIN, linestyle="--", linewidth=1.3, label="plain")
        if seeds.count() > 1:
            ax.axhspan(seeds.mean() - seeds.std(), seeds.mean() + seeds.std(), color=PLAIN, alpha=0.12, linewidth=0)


def _scale(ax: Axes, values: list[float]) -> None:
    """Ticks at the values tried; logarithmic where they span decades, also when zero is among them."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) / min(positive) > 10 and min(values) >= 0:
        if min(values) > 0:
            ax.set_xscale("log")
        else:
            ax.set_xscale("symlog", linthresh=min(positive))
    ax.minorticks_off()
    crowded = {"rotation": 45, "fontsize": 9} if len(values) > 4 else {}
    ax.set_xticks(values, [f"{value:g}" for value in values], **crowded)
    if len(values) > 1:
        ax.margins(x=0.12)
