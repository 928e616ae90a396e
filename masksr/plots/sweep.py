"""Figure 5: PI over k and b."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.transforms import ScaledTranslation

from masksr.plots.picture import Picture
from masksr.plots.style import FIXED, GREY, MINUS, WIDTH, new_figure

ENOUGH = 3  # images; the interval of two is some ten times longer than they lie apart
PLAIN = "0.25"
LINES = ["-", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]  # with the markers they differ in grey too; dashed is the plain model
MARKERS = "osD^vP*X"
BETTER_WORSE = LinearSegmentedColormap.from_list("better, worse", [FIXED["esrgan"], "#F7F7F7", FIXED["pesr"]])


def figure5(points: pd.DataFrame, plain: pd.DataFrame, label: str, intervals: pd.DataFrame) -> Picture:
    """PI over k with a line per b and over b with a line per k, a column per test set and their mean; where both have
    several values, below them a map of the difference from the plain model.

    points: columns k, b, seed, set, pi; plain: seed, set, pi of the model without mask, the dashed line. label: what
    ``scores.pi_label`` calls the metric. intervals: of ``evidence.sweep_intervals``; the bands, where a set has enough
    images.
    """
    sets = list(dict.fromkeys(points["set"]))
    points, plain = _with_mean(points, ["k", "b"], sets), _with_mean(plain, [], sets).set_index("set")["pi"]
    columns = list(dict.fromkeys(points["set"]))
    ks, bs = (sorted(points[name].unique()) for name in "kb")
    grid = len(ks) > 1 and len(bs) > 1

    map_height = 0.9 + 0.34 * len(bs)
    figure = new_figure(5.6 + grid * map_height, min(WIDTH, 3.2 + 2.4 * len(columns)))
    heights = [2.8, 2.8] + [map_height] * grid
    places = figure.add_gridspec(
        len(heights), len(columns) + 1, width_ratios=[1] * len(columns) + [0.5], height_ratios=heights
    )
    for number, name in enumerate(columns):
        here, sure = points[points["set"] == name], intervals[intervals["set"] == name]
        upper = figure.add_subplot(places[0, number], title=name)
        lower = figure.add_subplot(places[1, number], sharey=upper)
        for ax, x, line in ((upper, "k", "b"), (lower, "b", "k")):
            if np.isfinite(plain[name]):
                ax.axhline(plain[name], color=PLAIN, linestyle="--", linewidth=1.3, label="plain")
            _lines(ax, here, sure, plain[name], x, line)
            if not number:
                ax.set_ylabel(f"{label}\n(lower is better)")
                _legend(figure.add_subplot(places["kb".index(x), -1]), ax)
        _limits(upper, [*here["pi"], plain[name]], sure, plain[name])
    if grid:
        most = intervals["difference"].abs().fillna(0).max() or 1.0
        norm = Normalize(-most, most)
        for number, name in enumerate(columns):
            ax = figure.add_subplot(places[2, number])
            _map(ax, intervals[intervals["set"] == name], ks, bs, norm)
            ax.set_ylabel("" if number else "b")
        margin = figure.add_subplot(places[2, -1])
        margin.set_axis_off()
        bar = figure.colorbar(ax.collections[0], cax=margin.inset_axes([0.02, 0.05, 0.12, 0.9]))
        bar.set_label("minus plain", fontsize=10)
        bar.ax.tick_params(labelsize=8.5, length=2)
    figure.alt = _in_words(points[points["set"] == columns[-1]], plain, intervals, label, columns)
    return figure


def _with_mean(table: pd.DataFrame, keys: list[str], sets: Sequence[str]) -> pd.DataFrame:
    """One PI for each key and set, and their mean over the sets as one more; NaN where a set has none."""
    by_set = table.groupby([*keys, "set"])["pi"].mean().reset_index()
    by_set = by_set.assign(one=0).pivot(index=["one", *keys], columns="set", values="pi").reindex(columns=sets)
    if len(sets) > 1:
        by_set["mean"] = by_set.mean(axis=1, skipna=False)
    by_set.columns.name = "set"
    return by_set.stack(future_stack=True).rename("pi").reset_index().drop(columns="one")


def _lines(ax: Axes, points: pd.DataFrame, sure: pd.DataFrame, plain: float, x: str, line: str) -> None:
    """PI over ``x``, a line and a band for each value of ``line``; the values are the same on all axes."""
    values = sorted(points[line].unique())
    import seaborn as sns  # here, for its second of import time

    palette = sns.color_palette("viridis", len(values) + 1)[: len(values)]  # without the yellow end
    for number, (value, colour) in enumerate(zip(values, palette, strict=True)):
        here = points[points[line] == value].set_index(x)["pi"].sort_index()
        style = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "markersize": 5.5}
        ax.plot(here.index, here, linestyle=LINES[number % len(LINES)], label=f"{line} = {value:g}", **style, zorder=3)
        bands = sure[(sure[line] == value) & (sure["images"] >= ENOUGH)].set_index(x).sort_index()
        low, high = plain + bands["low"], plain + bands["high"]
        if len(bands) > 1:
            ax.fill_between(bands.index, low, high, color=colour, alpha=0.3 / len(values), linewidth=0)
            ax.plot(bands.index, np.column_stack([low, high]), color=colour, linewidth=0.6, alpha=0.7)
        elif len(bands):  # beside each other
            aside = ScaledTranslation((number - (len(values) - 1) / 2) / 12, 0, ax.figure.dpi_scale_trans)
            ax.vlines(bands.index, low, high, color=colour, linewidth=1.4, transform=ax.transData + aside)
    few = int(sure["images"].max())
    if few < ENOUGH and x == "k":
        ax.text(0.03, 0.02, f"{few} image{'s' * (few != 1)}: no band", transform=ax.transAxes, fontsize=8, color=GREY)
    _scale(ax, sorted(points[x].unique()))
    ax.set_xlabel(x)


def _limits(ax: Axes, values: Sequence[float], sure: pd.DataFrame, plain: float) -> None:
    """As far as the bands go, but no further than that the points still tell apart."""
    values = np.asarray(values)[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    span = (high - low) or 0.1
    bands = sure[sure["images"] >= ENOUGH]
    ends = [plain + bands["low"].min(), plain + bands["high"].max()] if len(bands) else [low, high]
    ends = np.where(np.isfinite(ends), ends, [low, high])
    bottom, top = max(min(low, ends[0]), low - span), min(max(high, ends[1]), high + span)
    ax.set_ylim(bottom - 0.08 * span, top + 0.08 * span)


def _map(ax: Axes, sure: pd.DataFrame, ks: Sequence[float], bs: Sequence[float], norm: Normalize) -> None:
    """The difference for each k (to the right) and b (upwards): a number on a colour, bold where it is decided."""
    table = sure.set_index(["b", "k"])
    values = table["difference"].unstack("k").reindex(index=bs, columns=ks).to_numpy()
    ax.pcolormesh(values, cmap=BETTER_WORSE, norm=norm, edgecolors="white", linewidth=1.5)
    digits = 2 if norm.vmax >= 0.1 else 3
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.text(column + 0.5, row + 0.5, "\N{EN DASH}", ha="center", va="center", fontsize=8.5)
            continue
        decided = table.loc[(bs[row], ks[column]), "verdict"] in ("better", "worse")
        text = f"{value:+.{digits}f}".replace("-", MINUS)
        colour, weight = "white" if abs(value) > 0.7 * norm.vmax else "black", "bold" if decided else "normal"
        size = 8.5 if len(ks) < 4 else 7
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=size, weight=weight, color=colour)
    ax.set_xticks(np.arange(len(ks)) + 0.5, [f"{k:g}" for k in ks])
    ax.set_yticks(np.arange(len(bs)) + 0.5, [f"{b:g}" for b in bs])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("k")


def _legend(margin: Axes, ax: Axes) -> None:
    margin.set_axis_off()
    margin.legend(*ax.get_legend_handles_labels(), loc="center left", borderaxespad=0, handlelength=2.4)


def _in_words(
    points: pd.DataFrame, plain: pd.Series, intervals: pd.DataFrame, label: str, columns: Sequence[str]
) -> str:
    """points: of the last of ``columns``, which is their mean, or the only set."""

    def sentences() -> Iterator[str]:
        where = f"the mean of {', '.join(columns[:-1])}" if len(columns) > 1 else columns[0]
        without = f"it is {plain[columns[-1]]:.3f}" if np.isfinite(plain[columns[-1]]) else "nothing was measured"
        yield f"{label} over k and over b, on {where}; without a mask {without}"
        measured = points.dropna(subset="pi")
        if len(measured):
            lowest = measured.loc[measured["pi"].idxmin()]
            yield f"The lowest is {lowest['pi']:.3f} with k = {lowest['k']:g}, b = {lowest['b']:g}"
            below = int((measured["pi"] < plain[columns[-1]]).sum())
            yield f"{below} of {len(points)} pairs lie below the plain model"
        here = intervals[intervals["set"] == columns[-1]]
        decided = here["verdict"].isin(["better", "worse"]).sum()
        yield f"For {decided} of {len(here)} the difference is decided"

    return ". ".join(sentences()) + "."


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
