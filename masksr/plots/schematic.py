"""The subjects of the paper's figures 1 and 3, drawn from its text, with images and numbers of a network of ours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from masksr.params import Loss
from masksr.plots.maps import ERROR, MASK, error_norm
from masksr.plots.picture import Picture
from masksr.plots.style import ACCENT, FIXED, GREY, TIMES, WIDTH, new_figure
from masksr.plots.training import PARTS

Point = tuple[float, float]


class Flow(NamedTuple):
    """One patch on its way through the mask module: what the two schematic figures show."""

    lr: NDArray[np.uint8]  # (h, w, 3)
    sr: NDArray[np.uint8]  # (H, W, 3)
    hr: NDArray[np.uint8]
    error: NDArray[np.float64]  # (H, W), squared 8-bit grey levels
    mask: NDArray[np.float64]  # (H, W) in [0, 1]
    k: float  # as it acts on ``error``
    b: float


def framework(flow: Flow, network: str, loss: Loss) -> Picture:
    """Figure 1: where the mask stands in a GAN for super-resolution. Dashed: the gradient on its way to the generator.

    network: the generator's name. loss: which terms it has beside that of the GAN.
    """
    ax = _canvas(4.75)
    terms = ", ".join(title for name, title in PARTS.items() if name != "gan" and getattr(loss, name, 0))
    top, middle, bottom = 3.45, 2.12, 0.85
    _picture(ax, flow.lr, (0.6, top), 0.55, "LR")
    _box(ax, f"G\n{network}", (1.95, top), (1.0, 0.72))
    _picture(ax, flow.sr, (3.55, top), 1.1, "SR = G(LR)")
    _picture(ax, flow.hr, (3.55, bottom), 1.1, "HR", below=True)
    _box(ax, f"{terms or 'no other term'}\nno mask", (1.95, bottom), (1.5, 0.72))
    _box(ax, "mask module\nclip(k · error + b)", (3.55, middle), (1.6, 0.56), ACCENT)
    _picture(ax, flow.mask, (5.35, middle), 0.98, "", **MASK)
    ax.text(5.92, middle, "mask", fontsize=10.5, va="center")
    _picture(ax, _times(flow.mask, flow.sr), (7.05, top), 1.1, f"mask {TIMES} SR")
    _picture(ax, _times(flow.mask, flow.hr), (7.05, bottom), 1.1, f"mask {TIMES} HR", below=True)
    _box(ax, "D", (8.45, middle), (0.62, 0.72))
    _box(ax, "GAN loss", (9.48, middle), (0.86, 0.5))

    for start, end in [
        ((0.92, top), (1.4, top)),
        ((2.5, top), (2.95, top)),
        ((3.55, top - 0.6), (3.55, middle + 0.34)),
        ((3.55, bottom + 0.6), (3.55, middle - 0.34)),
        ((4.4, middle), (4.81, middle)),
        ((5.35, middle + 0.54), (5.35, top - 0.2)),
        ((5.35, middle - 0.54), (5.35, bottom + 0.2)),
        ((4.15, top), (5.18, top)),
        ((4.15, bottom), (5.18, bottom)),
        ((5.52, top), (6.45, top)),
        ((5.52, bottom), (6.45, bottom)),
        ((7.65, top), (8.36, middle + 0.42)),
        ((7.65, bottom), (8.36, middle - 0.42)),
        ((8.8, middle), (9.01, middle)),
        ((2.95, bottom), (2.75, bottom)),
        ((2.59, top), (2.59, bottom + 0.4)),
    ]:
        _arrow(ax, start, end)
    for y in (top, bottom):
        _times_sign(ax, (5.35, y))
    back = 4.38
    for start, end in [((9.48, middle + 0.3), (9.48, back)), ((9.48, back), (1.95, back)), ((1.95, back), (1.95, 3.9))]:
        _arrow(ax, start, end, ACCENT, "--", head=end == (1.95, 3.9))
    _note(ax, (5.35, back + 0.2), "gradient to G, through D and the mask", ACCENT)
    _arrow(ax, (1.95, bottom + 0.42), (1.95, top - 0.42), ACCENT, "--")
    ax.figure.alt = (
        f"A diagram: LR goes through the generator {network} to SR; SR and HR go to the mask module, whose mask "
        "multiplies both on their way into the discriminator and the GAN loss. The gradient comes back through the "
        f"discriminator and the mask. {terms or 'No other term'}: without the mask."
    )
    return ax.figure


def mask_module(flow: Flow) -> Picture:
    """Figure 3: inside the mask module. In the middle equation 8 as a curve, over how many pixels have which error."""
    height = 3.3
    ax = _canvas(height)
    top, bottom, middle = 2.45, 0.75, 1.6
    _picture(ax, flow.sr, (0.7, top), 1.2, "SR")
    _picture(ax, flow.hr, (0.7, bottom), 1.2, "HR", below=True)
    norm = error_norm(flow.error)
    low, high = norm.vmin, norm.vmax
    _picture(ax, np.maximum(flow.error, low), (2.55, middle), 1.3, "(SR \N{MINUS SIGN} HR)²", cmap=ERROR, norm=norm)
    _note(ax, (2.55, middle - 0.74), f"from {low**0.5:.2g} (black)\nto {high**0.5:.2g} levels")
    _picture(ax, flow.mask, (7.15, middle), 1.3, "mask", **MASK)
    _note(ax, (7.15, middle - 0.74), f"mean {flow.mask.mean():.2f}, at 1: {(flow.mask >= 1).mean():.0%}")
    _picture(ax, _times(flow.mask, flow.sr), (9.3, top), 1.2, f"mask {TIMES} SR")
    _picture(ax, _times(flow.mask, flow.hr), (9.3, bottom), 1.2, f"mask {TIMES} HR", below=True)
    _response(ax, flow, height)
    for start, end in [
        ((1.35, top - 0.2), (1.83, middle + 0.3)),
        ((1.35, bottom + 0.2), (1.83, middle - 0.3)),
        ((3.25, middle), (3.62, middle)),
        ((6.1, middle), (6.43, middle)),
        ((7.87, middle + 0.3), (8.64, top - 0.2)),
        ((7.87, middle - 0.3), (8.64, bottom + 0.2)),
    ]:
        _arrow(ax, start, end)
    ax.figure.alt = (
        "A diagram of the mask module: the squared difference of SR and HR, equation 8 as a curve from b = "
        f"{flow.b:g} to 1, and the mask it gives, which multiplies SR and HR. Its mean here is {flow.mask.mean():.2f}, "
        f"and {(flow.mask >= 1).mean():.0%} of the pixels are at 1."
    )
    return ax.figure


def _response(canvas: Axes, flow: Flow, height: float) -> None:
    """Equation 8 over the root of the error, and below it the histogram of that."""
    levels = np.sqrt(flow.error).ravel().clip(0.3, 255)
    ax = canvas.inset_axes((4.15, 0.72, 1.85, 1.85), transform=canvas.transData)
    grid = np.geomspace(0.3, 255, 300)
    counts, edges = np.histogram(levels, np.geomspace(0.3, 255, 36))
    ax.fill_between(edges[:-1], 0.45 * counts / counts.max(), step="post", color="0.85", linewidth=0)
    ax.plot(grid, np.clip(flow.k * grid**2 + flow.b, 0, 1), color=ACCENT, linewidth=2.2)
    ax.set(xscale="log", xlim=(0.3, 255), ylim=(0, 1.04), yticks=[0, flow.b, 1] if 0 < flow.b < 1 else [0, 1])
    ax.xaxis.set_major_locator(FixedLocator([1, 10, 100]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels(["1", "10", "100"])
    ax.tick_params(labelsize=9)
    ax.grid(False)
    ax.set_xlabel("error (grey levels)", fontsize=9.5, labelpad=2)
    ax.set_title("clip(k · error + b, 0, 1)", fontsize=10.5, pad=5)


def _canvas(height: float) -> Axes:
    """One axes over a whole figure, in inches from the lower left."""
    figure = new_figure(height, layout=None)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()
    return ax


def _picture(
    ax: Axes, image: NDArray, centre: Point, width: float, title: str, *, below: bool = False, **style: Any
) -> None:
    x, y = centre
    half, tall = width / 2, width * image.shape[0] / image.shape[1] / 2
    limits = ax.get_xlim(), ax.get_ylim()
    ax.imshow(image, extent=(x - half, x + half, y - tall, y + tall), aspect="auto", zorder=2, **style)
    ax.set(xlim=limits[0], ylim=limits[1])
    if title:
        place = {"y": y - tall - 0.07, "va": "top"} if below else {"y": y + tall + 0.06, "va": "bottom"}
        ax.text(x, s=title, ha="center", fontsize=10.5, **place)


def _box(ax: Axes, text: str, centre: Point, size: Point, colour: str = FIXED["esrgan"]) -> None:
    x, y = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    style = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.8, "zorder": 2}
    ax.add_patch(FancyBboxPatch((x, y), *size, boxstyle="round,pad=0,rounding_size=0.08", **style))
    ax.text(*centre, text, ha="center", va="center", fontsize=10.5, zorder=3, linespacing=1.35)


def _arrow(ax: Axes, start: Point, end: Point, colour: str = "0.25", line: str = "-", *, head: bool = True) -> None:
    arrow = {"arrowstyle": "-|>" if head else "-", "color": colour, "linewidth": 1.3, "linestyle": line}
    arrow |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 12}
    ax.annotate("", xy=end, xytext=start, zorder=1, arrowprops=arrow)


def _note(ax: Axes, top: Point, text: str, colour: str = GREY) -> None:
    ax.text(*top, text, fontsize=9.5, color=colour, ha="center", va="top")


def _times_sign(ax: Axes, centre: Point) -> None:
    ax.plot(*centre, "o", markersize=17, markerfacecolor="white", markeredgecolor="0.25", markeredgewidth=1.2, zorder=3)
    ax.text(*centre, TIMES, ha="center", va="center_baseline", fontsize=13, zorder=4)


def _times(mask: NDArray[np.float64], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (image * mask[..., None]).astype(np.uint8)
