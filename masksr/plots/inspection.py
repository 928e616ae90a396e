"""The mask of each model: over training, in each reading of the error's range, and over that range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from masksr.params import Params
from masksr.plots.maps import ERROR, MASK, bar_below, error_norm, plane
from masksr.plots.picture import Picture
from masksr.plots.style import ACCENT, FIXED, GREY, WIDTH, colours, new_figure, show

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
READING_COLOURS = {"1": "#56B4E9", "255": "#000000", "relative": "#CC79A7"}


class OverTraining(NamedTuple):
    """A model's row of ``mask_over_training``: SR and mask before and after, (H, W, 3) and (H, W), and its history."""

    title: str
    sr_before: Pixels
    mask_before: Plane
    sr_after: Pixels
    mask_after: Plane
    history: pd.DataFrame


class Readings(NamedTuple):
    """A model's row of ``mask_readings``: the squared error (H, W), the mask (H, W) by reading, which is its own."""

    title: str
    error: Plane
    masks: dict[str, Plane]
    native: str


def mask_over_training(rows: Sequence[OverTraining]) -> Picture:
    """SR and mask of a photograph before and after the adversarial training, and the mask's statistics in between."""
    height, width = rows[0].mask_before.shape
    cell = WIDTH / 5.6
    figure = new_figure(len(rows) * (cell * height / width + 0.12) + 0.95)
    axes = figure.subplots(len(rows), 5, squeeze=False, width_ratios=[1, 1, 1, 1, 1.25])
    titles = ["SR, before", "mask, before", "SR, after", "mask, after"]
    for number, (row, cells) in enumerate(zip(rows, axes, strict=True)):
        for ax, image, title in zip(cells[:4], row[1:5], titles, strict=True):
            title = title if number == 0 else ""
            if image.ndim == 2:
                plane(ax, image, title, **MASK)
            else:
                show(ax, image, title)
        cells[0].set_ylabel(row.title, fontsize=10.5)
        _history(cells[4], row.history, last=number == len(rows) - 1)
    axes[0, 4].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9, handlelength=1.4)
    bar_below(figure, list(axes[:, :4].flat), "mask", MASK)
    means = [f"{r.title}: from {r.mask_before.mean():.2f} to {r.mask_after.mean():.2f}" for r in rows]
    figure.alt = (
        "SR and mask of a photograph before and after the adversarial training, and the mask's mean and share of "
        f"clipped pixels over its steps. Mean on this photograph, {'; '.join(means)}.".replace("\n", " ")
    )
    return figure


def _history(ax: Axes, history: pd.DataFrame, *, last: bool) -> None:
    ax.plot(history["step"], history["mask_mean"], color=FIXED["esrgan"], label="mean")
    ax.plot(history["step"], history["mask_saturated"], color=ACCENT, linestyle="--", label="share at 0 or 1")
    ax.set(ylim=(-0.04, 1.06), yticks=[0, 0.5, 1])
    ax.yaxis.tick_right()
    ax.spines[["left", "right"]].set_visible(False)
    ax.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    ax.tick_params(labelbottom=last, labelsize=9)
    if last:
        ax.set_xlabel("step", fontsize=10)


def mask_readings(rows: Sequence[Readings]) -> Picture:
    """The error of each model and the masks that equation 8 makes of it, the error counted in different ranges."""
    height, width = rows[0].error.shape
    columns = 1 + len(rows[0].masks)
    across = 0.84 * WIDTH
    figure = new_figure(len(rows) * (across / columns * 0.94 * height / width + 0.1) + 0.9, across)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    norm = error_norm(np.stack([row.error for row in rows]))
    for number, (row, cells) in enumerate(zip(rows, axes, strict=True)):
        first = number == 0
        plane(cells[0], np.maximum(row.error, norm.vmin), "error" if first else "", cmap=ERROR, norm=norm)
        cells[0].set_ylabel(row.title, fontsize=10.5)
        for ax, (title, mask) in zip(cells[1:], row.masks.items(), strict=True):
            plane(ax, mask, f"mask, {title}" if first else "", **MASK)
            if title == row.native:
                for spine in ax.spines.values():
                    spine.set(visible=True, edgecolor=ACCENT, linewidth=3)
    bar = bar_below(figure, list(axes[:, 0]), "error (grey levels)", {"cmap": ERROR, "norm": norm}, shrink=0.9)
    levels = [level for level in (1, 3, 10, 30, 100) if norm.vmin <= level**2 <= norm.vmax]
    bar.set_ticks([level**2 for level in levels], labels=[str(level) for level in levels])
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar_below(figure, list(axes[:, 1:].flat), "mask", MASK, shrink=0.4)
    means = [f"{r.title}: " + ", ".join(f"{name} {mask.mean():.2f}" for name, mask in r.masks.items()) for r in rows]
    figure.alt = (
        "A map of each model's error and of the masks that equation 8 makes of it when the error is counted in "
        f"different ranges. Their means, {'; '.join(means)}."
    )
    return figure


