"""What a mask changes and how sure that is: a point and an interval for each cell of Table 1."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from masksr.params import Params
from masksr.plots.comparison import mask_handles
from masksr.plots.picture import Picture
from masksr.plots.style import GREY, colours, mask_style, new_figure, verdicts
from masksr.quality.measures import known, lower_is_better
from masksr.results.scores import further_measures, measure_titles, pi_label

NOTE = {"textcoords": "offset points", "color": GREY, "fontsize": 9.5}


def effects(table: pd.DataFrame) -> Picture | None:
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
    reach = 10 * ends["difference"]
    if 0 < reach < ends.max():  # intervals of two images run off the page; the points are worth seeing
        axes[0].set_xlim(-reach, reach)
    than, which = ("other mask", "first") if "other is" in table else ("plain", "mask")
    metric = table["metric"].iloc[0]
    side = "right" if metric.startswith(("Ma", "PSNR-Y", "SSIM-Y")) or "↑" in metric else "left"
    figure.supxlabel(f"{metric}, mask minus {than}: {side} of 0 the {which} is better", fontsize=11)
    ends = table["difference"].min(), table["difference"].max()
    figure.alt = (
        f"{metric}, mask minus {than}, with an interval for each of {', '.join(variants)} on {', '.join(sets)}: "
        f"differences from {ends[0]:+.3g} to {ends[1]:+.3g}; {verdicts(table['verdict'])}."
    )
    return figure


def perception_distortion(quality: pd.DataFrame, params: Params) -> Picture:
    """The plane of Blau and Michaeli (CVPR 2018): distortion (RMSE) to the right, perceptual index upwards.

    A panel per test set, a mark per variant, each joined to the start of its model; a further row for each further
    measure, turned so that down is better. The lower left is better in both, and no method can have all of it.
    """
    measures = ["pi", *further_measures(quality)]
    means = quality.groupby(["set", "model", "mask"])[["rmse", *measures]].mean()
    sets = params.data.test
    figure = new_figure(0.6 + 2.8 * len(measures))
    grid = figure.subplots(len(measures), len(sets), squeeze=False, sharex="col", sharey="row")
    for row, measure in zip(grid, measures, strict=True):
        for ax, name in zip(row, sets, strict=True):
            _plane(ax, means.loc[name], measure, params)
        title = f"{pi_label(quality)}\n(lower is better)" if measure == "pi" else measure_titles(quality)[measure]
        row[0].set_ylabel(title)
        if not lower_is_better(measure):
            row[0].invert_yaxis()  # the others share it
    for column, name in enumerate(sets):
        grid[0, column].set_title(name)
        grid[-1, column].set_xlabel("RMSE (levels)")
    titles = [(colours(params.table1.models)[model], params.models[model].title) for model in params.table1.models]
    handles = [Line2D([], [], color=colour, label=title) for colour, title in titles]
    handles += mask_handles(params.table1.masks)
    few = len(params.table1.masks) < 4  # names of many masks are long
    figure.legend(handles=handles, loc="outside upper center", ncols=8 if few else 4)
    variants = means[means.index.get_level_values("model").isin(params.table1.models)].groupby(["model", "mask"]).mean()
    names = {"rmse": "RMSE", "pi": "perceptual index"} | {name: measure_titles(quality)[name] for name in measures[1:]}
    best = []
    for measure, title in names.items():
        if len(of := variants[measure].dropna()):
            first = of.idxmin() if lower_is_better(measure) else of.idxmax()
            best.append(f"{title} {'-'.join(first)} ({of[first]:.3g})")
    figure.alt = (
        f"{' and '.join([pi_label(quality), *list(names.values())[2:]])} over RMSE for every variant on "
        f"{', '.join(sets)}. {'Best' if measures[1:] else 'Lowest'} on average over the sets: "
        f"{', '.join(best) or 'none measured'}."
    )
    return figure


def _plane(ax: Axes, means: pd.DataFrame, measure: str, params: Params) -> None:
    """One panel. means: of a test set, by model and mask."""
    means = means[["rmse", measure]]
    trivial = measure != "pi" and known()[measure].compares  # HR is its own best there, by definition
    if ("HR", "none") in means.index and not trivial:  # its RMSE of 0 is far to the left of all worth telling apart
        level = means.loc[("HR", "none"), measure]
        ax.axhline(level, color=GREY, linewidth=1.2, zorder=0)
        ax.annotate("HR", (0, level), xycoords=("axes fraction", "data"), xytext=(3, 3), **NOTE)
    if ("bicubic", "none") in means.index:
        place = tuple(means.loc[("bicubic", "none")])
        ax.plot(*place, marker="*", markersize=11, color=GREY, linestyle="none")
        ax.annotate("bicubic", place, xytext=(0, 8), ha="center", **NOTE)
    for model in params.table1.models:
        colour = colours(params.table1.models)[model]
        masks = [mask for mask in ("start", *params.table1.masks) if (model, mask) in means.index]
        marks = [tuple(means.loc[(model, mask)]) for mask in masks]
        for mark in marks[1:] if masks[:1] == ["start"] else ():  # every variant begins at the start
            ax.plot(*zip(marks[0], mark, strict=True), color=colour, linewidth=1.0, alpha=0.5)
        for mask, mark in zip(masks, marks, strict=True):
            style = {"marker": "|", "markersize": 13} if mask == "start" else mask_style(mask) | {"markersize": 7.5}
            ax.plot(*mark, color=colour, markeredgewidth=1.6, **style | {"linestyle": "none"})
    ax.margins(0.14)
