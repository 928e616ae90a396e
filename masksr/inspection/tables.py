"""What was measured, as tables for reading and as files."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from masksr.files import write_atomic
from masksr.inspection.networks import READINGS
from masksr.params import Params
from masksr.paths import Paths

ARROW = " \N{RIGHTWARDS ARROW} "


def readings(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    """``masks.mask_table``: a row per model and reading, each value before and after the adversarial training."""
    rows = []
    for (model, reading), pair in table.groupby(["model", "error_range"], sort=False):
        b, native = pair["b"].iloc[0], " (native)" if pair["native"].any() else ""
        row = {"model": params.models[model].title, "error counted in": READINGS[reading] + native}
        row["mean"] = _change(pair, "mean", "{:.3f}")
        row["standard deviation"] = _change(pair, "sd", "{:.3f}")
        row["clipped at 1"] = _change(pair, "at_one", "{:.1%}")
        row[f"below b + 0.01 = {b + 0.01:g}"] = _change(pair, "near_b", "{:.1%}")
        rows.append(row)
    return pd.DataFrame(rows)


def in_words(table: pd.DataFrame, params: Params) -> Markdown:
    """A sentence per model on the trained network's mask in its own range: how much of a mask it is."""
    lines = []
    for row in table[(table["when"] == "end") & table["native"]].itertuples():
        ends = {f"within 0.01 of b = {row.b:g}": row.near_b, "clipped at 1": row.at_one}
        where, most = max(ends.items(), key=lambda end: end[1])
        verdict = "hardly a mask" if most > 0.9 else "partly a mask" if most > 0.5 else "a mask"
        lines.append(
            f"- **{params.models[row.model].title}**, whose own range is {READINGS[row.error_range]}: after training "
            f"{most:.1%} of the pixels are {where}; {verdict}. Half way between b and 1 its mean would be with "
            f"k = {_two_digits(row.k_halfway)} in place of {row.k:g}."
        )
    return Markdown("\n".join(lines))


def k_needed(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The k that gives a mean half way between b and 1, in each reading; and what the k at hand could have meant."""
    rows = []
    for model, of_model in table.groupby("model", sort=False):
        row = {"model": params.models[model].title}
        for reading, title in READINGS.items():
            row[f"k, {title}"] = _change(of_model[of_model["error_range"] == reading], "k_halfway")
        in_255 = of_model[of_model["error_range"] == "255"]
        k = in_255["k"].iloc[0]
        if k > 0:  # k on [0, R] acts as k (R / 255)^2 on [0, 255]
            ends = in_255.assign(R=255 * (in_255["k_halfway"] / k) ** 0.5)
            row[f"R for which k = {k:g} is half way"] = _change(ends, "R")
        rows.append(row)
    return pd.DataFrame(rows)


def brightness(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    """``gradient.brightness_table``, after the adversarial training: a row per model and reading."""
    shown = table[(table["when"] == "end") & (table["apply"] != "gradient")]  # which shows both as they are
    rows = []
    for (model, reading), of_one in shown.groupby(["model", "error_range"], sort=False):
        row = {"model": params.models[model].title, "error counted in": READINGS[reading]}
        for apply, values in of_one.set_index("apply").iterrows():
            row[f"{apply}: SR, HR"] = f"{values.fake:.0f}, {values.real:.0f}"
            row[f"{apply}: SR darker"] = f"{values.told_apart:.0%}"
        rows.append(row)
    return pd.DataFrame(rows)


def gradients(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    """``gradient.gradient_table``: a row per mask, three numbers per model."""
    columns: dict[str, list[str]] = {"mask": list(table["mask"].unique())}
    for model, rows in table.groupby("model", sort=False):
        cells = [f"{row.share:.0%}, {row.correlation:+.2f}, {row.size:.2f}" for row in rows.itertuples(index=False)]
        columns[params.models[model].title] = [cell.replace("-", "\N{MINUS SIGN}") for cell in cells]
    return pd.DataFrame(columns)


def write(masks: pd.DataFrame, gradient: pd.DataFrame, params: Params, paths: Paths) -> None:
    """Write mask.csv and mask_gradient.csv, and say where."""
    files = {"mask.csv": masks, "mask_gradient.csv": gradient}
    for name, table in files.items():
        write_atomic(paths.results / name, table.to_csv(index=False, float_format="%.4g").encode())
        print("wrote", (paths.results / name).relative_to(paths.root).as_posix())


def _change(pair: pd.DataFrame, column: str, form: str = "") -> str:
    """The value before and after the adversarial training, or one where both are printed alike."""
    values = pair.set_index("when")[column]
    texts = [form.format(value) if form else _two_digits(value) for value in (values["start"], values["end"])]
    return texts[0] if texts[0] == texts[1] else ARROW.join(texts)


def _two_digits(value: float) -> str:
    """Two digits that count, and no power of ten where zeros will do; a dash for NaN."""
    return "—" if math.isnan(value) else f"{float(f'{value:.2g}'):g}"
