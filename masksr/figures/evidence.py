"""What a mask changes and how sure that is: a point and an interval for each cell of Table 1."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from masksr.figures.comparison import mask_handles
from masksr.figures.style import GREY, colours, mask_style, new_figure
from masksr.params import Params
from masksr.quality_table import pi_label

NOTE = {"textcoords": "offset points", "color": GREY, "fontsize": 9.5}


def effects(table: pd.DataFrame) -> Figure | None:
    """Mask minus plain of every cell of ``evidence.compare`` with its interval, a panel per test set; 0 is no change.

    A filled mark is a decided cell; a hollow one with a pale interval is undecided, or rests on a single seed.
    """
    if table.empty:
        return None
    sets, variants = list(dict.fromkeys(table["set"])), list(dict.fromkeys(table["variant"]))
    figure = new_figure(1.3 + 0.34 * len(variants))
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True, sharex=True)[0]
    for ax, name in zip(axes, sets, strict=True):
        ax.axvline(0, color=GREY, linewidth=1.1, zorder=0)
        for row in table[table["set"] == name].itertuples():
            y, decided = variants.index(row.variant), row.verdict in ("better", "worse")
            colour = colours(table["model"])[row.model]
            alpha = 1.0 if decided else 0.45
            ax.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, alpha=alpha, solid_capstyle="butt")
            style = mask_style(row.mask) | {"linestyle": "none", "fillstyle": "full" if decided else "none"}
            ax.plot(row.difference, y, color=colour, markersize=7.5, markeredgewidth=1.6, **style)
        ax.set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)), title=name)
        ax.set_yticklabels(variants)
        ax.grid(axis="y", visible=False)
    ends = table[["difference", "low", "high"]].abs().max()
    if 0 < 4 * ends["difference"] < ends.max():  # intervals of two images run off the page; the points are worth seeing
        axes[0].set_xlim(-4 * ends["difference"], 4 * ends["difference"])
    than = "other mask" if "other is" in table else "plain"
    figure.supxlabel(f"{table['metric'].iloc[0]}, mask minus {than}: left of 0 the mask is better", fontsize=11)
    return figure


def perception_distortion(quality: pd.DataFrame, params: Params) -> Figure:
    """The plane of Blau and Michaeli (CVPR 2018): distortion (RMSE) to the right, perceptual index upwards.

    A panel per test set, a mark per variant, each joined to the start of its model;
    the lower left is better in both, and no method can have all of it.
    """
    means = quality.groupby(["set", "model", "mask"])[["rmse", "pi"]].mean()
    sets = params.data.test
    figure = new_figure(3.4)
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for ax, name in zip(axes, sets, strict=True):
        here = means.loc[name]
        if ("HR", "none") in here.index:  # without error: far to the left of all that is worth telling apart
            level = here.loc[("HR", "none")].pi
            ax.axhline(level, color=GREY, linewidth=1.2, zorder=0)
            ax.annotate("HR", (0, level), xycoords=("axes fraction", "data"), xytext=(3, 3), **NOTE)
        if ("bicubic", "none") in here.index:
            place = tuple(here.loc[("bicubic", "none")])
            ax.plot(*place, marker="*", markersize=11, color=GREY, linestyle="none")
            ax.annotate("bicubic", place, xytext=(0, 8), ha="center", **NOTE)
        for model in params.table1.models:
            colour = colours(params.table1.models)[model]
            masks = [mask for mask in ("start", *params.table1.masks) if (model, mask) in here.index]
            marks = [here.loc[(model, mask)] for mask in masks]
            for mark in marks[1:] if masks[:1] == ["start"] else ():  # every variant begins at the start
                ax.plot([marks[0].rmse, mark.rmse], [marks[0].pi, mark.pi], color=colour, linewidth=1.0, alpha=0.5)
            for mask, mark in zip(masks, marks, strict=True):
                style = {"marker": "|", "markersize": 13} if mask == "start" else mask_style(mask) | {"markersize": 7.5}
                ax.plot(*mark, color=colour, markeredgewidth=1.6, **style | {"linestyle": "none"})
        ax.set(title=name, xlabel="RMSE (levels)")
        ax.margins(0.14)
    axes[0].set_ylabel(f"{pi_label(quality)}\n(lower is better)")
    titles = [(colours(params.table1.models)[model], params.models[model].title) for model in params.table1.models]
    handles = [Line2D([], [], color=colour, label=title) for colour, title in titles]
    figure.legend(handles=[*handles, *mask_handles(params.table1.masks)], loc="outside upper center", ncols=8)
    return figure
