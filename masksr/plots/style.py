"""One look for all figures: sizes, colours, how a variant is drawn, how an image is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from masksr.plots.picture import Picture

WIDTH = 10.0  # inches; the report shows them 1000 pixels wide
GREY = "0.45"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
ACCENT = "#D55E00"
# Okabe and Ito's palette, which the colour-blind can tell apart: https://jfly.uni-koeln.de/color/
FIXED = {"esrgan": "#0072B2", "pesr": "#D55E00", "edsr": "#009E73"}
FURTHER = ["#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#6A3D9A"]


def use_style() -> None:
    """Set matplotlib's defaults for the report. Call it once, at the top of a notebook."""
    # seaborn's look from matplotlib's own copy: importing seaborn takes a second, in every notebook.
    plt.style.use(["default", "seaborn-v0_8-ticks"])
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=[*FIXED.values(), *FURTHER]),
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "font.size": 11,
            "axes.labelsize": 11,
            "axes.titlesize": 11,
            "axes.titleweight": "normal",
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "0.9",
            "axes.linewidth": 0.8,
            "lines.linewidth": 1.6,
            "image.interpolation": "nearest",
        },
    )


def new_figure(height: float, width: float = WIDTH, layout: Literal["constrained"] | None = "constrained") -> Picture:
    """An empty figure that pyplot knows nothing of: a notebook shows it once, and nothing has to be closed."""
    return Picture(figsize=(width, height), layout=layout)


def colours(models: Iterable[str]) -> dict[str, str]:
    """A colour for each model: always the same for the paper's three, then the others in their order."""
    names = list(dict.fromkeys(models))
    others = [name for name in names if name not in FIXED]
    return FIXED | {name: FURTHER[i % len(FURTHER)] for i, name in enumerate(others)}


def mask_style(mask: str) -> dict[str, Any]:
    """How a variant is drawn: plain dashed and hollow, the paper's mask solid and filled, controls in between."""
    if mask == "none":
        return {"linestyle": "--", "marker": "o", "fillstyle": "none"}
    markers = {"paper": "o", "expected": "^", "constant": "s", "shuffled": "X", "random": "P"}
    markers |= {"sr": "<", "gradient": ">"}
    mask = mask.rpartition("_")[2]  # relative_constant is drawn as constant
    linestyle = {"constant": "-.", "shuffled": ":"}.get(mask, "-")
    return {"linestyle": linestyle, "marker": markers.get(mask, "D"), "fillstyle": "full"}


def show(ax: Axes, image: NDArray[np.uint8], title: str = "", below: str = "", *, smooth: bool = False) -> None:
    """An image (H, W, 3) or (H, W) uint8 without axes. smooth: a photograph; else its pixels stay visible."""
    if smooth:
        image = thumbnail(image, 1200)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.ndim == 2 else {}
    # "none" draws like "nearest", but an SVG then holds these pixels and not those of the screen.
    ax.imshow(image, interpolation="antialiased" if smooth else "none", **grey)
    no_axes(ax, title, below)


def no_axes(ax: Axes, title: str = "", below: str = "") -> None:
    """Only what is inside the axes, with a line of text above and one below."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title, fontsize=10.5, pad=4)
    if below:
        ax.set_xlabel(below, fontsize=9.5, color=GREY, labelpad=3)


def box_on(ax: Axes, box: Sequence[float], scale: float = 1.0) -> None:
    """Mark a square (top, left, size) of an image's pixels, drawn at ``scale`` of its size."""
    top, left, size = (value * scale for value in box)
    for colour, width in [("white", 3.5), (ACCENT, 1.8)]:  # the white edge keeps it visible on any photograph
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, edgecolor=colour, linewidth=width))


def cut(image: NDArray[np.uint8], box: Sequence[int]) -> NDArray[np.uint8]:
    """The square (top, left, size) of an image (H, W, ...). Raises ValueError where it leaves the image."""
    top, left, size = box
    if min(top, left) < 0 or size < 1 or top + size > image.shape[0] or left + size > image.shape[1]:
        raise ValueError(f"the crop top {top}, left {left}, size {size} leaves the image {image.shape[:2]}")
    return image[top : top + size, left : left + size]


def verdicts(column: Iterable[str]) -> str:
    """How often each verdict was passed, for a description in words."""
    counts = Counter(column)
    return ", ".join(f"{word} {count} of {counts.total()}" for word, count in counts.most_common())


def size_text(image: NDArray[np.uint8]) -> str:
    """Width and height in pixels."""
    return f"{image.shape[1]} {TIMES} {image.shape[0]}"


def thumbnail(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """The image, made smaller where a side is longer than ``longest``: a report need not hold megapixels."""
    if max(image.shape[:2]) <= longest:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(picture)
