"""One look for all figures: sizes, colours, markers of masks; and figure files reproducible to the byte."""

import io
from collections.abc import Iterable
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.core.getipython import get_ipython
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

WIDTH = 10.0  # inches; the report shows them 1000 pixels wide
GREY = "0.45"
TIMES = "\N{MULTIPLICATION SIGN}"
ACCENT = "#D55E00"
ON_ANY = "0.48"  # a grey that is legible on white and on the page's dark ground
# Okabe and Ito's palette, which the colour-blind can tell apart: https://jfly.uni-koeln.de/color/
FIXED = {"esrgan": "#0072B2", "pesr": "#D55E00", "edsr": "#009E73"}
FURTHER = ["#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#6A3D9A"]
_MARKERS = {"start": "|", "none": "o", "paper": "o", "expected": "^", "sr": "<", "gradient": ">"}
_MARKERS |= {"constant": "s", "shuffled": "X", "random": "P"}


def use_style() -> None:
    """Set the report's look and how a notebook shows a figure. Call it once, at the top of a notebook."""
    rc = {"figure.dpi": 110, "savefig.dpi": 110, "legend.frameon": False}
    rc |= {"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8}
    rc |= {"axes.grid": True, "grid.color": "0.9"}
    sns.set_theme(style="ticks", palette=[*FIXED.values(), *FURTHER], font_scale=0.92, rc=rc)
    shell = get_ipython()
    if shell is None:
        return
    plt.switch_backend(matplotlib.get_backend())  # Jupyter's own set-up of figures comes first
    formatters = shell.display_formatter.formatters
    formatters["image/png"].for_type(Figure, lambda figure: _output(figure, "png"))
    formatters["image/svg+xml"].for_type(Figure, lambda figure: _output(figure, "svg"))


def colours(models: Iterable[str]) -> dict[str, str]:
    """Return a colour for each model: fixed for the paper's three, in order of appearance for the others."""
    others = [name for name in dict.fromkeys(models) if name not in FIXED]
    return FIXED | {name: FURTHER[number % len(FURTHER)] for number, name in enumerate(others)}


def mask_colours(masks: Iterable[str]) -> dict[str, Any]:
    """Return a colour for each mask, unlike the paper's models: grey without one, lighter before the GAN."""
    others = [mask for mask in masks if mask not in ("start", "none")]
    many = [*FURTHER, *sns.husl_palette(len(others))]
    return {"start": "0.7", "none": GREY} | dict(zip(others, many, strict=False))


def marker(mask: str, *, filled: bool = True) -> dict[str, Any]:
    """Return the marker of a variant, filled or hollow; ``relative_constant`` looks like ``constant``."""
    shape = _MARKERS.get(mask.rpartition("_")[2], "D")
    fill = "full" if filled and mask != "none" else "none"
    size = {"markersize": 7.5, "markeredgewidth": 1.6}
    return {"marker": shape, "fillstyle": fill, "linestyle": "none"} | size


def encode(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Return the figure as a file, equal bytes for equal figures, with its label as the description.

    A PNG of pictures is transparent around them, with grey text: a dark page must not change its colours.
    """
    _settle(figure)
    pictures = kind == "png" and bool(figure.findobj(AxesImage))
    texts = {text: text.get_color() for text in figure.findobj(Text)} if pictures else {}
    for text, colour in texts.items():
        text.set_color(ON_ANY if max(to_rgb(colour)) < 0.5 else colour)
    file = io.BytesIO()
    metadata = {"Creator": None, "Date": None} if kind == "svg" else {"Software": None}
    if figure.get_label():
        metadata["Description"] = figure.get_label()
    with matplotlib.rc_context({"svg.hashsalt": "masksr"}):
        how = {"facecolor": "none" if pictures else "auto", "bbox_inches": "tight", "pad_inches": 0.05}
        figure.savefig(file, format=kind, metadata=metadata, **how)
    for text, colour in texts.items():
        text.set_color(colour)
    return file.getvalue()


def _output(figure: Figure, kind: Literal["png", "svg"]) -> tuple[str | bytes, dict[str, str]] | None:
    """Return what Jupyter shows, with the label as alternative text; None for an SVG of pixels."""
    if kind == "svg" and figure.findobj(AxesImage):
        return None
    content, label = encode(figure, kind), figure.get_label()
    return content.decode() if kind == "svg" else content, {"alt": label} if label else {}


def _settle(figure: Figure) -> None:
    """Lay a figure out once, and round: constrained layout moves with every drawing, by bits that vary."""
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        box = part.bbox_relative
        box.p0, box.p1 = box.p0.round(6), box.p1.round(6)
    for ax in figure.axes:
        ax.set_position(np.round(ax.get_position(original=True).bounds, 6))
