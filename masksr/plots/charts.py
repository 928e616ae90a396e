"""How a training went, and how sure a difference is."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from masksr.params import Loss, Mask
from masksr.plots.style import ACCENT, FIXED, FURTHER, GREY, WIDTH, colours, marker

BLUE = FIXED["esrgan"]
# column of history.csv -> panel, name in its legend, colour
CURVES = {
    "loss_g": ("loss of G", "sum", "black"),
    "vgg54": ("loss of G", "VGG54", BLUE),
    "gan": ("loss of G", "GAN", ACCENT),
    "l1": ("loss of G", "L1", FIXED["edsr"]),
    "mse": ("loss of G", "MSE", FIXED["edsr"]),
    "tv": ("loss of G", "TV", FURTHER[0]),
    "loss_d": ("loss of D", "D", "black"),
    "d_real": ("output of D (logit)", "HR", BLUE),
    "d_fake": ("output of D (logit)", "SR", ACCENT),
    "mask_mean": ("mask", "mean", BLUE),
    "mask_saturated": ("mask", "share at 0 or 1", ACCENT),
    "learning_rate": ("learning rate", "G", "black"),
    "psnr": ("validation PSNR-Y (dB)", "SR", ACCENT),
    "psnr_bicubic": ("validation PSNR-Y (dB)", "bicubic", GREY),
}
PARTS = ("vgg54", "gan", "l1", "mse", "tv")


def training_curves(history: pd.DataFrame, mask: Mask | None = None, *, loss: Loss | None = None) -> Figure:
    """Draw losses, discriminator, mask, learning rate and validation PSNR over the steps, as far as recorded.

    history: rows of ``history.csv``; several phases follow each other on the axis, with a line between them.
    mask: the variant's; its b is the floor of the mask's mean. loss: the weights with which each part of the
    loss enters the sum; without them the parts are drawn as measured.
    """
    new = (history["phase"] != history["phase"].shift()) | (history["step"].diff() < 0)
    number = new.cumsum()  # of each row's phase
    lengths = history.groupby(number)["step"].last()
    before = number.map(lengths.cumsum() - lengths)
    history = history.assign(number=number, at=history["step"] + before)  # the step through all phases
    if loss is not None:
        weights = {part: getattr(loss, part, 1.0) for part in PARTS if part in history}
        history = history.assign(**{part: history[part] * weight for part, weight in weights.items()})
    recorded = [name for name in CURVES if name in history and history[name].notna().any()]
    if sum(name in PARTS for name in recorded) == 1:
        recorded.remove("loss_g")  # the only part is the sum
    if mask is not None and mask.kind == "none":  # its mask is one everywhere
        recorded = [name for name in recorded if CURVES[name][0] != "mask"]
    long = history.melt(["at", "number"], recorded, var_name="name").dropna()
    for number, column in enumerate(["panel", "line"]):
        long[column] = [CURVES[name][number] for name in long["name"]]
    panels = long["panel"].unique()

    lines = max(-(-len(panels) // 3), 1)
    size = (WIDTH, 2.8 * lines + 0.3)
    figure, axes = plt.subplots(lines, 3, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels, strict=False):
        palette = {line: colour for its_panel, line, colour in CURVES.values() if its_panel == panel}
        rows = long[long["panel"] == panel]
        how = {"hue": "line", "palette": palette, "units": "number", "estimator": None}
        sns.lineplot(rows, x="at", y="value", **how, ax=ax)
        ax.set(ylabel=panel, xlabel="")
        for start in history.groupby("number")["at"].first().iloc[1:]:
            ax.axvline(start, color=GREY, linewidth=0.8, linestyle=":")
        if panel == "loss of G" and (rows["value"] > 0).any():
            ax.set_yscale("log")
        if panel == "mask":
            ax.set_ylim(-0.03, 1.03)
            if mask is not None:
                ax.axhline(mask.b, color=GREY, linewidth=1, linestyle=":")
        sns.move_legend(ax, "lower center", bbox_to_anchor=(0.5, 0.97), ncols=4, title="", fontsize=9)
    phases = " | ".join(history.drop_duplicates("number")["phase"])
    figure.supxlabel(f"step of the generator ({phases})", fontsize=10.5)
    return figure


def draw_intervals(ax: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    """Draw difference, low and high of each row on the line of its variant; 0 is no change.

    rows: of ``intervals.compare`` or ``compare.mask_minus_plain``. A hollow mark with a pale interval is
    undecided, or rests on a single seed.
    """
    ax.axvline(0, color=GREY, linewidth=1.1, zorder=0)
    for row in rows.itertuples():
        y, decided = variants.index(row.variant), row.verdict in ("better", "worse")
        colour = colours(rows["model"])[row.model]
        ax.hlines(y, row.low, row.high, color=colour, linewidth=2.2, alpha=1.0 if decided else 0.45)
        ax.plot(row.difference, y, color=colour, **marker(row.mask, filled=decided))
    ax.set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)), yticklabels=variants)
    ax.grid(axis="y", visible=False)


def effects(table: pd.DataFrame) -> Figure:
    """Draw mask minus baseline of the cells of ``intervals.compare``, at least one: a panel per test set."""
    sets, variants = list(table["set"].unique()), list(table["variant"].unique())
    layout = {"figsize": (WIDTH, 1.3 + 0.34 * len(variants)), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False, **layout)
    for ax, name in zip(axes.flat, sets, strict=True):
        draw_intervals(ax, table[table["set"] == name], variants)
        ax.set_title(name)
    ends = table[["difference", "low", "high"]].abs().max()
    reach = 10 * ends["difference"]
    if 0 < reach < ends.max():  # long intervals run off the page; the points are worth seeing
        ax.set_xlim(-reach, reach)
    other = "other mask" if "other is" in table else "baseline"
    figure.supxlabel(f"{table['metric'].iloc[0]}, mask minus {other}", fontsize=11)
    return figure
