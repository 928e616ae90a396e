"""The mask over a photograph, and equation 8 as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from masksr.plots.picture import Picture
from masksr.plots.style import ACCENT, FIXED, GREY, TIMES, WIDTH, new_figure, no_axes, show


def mask_over_photograph(hr: NDArray[np.uint8], sr: NDArray[np.uint8], mask: ArrayLike, error: ArrayLike) -> Picture:
    """Where the mask is high: HR, SR, squared error (log colours), mask, HR dimmed by the mask, the mask's values.

    hr, sr: (H, W, 3) uint8. mask: in [0, 1], error: >= 0; each (H, W), or (C, H, W), of which the mean is shown.
    """
    mask, error = _plane(mask), _plane(error)
    ratio = hr.shape[0] / hr.shape[1]
    figure = new_figure(min(2 * 0.29 * WIDTH * ratio + 1.1, 14.0))
    axes = figure.subplots(2, 3)
    show(axes[0, 0], hr, "HR")
    show(axes[0, 1], sr, "SR")

    positive = error[np.isfinite(error) & (error > 0)]
    low, high = np.percentile(positive, [5, 99.9]) if positive.size else (1e-3, 1.0)
    norm = LogNorm(low, max(high, low * 10), clip=True)
    _heat_map(axes[0, 2], np.where(error > 0, error, low), "squared error", cmap="magma", norm=norm)

    _heat_map(axes[1, 0], mask, "mask", cmap="viridis", vmin=0, vmax=1)
    dimmed = (hr * np.nan_to_num(mask)[..., None].clip(0, 1)).astype(np.uint8)
    show(axes[1, 1], dimmed, f"mask {TIMES} HR")

    values = mask[np.isfinite(mask)].clip(0, 1)
    axes[1, 2].hist(values, bins=np.linspace(0, 1, 41), weights=np.full(values.size, 100 / max(values.size, 1)))
    axes[1, 2].set(xlim=(0, 1), xlabel="mask", ylabel="% of the pixels", box_aspect=min(ratio, 1.0))
    spread = f"from {values.min():.2f} to {values.max():.2f}, mean {values.mean():.2f}" if values.size else "undefined"
    figure.alt = (
        "A photograph as HR and SR, maps of its squared error and of the mask, the photograph dimmed by the mask, and "
        f"a histogram of the mask: {spread}."
    )
    return figure


def _heat_map(ax: Axes, values: NDArray[np.float64], title: str, **style: Any) -> None:
    drawn = ax.imshow(values, interpolation="antialiased", **style)
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes([1.02, 0, 0.04, 1]))
    bar.ax.tick_params(labelsize=9, length=3, which="major")
    bar.ax.tick_params(length=0, which="minor")
    no_axes(ax, title)


def _plane(values: ArrayLike) -> NDArray[np.float64]:
    """(H, W), (1, H, W) or (3, H, W) -> (H, W)."""
    array = np.asarray(values, dtype=np.float64)
    return array.mean(axis=0) if array.ndim == 3 else array


def mask_response(k: float, b: float, ranges: Sequence[float] = (1, 255)) -> Picture:
    """Equation 8 as a curve: the mask over the error of a pixel, when the error is counted in each of ``ranges``.

    The horizontal axis is the root of the squared error in 8-bit grey levels, with the PSNR of a picture that is wrong
    by that much everywhere along the top.
    """
    figure = new_figure(3.8, 0.8 * WIDTH)
    ax = figure.subplots()
    levels = np.geomspace(0.1, 255, 600)
    styles = [(FIXED["esrgan"], "-"), (ACCENT, "--"), (FIXED["edsr"], "-."), (GREY, ":")]
    for (colour, linestyle), pixel_range in zip(styles * len(ranges), ranges, strict=False):
        response = np.clip(k * (levels * pixel_range / 255) ** 2 + b, 0, 1)
        full = np.sqrt(max(1 - b, 0) / k) * 255 / pixel_range if k > 0 else np.inf
        reaches = f"1 from {full:.2g} levels on" if full <= 255 else f"at most {response[-1]:.2f}"
        label = f"error on [0, {pixel_range:g}]: {reaches}"
        ax.plot(levels, response, color=colour, linestyle=linestyle, linewidth=2, label=label)
    ax.axhline(np.clip(b, 0, 1), color=GREY, linewidth=0.8, zorder=0)
    ax.text(0.105, np.clip(b, 0, 1) - 0.02, f"b = {b:g}", color=GREY, va="top", fontsize=10)
    ax.set(xscale="log", xlim=(0.1, 255), ylim=(-0.03, 1.05), ylabel=f"mask (k = {k:g}, b = {b:g})")
    ax.set_xlabel("error of a pixel (8-bit grey levels)")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    decibels = np.array([60, 50, 40, 30, 20, 10])
    top = ax.secondary_xaxis("top")
    top.set_xticks(255 / 10 ** (decibels / 20), [str(db) for db in decibels])
    top.xaxis.minorticks_off()
    top.set_xlabel("PSNR where every pixel is off by that much (dB)")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.08))
    curves = [str(line.get_label()) for line in ax.lines if not str(line.get_label()).startswith("_")]
    figure.alt = (
        f"The mask over the error of a pixel in grey levels, with k = {k:g} and b = {b:g}: it begins at b and rises "
        f"with the square of the error. {'; '.join(curves)}."
    )
    return figure
