"""What goes in: the data sets, the degradation, the patches, and the classes of images that it cannot tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from masksr.data.bicubic import imresize
from masksr.plots.picture import Picture
from masksr.plots.style import GREY, TIMES, WIDTH, cut, new_figure, show, size_text, thumbnail

LEVELS = (48, 208)  # grey levels of the textures of figure 2


def contact_sheet(images: Sequence[tuple[str, NDArray[np.uint8]]], columns: int = 5) -> Picture:
    """All images of a set as thumbnails in rows, each with its name and its size in pixels.

    images: (name, (H, W, 3) uint8).
    """
    columns = min(columns, max(len(images), 1))
    lines = [images[i : i + columns] for i in range(0, len(images), columns)]
    tallest = [max(image.shape[0] / image.shape[1] for _, image in line) for line in lines]
    cell = WIDTH / columns
    heights = [cell * min(ratio, 1.5) + 0.5 for ratio in tallest]
    figure = new_figure(sum(heights) or 1)
    figure.alt = f"Thumbnails of {len(images)} pictures: {', '.join(name for name, _ in images) or 'none'}."
    if not images:
        return figure
    axes = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, line in zip(axes, lines, strict=True):
        for ax, (name, image) in zip(row, line, strict=False):
            ax.set_axis_on()
            ax.set_anchor("S")  # the names of a row on one line
            show(ax, thumbnail(image, 480), below=f"{_short(name)}\n{size_text(image)}", smooth=True)
    return figure


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def degradation(
    hr: NDArray[np.uint8], lr: NDArray[np.uint8], bicubic: NDArray[np.uint8], box: Sequence[int] | None = None
) -> Picture:
    """One crop at three stages: HR, its LR image with every pixel drawn as a square, and LR enlarged bicubically.

    hr, bicubic: (H, W, 3) uint8, lr: (H/4, W/4, 3). box: (top, left, size) of the crop in HR pixels, multiples of 4;
    the middle, 128 pixels on a side or less, when not given.
    """
    scale = round(hr.shape[0] / lr.shape[0])
    if box is None:
        size = min(128, *hr.shape[:2]) // scale * scale
        box = [*((side - size) // 2 // scale * scale for side in hr.shape[:2]), size]
    figure = new_figure(WIDTH / 3 + 0.35)
    small = [value // scale for value in box]
    parts = [("HR", hr, box), (f"LR: 1/{scale} of each side", lr, small), (f"LR, bicubic x{scale}", bicubic, box)]
    for ax, (title, image, where) in zip(figure.subplots(1, 3), parts, strict=True):
        show(ax, cut(image, where), title, f"{size_text(cut(image, where))} pixels")
    figure.alt = (
        f"One detail three times: HR, its LR image with 1/{scale} of the pixels on each side, and that enlarged again "
        "bicubically, in which fine detail is lost."
    )
    return figure


def patch_pairs(lr: ArrayLike, hr: ArrayLike, at_most: int = 8) -> Picture:
    """A batch as the networks get it: each LR patch above the HR patch it was made from.

    lr: (B, 3, h, w), hr: (B, 3, H, W), uint8.
    """
    pairs = [np.moveaxis(np.asarray(batch)[:at_most], 1, 3) for batch in (lr, hr)]
    count = max(len(pairs[0]), 1)
    cell = WIDTH / max(count, 4)
    figure = new_figure(2 * cell + 0.3, count * cell)
    axes = figure.subplots(2, count, squeeze=False)
    for row, name, patches in zip(axes, ("LR", "HR"), pairs, strict=True):
        for ax, patch in zip(row, patches, strict=True):
            show(ax, patch)
        row[0].set_ylabel(f"{name}\n{size_text(patches[0])}", fontsize=10)
    figure.alt = (
        f"{count} LR patches of {size_text(pairs[0][0])} pixels, each above its HR patch of {size_text(pairs[1][0])}."
    )
    return figure


def equivalence_class() -> Picture:
    """Figure 2's idea, drawn anew: one LR pixel, four 4x4 textures that all shrink to it, and their mean.

    The mean is what training with MSE answers (equations 4-7); it looks like none of the four.
    """
    textures, lr = _textures()
    mean = np.mean(list(textures.values()), axis=0)
    error = math.sqrt(np.mean([(texture - mean) ** 2 for texture in textures.values()]))

    figure = new_figure(2.15)
    lr_ax, left, *texture_axes, right, mean_ax = figure.subplots(1, 8, width_ratios=[1, 0.55, 1, 1, 1, 1, 0.55, 1])
    show(lr_ax, np.full((1, 1), lr, np.uint8), "LR", "one pixel")
    for ax, (name, texture) in zip(texture_axes, textures.items(), strict=True):
        show(ax, texture, name, f"HR, {size_text(texture)}")
    show(mean_ax, np.floor(mean + 0.5).astype(np.uint8), "mean", f"off by {error:.0f} levels")
    _arrow(left, "shrink", "<|-")
    _arrow(right, "average", "-|>")
    for ax, pixels in zip([lr_ax, *texture_axes, mean_ax], [1, 4, 4, 4, 4, 4], strict=True):
        for at in np.arange(pixels + 1) - 0.5:  # the grid of figure 2: the size of a pixel
            ax.axhline(at, color=GREY, linewidth=0.8, clip_on=False)
            ax.axvline(at, color=GREY, linewidth=0.8, clip_on=False)
    figure.alt = (
        f"One LR pixel; four HR textures of 4 {TIMES} 4 pixels that all shrink to it: {', '.join(textures)}; and their "
        f"mean, which looks like none of them and is off by {error:.0f} grey levels."
    )
    return figure


def _arrow(ax: Axes, text: str, style: str) -> None:
    ax.set_axis_off()
    ends = {"xy": (1.1, 0.5), "xytext": (-0.1, 0.5), "xycoords": "axes fraction", "textcoords": "axes fraction"}
    ax.annotate("", **ends, arrowprops={"arrowstyle": style, "color": GREY, "linewidth": 1.4})
    ax.text(0.5, 0.54, text, transform=ax.transAxes, ha="center", va="bottom", color=GREY, fontsize=9.5)


def _textures() -> tuple[dict[str, NDArray[np.uint8]], int]:
    """Four 4x4 textures and the one grey level to which bicubic shrinking by 4 takes each, when it fills the plane."""
    dark, light = LEVELS
    row, column = np.indices((4, 4))
    patterns = {
        "lines": column % 2,
        "edge": row // 2,
        "slant": (row + column) // 2 % 2,
        "checks": (row + column) % 2,
    }
    textures = {name: np.where(pattern, light, dark).astype(np.uint8) for name, pattern in patterns.items()}
    shrunk = {int(imresize(np.tile(texture, (12, 12)), 1 / 4)[6, 6]) for texture in textures.values()}
    assert len(shrunk) == 1, f"the textures shrink to different pixels: {shrunk}"
    return textures, shrunk.pop()
