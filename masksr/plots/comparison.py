"""Variant beside variant: Table 1 as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from masksr.params import Params
from masksr.plots.picture import Picture
from masksr.plots.style import GREY, colours, mask_style, new_figure
from masksr.results.scores import pi_label
from masksr.results.tables import variant_title


def table1_dots(quality: pd.DataFrame, params: Params) -> Picture:
    """Table 1 as a picture: PI of every variant on every test set, between HR and bicubic, the ends of the scale.

    quality: as for ``tables.table1``. Small dots are seeds, large ones their mean; a dashed line carries the plain
    variant's PI down to the masked ones: left of it the mask helps.
    """
    stale = quality["model"].isin(params.table1.models) & ~quality["seed"].isin(params.table1.seeds)
    means = quality[~stale].groupby(["set", "model", "mask", "seed"])["pi"].mean()
    models, masks, sets = params.table1.models, params.table1.masks, params.data.test
    columns = min(len(sets), 4)
    lines = -(-len(sets) // columns)
    figure = new_figure(lines * (0.9 + len(models) * (0.2 + 0.2 * len(masks))) + 0.8)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(sets) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, sets, strict=False):
        _ends(ax, name, means)
        for y, model in enumerate(models):
            _model(ax, y, model, masks, means, name, colours(models)[model])
        ax.set(ylim=(len(models) - 0.5, -0.5), yticks=range(len(models)))
        ax.set_yticklabels([params.models[model].title for model in models])
        ax.set_title(name, pad=20)
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.12)
    figure.supxlabel(f"{pi_label(quality)}: lower is better", fontsize=11)
    _mask_legend(figure, masks)
    names = {(model, mask): variant_title(params, model, mask) for model in models for mask in masks}
    variants = means[[pair in names for pair in means.index.droplevel(["set", "seed"])]].dropna()
    best = variants.groupby(["set", "model", "mask"]).mean().groupby("set", sort=False).agg(["idxmin", "min"])
    lowest = [
        f"{name}: {names[best.loc[name, 'idxmin'][1:]]}, {best.loc[name, 'min']:.2f}"
        for name in sets
        if name in best.index
    ]
    figure.alt = (
        f"{pi_label(quality)} of every variant, a panel per test set. The lowest: {'; '.join(lowest) or 'none'}."
    )
    return figure


def _ends(ax: Axes, name: str, means: pd.Series) -> None:
    for end in ("HR", "bicubic"):
        value = means.get((name, end, "none", 0), np.nan)
        if np.isfinite(value):
            ax.axvline(value, color=GREY, linewidth=1.2, linestyle="-" if end == "HR" else ":", zorder=0)
            ax.annotate(end, (value, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), color=GREY, fontsize=9.5,
                        textcoords="offset points", ha="center")  # fmt: skip


def _model(ax: Axes, y: int, model: str, masks: Sequence[str], means: pd.Series, name: str, colour: str) -> None:
    rows = means.loc[[name]].droplevel("set") if name in means.index.get_level_values("set") else means.iloc[:0]
    rows = rows[rows.index.get_level_values("model") == model].droplevel("model")
    by_mask = {mask: rows[rows.index.get_level_values("mask") == mask].dropna() for mask in [*masks, "start"]}
    if len(by_mask["start"]):
        ax.plot(by_mask["start"].mean(), y, marker="|", markersize=14, markeredgewidth=2, color=colour, alpha=0.6)
    offsets = (np.arange(len(masks)) - (len(masks) - 1) / 2) / (len(masks) + 1)
    if len(masks) > 1 and len(by_mask.get("none", ())):
        plain = by_mask["none"].mean()
        ax.plot([plain] * 2, y + offsets[[0, -1]], color=colour, linestyle="--", linewidth=1.1, alpha=0.7, zorder=1)
    for mask, offset in zip(masks, offsets, strict=True):
        values = by_mask[mask]
        if not len(values):
            continue
        style = {key: value for key, value in mask_style(mask).items() if key != "linestyle"}
        if len(values) > 1:
            ax.plot(values, [y + offset] * len(values), ".", color=colour, alpha=0.45, markersize=5, zorder=1)
        ax.plot(values.mean(), y + offset, color=colour, markersize=7.5, markeredgewidth=1.6, linestyle="none", **style)


def _mask_legend(figure: Figure | SubFigure, masks: Sequence[str]) -> None:
    handles = mask_handles(masks)
    columns = len(handles) if len(handles) < 5 else 4  # a row of more would leave the page on both sides
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handletextpad=0.3)


def mask_handles(masks: Sequence[str]) -> list[Line2D]:
    """What a legend says of the marks: one of each mask, then that of the start."""
    names = {"none": "plain", "paper": "mask"}
    handles = []
    for mask in masks:
        style = mask_style(mask) | {"linestyle": "none"}
        handles.append(Line2D([], [], color="black", markersize=8, label=names.get(mask, f"mask ({mask})"), **style))
    handles.append(Line2D([], [], color="black", alpha=0.6, marker="|", markersize=12, markeredgewidth=2,
                          linestyle="none", label="start, before the GAN"))  # fmt: skip
    return handles
