"""How a training went, from its history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from masksr.params import Loss, Mask
from masksr.plots.picture import Picture
from masksr.plots.style import ACCENT, FIXED, FURTHER, GREY, new_figure

PARTS = {"vgg54": "VGG54", "gan": "GAN", "l1": "L1", "mse": "MSE", "tv": "TV"}
PART_COLOURS = dict(zip(PARTS, [FIXED["esrgan"], FIXED["pesr"], FIXED["edsr"], FIXED["edsr"], FURTHER[0]], strict=True))


def training_curves(
    history: pd.DataFrame,
    mask: Mask | None = None,
    *,
    loss: Loss | None = None,
) -> Picture:
    """Losses, discriminator, mask, learning rate and validation PSNR over the steps, as far as ``history`` has them.

    history: rows of ``history.csv``; several phases follow each other on the axis, with a line between them.
    mask: the variant's; its b is the floor of the mask's mean. loss: the weights, with which each part is drawn as it
    enters the sum; without them the parts are drawn as measured.
    """
    phases = list(_phases(history))
    draw = [_generator, _discriminator, _logits, _mask, _learning_rate, _psnr]
    wanted = [["loss_g"], ["loss_d"], ["d_real", "d_fake"], ["mask_mean"], ["learning_rate"], ["psnr"]]
    has = [any(name in history and history[name].notna().any() for name in names) for names in wanted]
    if mask is not None and mask.kind == "none":  # its mask is one everywhere
        has[3] = False
    panels = [function for function, there in zip(draw, has, strict=True) if there]

    columns = min(len(panels), 3) or 1
    lines = -(-len(panels) // columns) or 1
    figure = new_figure(2.8 * lines + 0.3, 10.0 if columns > 1 else 5.0)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax, panel in zip(axes, panels, strict=False):
        panel(ax, phases, mask=mask, loss=loss)
        for _, rows in phases[1:]:
            ax.axvline(rows["at"].iloc[0] - rows["step"].iloc[0], color=GREY, linewidth=0.8, linestyle=":")
        ax.margins(x=0.02)
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    names = " | ".join(name for name, _ in phases)
    figure.supxlabel(f"step of the generator ({names})" if names else "step", fontsize=10.5)
    figure.alt = f"Curves over {history['step'].max() if len(history) else 0} steps: {_in_words(history)}."
    return figure


def _in_words(history: pd.DataFrame) -> str:
    """First and last value of what a reader looks at."""
    titles = {
        "loss_g": "loss of G",
        "loss_d": "loss of D",
        "mask_mean": "mean of the mask",
        "psnr": "validation PSNR-Y",
    }
    there = {title: history[name].dropna() for name, title in titles.items() if name in history}
    ends = [f"{title} from {v.iloc[0]:.4g} to {v.iloc[-1]:.4g}" for title, v in there.items() if len(v)]
    return ", ".join(ends) or "nothing was recorded"


def _phases(history: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each phase's name and rows, with the cumulative step as the column ``at``."""
    if not len(history):
        return
    new = (history["phase"] != history["phase"].shift()) | (history["step"].diff() < 0)
    before = 0
    for _, rows in history.groupby(new.cumsum()):
        yield str(rows["phase"].iloc[0]), rows.assign(at=rows["step"] + before)
        before += int(rows["step"].iloc[-1])


def _line(ax: Axes, phases: list, name: str, label: str = "", *, weight: float = 1.0, **style) -> None:
    """One column over the steps, broken between the phases."""
    for number, (_, rows) in enumerate(phases):
        if name in rows:
            rows = rows[rows[name].notna()]
            ax.plot(rows["at"], rows[name] * weight, label="_" if number or not label else label, **style)


def _generator(ax: Axes, phases: list, *, loss: Loss | None, **_) -> None:
    parts = [n for n in PARTS if any(n in rows and rows[n].notna().any() for _, rows in phases)]
    if len(parts) != 1:  # alone it is the sum
        _line(ax, phases, "loss_g", "sum", color="black", linewidth=1.8)
    for name in parts:
        weight = getattr(loss, name, 1.0) if loss is not None else 1.0
        _line(ax, phases, name, PARTS[name], weight=weight, color=PART_COLOURS[name], linewidth=1.3)
    values = [rows[n].to_numpy(float) for _, rows in phases for n in [*parts, "loss_g"] if n in rows]
    if np.any(np.concatenate(values) > 0):
        ax.set_yscale("log")
    ax.set_ylabel(f"loss of G{', weighted' if loss is not None and len(parts) > 1 else ''}")
    _legend(ax)


def _discriminator(ax: Axes, phases: list, **_) -> None:
    _line(ax, phases, "loss_d", color="black")
    ax.set_ylabel("loss of D")


def _logits(ax: Axes, phases: list, **_) -> None:
    _line(ax, phases, "d_real", "HR", color=FIXED["esrgan"])
    _line(ax, phases, "d_fake", "SR", color=ACCENT, linestyle="--")
    ax.set_ylabel("output of D (logit)")
    _legend(ax)


def _mask(ax: Axes, phases: list, *, mask: Mask | None, **_) -> None:
    _line(ax, phases, "mask_mean", "mean", color=FIXED["esrgan"])
    _line(ax, phases, "mask_saturated", "share at 0 or 1", color=ACCENT, linestyle="--")
    if mask is not None and 0 <= mask.b <= 1:
        ax.axhline(mask.b, color=GREY, linewidth=1, linestyle=":", label=f"b = {mask.b:g}")
    ax.set(ylabel="mask", ylim=(-0.03, 1.03))
    _legend(ax)


def _learning_rate(ax: Axes, phases: list, **_) -> None:
    _line(ax, phases, "learning_rate", color="black", drawstyle="steps-pre")
    ax.set_ylabel("learning rate")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    ax.set_ylim(bottom=0)


def _psnr(ax: Axes, phases: list, **_) -> None:
    _line(ax, phases, "psnr", "SR", color=FIXED["esrgan"], marker="o", markersize=3.5)
    _line(ax, phases, "psnr_bicubic", "bicubic", color=GREY, linewidth=1, linestyle="--", marker=".")
    _legend(ax)
    ax.set_ylabel("validation PSNR-Y (dB)")


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 4, "borderaxespad": 0.2}
        ax.legend(**above, fontsize=9, handlelength=1.3, columnspacing=0.9, handletextpad=0.4)
