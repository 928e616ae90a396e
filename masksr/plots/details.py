"""Figure 4: details of photographs as every variant shows them, and where each is wrong and masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from masksr.data.images import luma
from masksr.plots.maps import ERROR, MASK, bar_below, plane
from masksr.plots.picture import Picture
from masksr.plots.style import GREY, WIDTH, box_on, cut, new_figure, show, thumbnail

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]


class CropRow(NamedTuple):
    """One crop of figure 4: the HR photograph, where in it (top, left, size), and the crop of every column."""

    photograph: Pixels  # (H, W, 3)
    box: tuple[int, int, int]
    images: Sequence[Pixels]  # LR first (size/4 or enlarged), then each variant, HR last
    how: str = ""  # it was chosen
    name: str = ""  # of the photograph
    masks: Mapping[str, Plane] = MappingProxyType({})  # by title of some variants: what equation 8 makes of their error


def crops(columns: Sequence[tuple[str, Pixels]], box: tuple[int, int, int]) -> Picture:
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


def figure4(rows: Sequence[CropRow], titles: Sequence[str], lines: int | None = None) -> Picture:
    """Crops of every variant beside LR and HR, a row per crop; left of them where in the photograph they lie.

    titles: of ``images`` of every row. lines: over how many lines a row is spread; the variants then run downwards, so
    that with as many lines as masks each model is a column. One line for up to five images, else two, when not given,
    or where there are more than four: a tower of them fits no page.
    The PSNR-Y of the crop against HR stands below it.
    """
    count = len(titles)
    if lines is None or lines > 4:
        lines = 1 if count <= 5 else 2
    columns = count if lines == 1 else 1 + -(-(count - 2) // lines)
    overview = 1.35 if lines == 1 else 1.1  # small: it costs more bytes than all details together
    width = WIDTH if lines == 1 else min(WIDTH, 1.7 * (columns + overview))
    cell = width / (columns + overview)
    around = 0.7 if any(" (" in title for title in titles) else 0.45  # inches for the words above and below a detail
    figure = new_figure(len(rows) * lines * (cell + around), width)
    parts = np.atleast_1d(figure.subfigures(max(len(rows), 1), 1))
    for part, row in zip(parts, rows, strict=False):
        grid = part.add_gridspec(lines, columns + 1, width_ratios=[overview] + [1] * columns)
        _where(part.add_subplot(grid[:, 0]), row)
        for place, title, image in zip(_places(count, lines), titles, row.images, strict=True):
            _crop(part.add_subplot(grid[place[0], place[1] + 1]), title, image, row.images[-1])
    figure.alt = f"The same detail as {', '.join(titles)}. " + " ".join(_in_words(row, titles) for row in rows)
    return figure


def figure4_maps(rows: Sequence[CropRow], titles: Sequence[str]) -> Picture:
    """Where each variant of ``masks`` is wrong in the details of figure 4, and below that what equation 8 makes of it.

    The error is the absolute difference of luma from HR, in grey levels, on one scale for all.
    """
    shown = list(rows[0].masks)
    errors = [{title: _error(row.images[titles.index(title)], row.images[-1]) for title in shown} for row in rows]
    most = np.quantile(np.concatenate([e.ravel() for by_title in errors for e in by_title.values()]), 0.995)
    scale = {"cmap": ERROR, "norm": Normalize(0, max(most, 1.0), clip=True)}  # without the extremes
    columns = 1 + len(shown)
    cell = WIDTH / max(columns, 5)
    figure = new_figure(2 * len(rows) * (cell + 0.2) + 0.9, columns * cell)
    axes = figure.subplots(2 * len(rows), columns, squeeze=False)
    for number, (row, error) in enumerate(zip(rows, errors, strict=True)):
        upper, lower = axes[2 * number : 2 * number + 2]
        show(upper[0], row.images[-1], "" if number else "HR")
        lower[0].set_axis_off()
        why = f"{row.how}\n" + row.name.replace(": ", "\n")
        lower[0].text(0.5, 1, why, ha="center", va="top", fontsize=9, color=GREY, transform=lower[0].transAxes)
        for ax, below, title in zip(upper[1:], lower[1:], shown, strict=True):
            plane(ax, error[title], "" if number else title, **scale)
            plane(below, row.masks[title], **MASK)
            ax.set_xlabel(f"error {error[title].mean():.1f}", fontsize=9, color=GREY, labelpad=2)
            below.set_xlabel(f"mask {row.masks[title].mean():.2f}", fontsize=9, color=GREY, labelpad=2)
    half = 1 + len(shown) // 2  # one bar below the left of the columns, one below the right
    bar_below(figure, list(axes[:, :half].flat), "absolute error of luma (grey levels)", scale, 0.8)
    bar_below(figure, list(axes[:, half:].flat), "mask", MASK, 0.8)
    means = [
        [np.mean([maps[title].mean() for maps in of]) for title in shown]
        for of in (errors, [row.masks for row in rows])
    ]
    each = [f"{title} {error:.1f} and {mask:.2f}" for title, error, mask in zip(shown, *means, strict=True)]
    figure.alt = (
        f"Maps of the absolute error of luma, from 0 to {scale['norm'].vmax:.0f} grey levels, and of the mask, for "
        f"{len(rows)} details. Mean error and mask over them: {', '.join(each)}."
    )
    return figure


def _error(image: Pixels, hr: Pixels) -> NDArray[np.float64]:
    return np.abs(luma(image) - luma(hr))


def _in_words(row: CropRow, titles: Sequence[str]) -> str:
    psnr = {title: _psnr(image, row.images[-1]) for title, image in zip(titles, row.images[:-1], strict=False)}
    values = {title: float(text[:-3]) for title, text in psnr.items() if text.endswith(" dB")}
    said = f"{row.name or 'Photograph'}{f' ({row.how})' if row.how else ''}, {row.box[2]} pixels a side"
    if values:
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        said += f", PSNR-Y from {values[low]} ({low}) to {values[high]} dB ({high})"
    return said + "."


def _places(count: int, lines: int) -> list[tuple[int, int]]:
    """Line and column of each image; with several lines HR stands below LR, and the variants run downwards."""
    if lines == 1:
        return [(0, i) for i in range(count)]
    return [(0, 0), *((i % lines, 1 + i // lines) for i in range(count - 2)), (1, 0)]


def _where(ax: Axes, row: CropRow) -> None:
    small = thumbnail(row.photograph, 800)
    show(ax, small, row.how, row.name, smooth=True)
    box_on(ax, row.box, small.shape[0] / row.photograph.shape[0])


def _crop(ax: Axes, title: str, image: Pixels, hr: Pixels) -> None:
    below = (image is not hr and _psnr(image, hr)) or " "  # keeps the height of those with a number
    show(ax, image, title.replace(" (", "\n("), below)  # ESRGAN+Mask (constant) is wider than a detail


def _psnr(image: Pixels, hr: Pixels) -> str:
    """PSNR-Y in dB; nothing for LR."""
    if image.shape != hr.shape:
        return ""
    error = np.mean((luma(image) - luma(hr)) ** 2)
    return f"{10 * np.log10(255**2 / error):.2f} dB" if error else "identical"
