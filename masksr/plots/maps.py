"""Arrays as coloured maps: masks and errors have the same colours everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from masksr.plots.style import no_axes

# Few colours: nobody tells more apart, and noise in few colours makes small files.
MASK = {"cmap": colormaps["viridis"].resampled(32), "vmin": 0, "vmax": 1}
ERROR = colormaps["magma"].resampled(20)
SIZE = colormaps["cividis"].resampled(16)


def plane(ax: Axes, values: NDArray, title: str = "", **style: Any) -> ScalarMappable:
    """An array (H, W) as colours, each pixel a square, without axes."""
    drawn = ax.imshow(values, interpolation="none", **style)  # an SVG then holds these very pixels
    no_axes(ax, title)
    return drawn


def error_norm(error: NDArray) -> LogNorm:
    """Logarithmic colours for squared errors, without their extremes."""
    positive = error[np.isfinite(error) & (error > 0)]
    low, high = np.quantile(positive, [0.05, 0.999]) if positive.size else (1.0, 10.0)
    return LogNorm(low, max(high, 10 * low), clip=True)


def bar_below(figure: Figure, axes: list[Axes], label: str, style: dict[str, Any], shrink: float = 0.5) -> Colorbar:
    """A colour bar below these axes."""
    norm = style.get("norm") or Normalize(style["vmin"], style["vmax"])
    drawn = ScalarMappable(norm, style["cmap"])
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=shrink, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=10)
    bar.ax.tick_params(labelsize=9)
    return bar
