"""Photographs and maps without axes, as every figure of pixels shows them, and details side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from masksr.data.images import cut
from masksr.plots.style import ACCENT, GREY, TIMES, WIDTH
from masksr.quality.fidelity import psnr

Pixels = NDArray[np.uint8]
# Few colours: nobody can tell more apart, and noise in few colours makes small files.
MASK = {"cmap": colormaps["viridis"].resampled(32), "vmin": 0, "vmax": 1}
ERROR = colormaps["magma"].resampled(20)
SIZE = colormaps["cividis"].resampled(16)


def show_image(ax: Axes, image: Pixels, title: str = "", below: str = "", *, smooth: bool = False) -> None:
    """Show an image (H, W, 3) or (H, W) uint8 without axes. smooth: a photograph; else its pixels show."""
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.ndim == 2 else {}
    if smooth:
        image, grey = thumbnail(image, 1200), grey | {"interpolation": "antialiased"}
    show_map(ax, image, title, below, **grey)


def show_map(ax: Axes, values: NDArray, title: str = "", below: str = "", **style: Any) -> None:
    """Show an array (H, W) as colours, with text above and below. style: for ``imshow``, such as ``MASK``."""
    # "none" draws like "nearest", but an SVG then holds these pixels and not those of the screen.
    ax.imshow(values, **{"interpolation": "none"} | style)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title, fontsize=10.5, pad=4)
    if below:
        ax.set_xlabel(below, fontsize=9.5, color=GREY, labelpad=3)


def error_norm(error: NDArray) -> LogNorm:
    """Return a logarithmic colour scale for squared errors, without their extremes."""
    positive = error[np.isfinite(error) & (error > 0)]
    low, high = np.quantile(positive, [0.05, 0.999]) if positive.size else (1.0, 10.0)
    return LogNorm(low, max(high, 10 * low), clip=True)


def bar_below(
    figure: Figure, axes: Sequence[Axes], label: str, style: dict[str, Any], shrink: float = 0.5
) -> None:
    """Draw a colour bar below these axes. style: cmap with norm, or with vmin and vmax."""
    norm = style.get("norm") or Normalize(style["vmin"], style["vmax"])
    drawn = ScalarMappable(norm, style["cmap"])
    bar = figure.colorbar(drawn, ax=list(axes), location="bottom", shrink=shrink, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=10)
    bar.ax.tick_params(labelsize=9)


def middle(image: Pixels, size: int = 96) -> tuple[int, int, int]:
    """Return the square in the middle of an image as (top, left, size), aligned to whole LR pixels."""
    top, left = ((side - size) // 8 * 4 for side in image.shape[:2])
    return top, left, size


def thumbnail(image: Pixels, longest: int) -> Pixels:
    """Shrink an image with a side longer than ``longest``: a report need not hold megapixels."""
    if max(image.shape[:2]) <= longest:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def contact_sheet(images: Sequence[tuple[str, Pixels]]) -> Figure:
    """Show images (name, (H, W, 3) uint8) as thumbnails in rows, each with its name and size in pixels."""
    lines = -(-len(images) // 5)
    size = (WIDTH, 2.2 * lines)
    figure, axes = plt.subplots(lines, 5, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, (name, image) in zip(axes.flat, images, strict=False):
        ax.set_anchor("S")  # the names of a row on one line
        name = name if len(name) <= 22 else name[:21] + "…"
        size = f"{image.shape[1]} {TIMES} {image.shape[0]}"
        show_image(ax, thumbnail(image, 480), below=f"{name}\n{size}", smooth=True)
    return figure


def compare_crops(columns: Mapping[str, Pixels], size: int = 96) -> Figure:
    """Show the middle of several versions of a photograph, beside the photograph with that place marked.

    columns: (H, W, 3) uint8 by title, one of them ``HR``; smaller ones, such as LR, are cut in proportion.
    size: of the crop, in pixels of HR. The PSNR-Y of each crop against HR is shown below it.
    """
    whole = columns["HR"]
    box = middle(whole, min(size, *whole.shape[:2]) // 4 * 4)
    ratios = [1.35] + [1] * len(columns)
    size = (WIDTH, WIDTH / sum(ratios) + 0.45)
    figure, axes = plt.subplots(1, len(ratios), figsize=size, width_ratios=ratios, layout="constrained")
    show_place(axes[0], whole, box)
    for ax, (title, image) in zip(axes[1:], columns.items(), strict=True):
        scale = whole.shape[0] / image.shape[0]
        crop = cut(image, [round(value / scale) for value in box])
        show_image(ax, crop, title, psnr_text(crop, cut(whole, box)))
    return figure


def show_place(ax: Axes, photograph: Pixels, box: Sequence[float], title: str = "", below: str = "") -> None:
    """Show a photograph (H, W, 3) with its square (top, left, size) marked."""
    small = thumbnail(photograph, 800)
    show_image(ax, small, title, below, smooth=True)
    top, left, size = (value * small.shape[0] / photograph.shape[0] for value in box)
    for colour, width in [("white", 3.5), (ACCENT, 1.8)]:  # the white edge keeps it visible on any photograph
        frame = {"fill": False, "edgecolor": colour, "linewidth": width}
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, **frame))


def psnr_text(image: Pixels, hr: Pixels) -> str:
    """Return PSNR-Y as text; for LR and for HR itself a space, which keeps the height of a line."""
    value = psnr(image, hr, border=0) if image.shape == hr.shape else np.inf
    return f"{value:.2f} dB" if np.isfinite(value) else " "
