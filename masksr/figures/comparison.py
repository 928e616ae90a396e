"""Variant beside variant: Table 1 as a picture and figure 4's crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from masksr.figures.style import GREY, WIDTH, box_on, colours, cut, mask_style, new_figure, show, thumbnail
from masksr.images import luma
from masksr.params import Params
from masksr.quality_table import pi_label

Pixels = NDArray[np.uint8]


class CropRow(NamedTuple):
    """One crop of figure 4: the HR photograph, where in it (top, left, size), and the crop of every column."""

    photograph: Pixels  # (H, W, 3)
    box: tuple[int, int, int]
    images: Sequence[Pixels]  # LR first (size/4 or enlarged), then each variant, HR last


def crops(columns: Sequence[tuple[str, Pixels]], box: tuple[int, int, int]) -> Figure:
    """The same square of several pictures of one photograph, beside the photograph that shows where it lies.

    columns: (title, (H, W, 3) uint8), HR last; a smaller one, such as LR, is cut in proportion. box: (top, left, size)
    in pixels of the last.
    """
    whole = columns[-1][1]
    parts = []
    for _, image in columns:
        scale = whole.shape[0] / image.shape[0]
        parts.append(cut(image, [round(value / scale) for value in box]))
    return figure4([CropRow(whole, box, parts)], [title for title, _ in columns], lines=1)


def figure4(rows: Sequence[CropRow], titles: Sequence[str], lines: int | None = None) -> Figure:
    """Crops of every variant beside LR and HR, a row per crop; left of them where in the photograph they lie.

    titles: of ``images`` of every row. lines: over how many lines a row is spread; the variants then run downwards, so
    that with as many lines as masks each model is a column. One line for up to five images, else two, when not given.
    The PSNR-Y of the crop against HR stands below it.
    """
    count = len(titles)
    lines = lines or (1 if count <= 5 else 2)
    columns = count if lines == 1 else 1 + -(-(count - 2) // lines)
    overview = 1.35 if lines == 1 else min(lines, 2)
    cell = WIDTH / (columns + overview)
    figure = new_figure(len(rows) * lines * (cell + 0.5))
    parts = np.atleast_1d(figure.subfigures(max(len(rows), 1), 1))
    for part, row in zip(parts, rows, strict=False):
        grid = part.add_gridspec(lines, columns + 1, width_ratios=[overview] + [1] * columns)
        _where(part.add_subplot(grid[:, 0]), row)
        for place, title, image in zip(_places(count, lines), titles, row.images, strict=True):
            _crop(part.add_subplot(grid[place[0], place[1] + 1]), title, image, row.images[-1])
    return figure


def _places(count: int, lines: int) -> list[tuple[int, int]]:
    """Line and column of each image; with several lines HR stands below LR, and the variants run downwards."""
    if lines == 1:
        return [(0, i) for i in range(count)]
    return [(0, 0), *((i % lines, 1 + i // lines) for i in range(count - 2)), (1, 0)]


def _where(ax: Axes, row: CropRow) -> None:
    small = thumbnail(row.photograph, 800)
    show(ax, small, smooth=True)
    box_on(ax, row.box, small.shape[0] / row.photograph.shape[0])


def _crop(ax: Axes, title: str, image: Pixels, hr: Pixels) -> None:
    below = " "  # keeps the height of those with a number
    if image is not hr and image.shape == hr.shape:
        error = np.mean((luma(image) - luma(hr)) ** 2)
        below = f"{10 * np.log10(255**2 / error):.2f} dB" if error else "identical"
    show(ax, image, title, below)


def table1_dots(quality: pd.DataFrame, params: Params) -> Figure:
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
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handletextpad=0.3)


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
