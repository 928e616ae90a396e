"""What the mask does to the discriminator's input and to the gradient that comes back from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masksr.params import Params
from masksr.plots.maps import ERROR, MASK, SIZE, error_norm, plane
from masksr.plots.picture import Picture
from masksr.plots.style import GREY, TIMES, WIDTH, colours, new_figure, show

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]


class Inputs(NamedTuple):
    """What the discriminator gets in place of one SR and one HR patch, (H, W, 3) each."""

    fake: Pixels
    real: Pixels


class GradientMaps(NamedTuple):
    """One patch, its squared error and mask, and the size of the gradient at each pixel: without mask, and with."""

    sr: Pixels
    error: Plane
    mask: Plane
    plain: Plane
    gradient: Plane  # apply: gradient
    both: Plane  # apply: both


def discriminator_inputs(shown: Mapping[str, Inputs]) -> Picture:
    """For each ``apply`` what the discriminator is given as fake and as real; below it the mean grey level."""
    figure = new_figure(WIDTH / 6.4 + 0.75)
    for part, (apply, pair) in zip(figure.subfigures(1, len(shown)), shown.items(), strict=True):
        part.suptitle(f"apply: {apply}", fontsize=11)
        for ax, name, image in zip(part.subplots(1, 2), ("fake", "real"), pair, strict=True):
            show(ax, image, name, f"mean {image.mean():.0f}")
    means = [f"{apply}: {pair.fake.mean():.0f} and {pair.real.mean():.0f}" for apply, pair in shown.items()]
    figure.alt = (
        f"A fake and a real patch as the discriminator sees them, with their mean grey levels. {'; '.join(means)}."
    )
    return figure


def gradient_maps(maps: GradientMaps) -> Picture:
    """Error, mask and the gradient that reaches SR: without the mask, with it, and the ratio of the two."""
    figure = new_figure(WIDTH / 2 + 0.25)
    axes = figure.subplots(2, 4)
    show(axes[0, 0], maps.sr, "SR")
    norm = error_norm(maps.error)
    plane(axes[0, 1], np.maximum(maps.error, norm.vmin), "squared error", cmap=ERROR, norm=norm)
    plane(axes[0, 2], maps.mask, "mask", **MASK)
    top, tiny = np.quantile(maps.plain, 0.995), np.finfo(np.float32).tiny
    size = {"cmap": SIZE, "vmin": 0, "vmax": top if top > 0 else 1}
    plane(axes[0, 3], maps.plain, "|gradient|, no mask", **size)
    plane(axes[1, 0], maps.gradient, "|gradient|, apply: gradient", **size)
    plane(axes[1, 1], maps.gradient / np.maximum(maps.plain, tiny), "its ratio to no mask", **MASK)
    plane(axes[1, 2], maps.both, "|gradient|, apply: both", **size)
    around = [uniform_filter(sizes, 9, mode="nearest") for sizes in (maps.both, maps.plain)]
    drawn = plane(axes[1, 3], around[0] / np.maximum(around[1], tiny), f"its ratio, means of 9 {TIMES} 9", **MASK)
    figure.colorbar(drawn, ax=axes, label="mask, ratio", shrink=0.5, pad=0.01)
    ratio = np.abs(maps.gradient).mean() / max(np.abs(maps.plain).mean(), tiny)
    figure.alt = (
        "Maps of one patch: SR, its squared error, the mask, and the size of the GAN's gradient at each pixel without "
        f"the mask, with apply: gradient ({ratio:.2f} times the mean size) and with apply: both, and their ratios."
    )
    return figure


def gradient_shares(table: pd.DataFrame, params: Params, *, b: float, largest: float) -> Picture:
    """The share of the gradient that falls on the quarter of the pixels with the largest error, a line per mask.

    table: of ``inspection.gradient.gradient_table``. largest: the share that a mask with this b can
    bring of an evenly spread gradient.
    """
    masks, models = list(table["mask"].unique()), list(table["model"].unique())
    figure = new_figure(0.9 + 0.34 * len(masks), 0.85 * WIDTH)
    ax = figure.subplots()
    for x, text in [(25, "evenly spread"), (100 * largest, f"ceiling of b = {b:g}")]:
        ax.axvline(x, color=GREY, linewidth=1, linestyle="--" if x != 25 else "-", zorder=0)
        ax.annotate(text, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                    ha="center", va="bottom", color=GREY, fontsize=9.5)  # fmt: skip
    for model, marker in zip(models, "oDs^vPX*" * len(models), strict=False):
        rows = table[table["model"] == model].set_index("mask").reindex(masks)
        ax.plot(100 * rows["share"], range(len(masks)), marker, color=colours(models)[model], markersize=8,
                alpha=0.85, label=params.models[model].title)  # fmt: skip
    ax.set(ylim=(len(masks) - 0.5, -0.5), yticks=range(len(masks)))
    ax.set_yticklabels(masks)
    ax.xaxis.set_major_locator(MultipleLocator(5))
    ax.set_xlabel("% of the gradient on the quarter of the pixels with the largest error")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    shares = 100 * table.groupby("mask", sort=False)["share"].mean()
    figure.alt = (
        "Percent of the gradient that falls on the quarter of the pixels with the largest error, mean over the models: "
        f"{', '.join(f'{mask} {share:.0f}' for mask, share in shares.items())}. Evenly spread it would be 25, and a "
        f"mask with b = {b:g} can bring that to {100 * largest:.0f}."
    )
    return figure
