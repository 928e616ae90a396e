"""The argument of the paper, made of real images: classes, their mean and spread, and a network that finds the mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from masksr.argument.classes import EquivalenceClass
from masksr.plots.picture import Picture
from masksr.plots.style import FIXED, GREY, WIDTH, new_figure, no_axes, show, size_text

COLUMNS = 5  # of members, in two lines
TRAINED = ("#E69F00", "#56B4E9", FIXED["esrgan"])  # untrained, half trained, trained


def class_members(classes: Mapping[str, EquivalenceClass], *, named: bool = False) -> Picture:
    """LR patches, images that shrink to exactly that patch, and below their mean the spread from pixel to pixel.

    classes: by what is written above the LR patch. Ten members of each are shown; mean and spread are of all. One scale
    of colours for all spreads. named: say above each member where its detail is from.
    """
    shown = 2 * COLUMNS
    cell = WIDTH / (2 + COLUMNS + 1.45)
    figure = new_figure(len(classes) * 2 * (cell + (0.24 if named else 0.06)) + 0.3 * len(classes))
    parts = np.atleast_1d(figure.subfigures(len(classes), 1))
    spreads = {title: np.sqrt(patch.variance) for title, patch in classes.items()}
    norm = Normalize(0, max(float(np.percentile(spread, 99.5)) for spread in spreads.values()))
    for part, (title, patch) in zip(parts, classes.items(), strict=True):
        grid = part.add_gridspec(2, 3 + COLUMNS, width_ratios=[2, *[1] * COLUMNS, 0.2, 1.25])
        show(part.add_subplot(grid[:, 0]), patch.lr, title, f"LR, {size_text(patch.lr)} pixels")
        for i, (name, image) in enumerate(zip(patch.names[:shown], patch.members, strict=False)):
            ax = part.add_subplot(grid[i // COLUMNS, 1 + i % COLUMNS])
            show(ax, image, _short(name) if named else "")
        show(part.add_subplot(grid[0, -1]), _levels(patch.mean), "mean")
        ax = part.add_subplot(grid[1, -1])
        drawn = ax.imshow(spreads[title], cmap="magma", norm=norm)
        _spread(ax, drawn, f"spread {np.sqrt(patch.variance.mean()):.1f}")
    of_each = [
        f"{title}: {len(p.members)} images, spread {np.sqrt(p.variance.mean()):.1f}" for title, p in classes.items()
    ]
    figure.alt = (
        "LR patches, different images that all shrink to exactly that patch, their mean, which looks blurred, and "
        f"how far they are spread around it in grey levels. {'; '.join(of_each)}."
    )
    return figure


def _spread(ax: Axes, drawn: AxesImage, title: str) -> None:
    no_axes(ax, title)
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes([1.04, 0, 0.06, 1]))
    bar.ax.tick_params(labelsize=8.5, length=2)
    bar.outline.set_visible(False)


def answers_over_training(
    classes: Sequence[EquivalenceClass], outputs: Mapping[int, NDArray[np.float64]], which: Sequence[int]
) -> Picture:
    """A row for each class of ``which``: its LR patch, three members, the network's answer over the steps, the mean.

    outputs: by step, (C, H, W, 3) in grey levels.
    """
    columns = ["LR", "members", "", "", *(f"step {step}" for step in outputs), "class mean"]
    cell = WIDTH / (len(columns) + 0.5)
    figure = new_figure(len(which) * (cell + 0.05) + 0.3)
    axes = figure.subplots(len(which), len(columns) + 2, squeeze=False, width_ratios=_gaps(columns))
    for line, (row, number) in enumerate(zip(axes, which, strict=True)):
        patch = classes[number]
        images = [patch.lr, *_some(patch.members, 3), *(_levels(outputs[step][number]) for step in outputs)]
        cells = [*row[:4], *row[5:-2], row[-1]]
        for ax, image, title in zip(cells, [*images, _levels(patch.mean)], columns, strict=True):
            show(ax, image, "" if line else title)
        for ax in (row[4], row[-2]):
            ax.set_axis_off()
    far = [np.sqrt(np.mean([(outputs[step][n] - classes[n].mean) ** 2 for n in which])) for step in outputs]
    figure.alt = (
        f"For {len(which)} classes: the LR patch, three members, the network's answer at the steps "
        f"{', '.join(map(str, outputs))}, and the mean of the class. The answers' distance to it: "
        f"{', '.join(f'{distance:.1f}' for distance in far)} grey levels."
    )
    return figure


def _gaps(columns: Sequence[str]) -> list[float]:
    return [1.0] * 4 + [0.25] + [1.0] * (len(columns) - 5) + [0.25, 1.0]


def _some(images: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    return [*images[:count], *[np.full_like(images[0], 255)] * max(0, count - len(images))]


def error_and_variance(over_time: pd.DataFrame, errors: pd.DataFrame) -> Picture:
    """Equation 7 twice: the expected error over the steps and what it is made of; that of each class at three steps.

    over_time: step, error, variance, to_mean. errors: the same for each class and step. All in squared grey levels.
    """
    figure = new_figure(3.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    steps, variance, error = over_time["step"] + 1, over_time["variance"], over_time["error"]
    left.fill_between(steps, 0, variance, color="0.87", linewidth=0)
    left.fill_between(steps, variance, error, color=TRAINED[0], alpha=0.35, linewidth=0)
    left.plot(steps, error, marker="o", color=TRAINED[-1], clip_on=False, zorder=3)
    inside = {"textcoords": "offset points", "fontsize": 10.5}
    left.annotate("expected error", (steps.iloc[3], error.iloc[3]), (2, 9), color=TRAINED[-1], **inside)
    left.annotate("ε: squared distance to the class mean", (1, variance[0]), (6, 6), color="#8A5A00", **inside)
    left.annotate("variance of the class", (1, variance[0]), (6, -18), color="0.35", **inside)
    left.set(xscale="log", xlim=(1, steps.max()), ylim=(0, error.max() * 1.1))
    left.set(xlabel="training step (the first is 1)", ylabel="squared grey levels")
    left.grid(False)

    ends = [float(errors["variance"].min()) * 0.6, float(errors["error"].max()) * 1.6]
    right.plot(ends, ends, color=GREY, linewidth=1.0, zorder=0)
    watched = sorted(errors["step"].unique())
    for step, colour in zip([watched[0], watched[len(watched) // 2], watched[-1]], TRAINED, strict=True):
        here = errors[errors["step"] == step]
        style = {"fillstyle": "full" if step == watched[-1] else "none", "markeredgewidth": 1.5}
        right.plot(here["variance"], here["error"], "o", color=colour, markersize=6.5, label=f"step {step}", **style)
    right.set(xscale="log", yscale="log", xlim=ends, ylim=ends, box_aspect=1)
    right.set(xlabel="variance of the class", ylabel="expected error")
    right.legend(loc="upper left", handletextpad=0.3)
    corner = {"transform": right.transAxes, "ha": "right", "color": GREY, "fontsize": 10}
    right.text(0.97, 0.05, "on the line:\nerror = variance", **corner)
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.alt = (
        f"Left: over the training the expected error goes from {error.iloc[0]:.0f} to {error.iloc[-1]:.0f} squared "
        f"grey levels; the variance of the classes, which it cannot fall below, is {variance.iloc[-1]:.0f}. Right: "
        "the error of each class over its variance, before, during and after training; on the diagonal they are equal."
    )
    return figure


def _levels(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def _short(name: str, length: int = 14) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