def mask_histograms(histograms: pd.DataFrame, params: Params, readings: Mapping[str, str]) -> Picture:
    """How the mask's values are spread, a panel per model: thin before the adversarial training, filled after it.

    histograms: of ``inspection.masks.histograms``. readings: the titles of the ranges.
    """
    models = list(histograms["model"].unique())
    figure = new_figure(3.0)
    axes = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for ax, model in zip(axes, models, strict=True):
        for (reading, when), bins in histograms[histograms["model"] == model].groupby(["error_range", "when"]):
            colour = READING_COLOURS[reading]
            percent, edges = 100 * bins["share"].to_numpy(), np.append(bins["mask"], 1)
            if when == "end":
                ax.stairs(percent, edges, color=colour, alpha=0.3, fill=True, baseline=0.01)
                ax.stairs(percent, edges, color=colour, linewidth=1.6, label=readings[reading], baseline=0.01)
            else:
                ax.stairs(percent, edges, color=colour, linewidth=0.9, linestyle=":", baseline=0.01)
        least = histograms.loc[histograms["share"] > 0, "mask"].min()
        ax.set(yscale="log", ylim=(0.01, 150), xlim=(least - 0.02, 1.02), xlabel="mask")
        ax.set_title(params.models[model].title)
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0].set_ylabel("% of the pixels")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), title="error counted in")
    top = histograms[histograms["when"] == "end"].sort_values("share").groupby(["model", "error_range"]).last()
    peaks = [
        f"{params.models[m].title}, {readings[r]}: {row.share:.0%} near {row['mask']:.2f}"
        for (m, r), row in top.iterrows()
    ]
    figure.alt = f"Histograms of the mask's values by model. The fullest bin after the training, {'; '.join(peaks)}."
    return figure


def mask_over_range(table: pd.DataFrame, params: Params, *, k: float, b: float) -> Picture:
    """The mask's mean and its spread, had the pixel values been counted in [0, R] with this k and b, over R.

    table: of ``inspection.masks.over_range``. Dotted before the adversarial training, solid after it; a dot where the
    relative reading lies.
    """
    figure = new_figure(3.6)
    axes = figure.subplots(1, 2)
    palette = colours(table["model"].unique())
    for ax, column in zip(axes, ("mean", "sd"), strict=True):
        for (model, when), line in table.groupby(["model", "when"], sort=False):
            style = {"linestyle": "-", "linewidth": 2, "label": params.models[model].title} if when == "end" else {}
            ax.plot(line["R"], line[column], color=palette[model], **{"linestyle": ":", "linewidth": 1.3} | style)
            if when == "end":
                at = line["relative"].iloc[0]
                ax.plot(at, np.interp(np.log(at), np.log(line["R"]), line[column]), "o", color=palette[model])
        for known in (1, 255):
            ax.axvline(known, color=GREY, linewidth=1, zorder=0)
        ax.set_xscale("log", base=2)
        ax.set(xlim=(table["R"].min(), table["R"].max()), xlabel="R: pixel values counted in [0, R]")
        ax.set_xticks([1, 4, 16, 64, 255, 1024], ["1", "4", "16", "64", "255", "1024"])
        if k > 0:
            _as_k(ax, k)
    halfway = (1 + b) / 2
    axes[0].axhline(halfway, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes[0].text(table["R"].min() * 1.1, halfway + 0.01, "half way", color=GREY, fontsize=9.5, va="bottom")
    axes[0].set_ylabel(f"mean of the mask (k = {k:g}, b = {b:g})")
    axes[1].set_ylabel("standard deviation of the mask")
    axes[1].set_ylim(bottom=0)
    axes[1].legend(loc="upper left")
    after = table[table["when"] == "end"].groupby("model", sort=False)
    widest = [f"{params.models[m].title} at R = {line.loc[line['sd'].idxmax(), 'R']:.3g}" for m, line in after]
    figure.alt = (
        f"The mask's mean and standard deviation with k = {k:g}, b = {b:g}, over the range R in which the error is "
        f"counted: the mean rises from b to 1, and the spread has its peak for {', '.join(widest)}."
    )
    return figure


def _as_k(ax: Axes, k: float) -> None:
    """A second scale: what k on [0, R] is on [0, 255]."""
    top = ax.secondary_xaxis("top", functions=(lambda R: k * (R / 255) ** 2, lambda on_255: 255 * (on_255 / k) ** 0.5))
    top.set_xscale("log")
    top.xaxis.set_major_locator(LogLocator(100))
    top.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:f}".rstrip("0").rstrip(".")))
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xlabel("the same as this k in [0, 255]", fontsize=10)
