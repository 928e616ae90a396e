"""From scores to tables: what is read, what a stand-in is called, what is averaged, and how a table is written."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from masksr import params
from masksr.errors import MasksrError
from masksr.params import Params
from masksr.paths import Paths
from masksr.results import scores, tables
from masksr.results.typeset import show, to_latex, to_markdown

ROOT = Path(__file__).parents[1]


def profile(test=("cat", "temple"), seeds=(0,), masks=("none", "paper")) -> Params:
    base = params.load(ROOT / "params.yaml")
    known = {"none": params.Mask(kind="none")} | dict.fromkeys(["paper", "constant"], base.masks["paper"])
    table1 = params.Table1(models=["esrgan", "pesr"], masks=list(masks), seeds=list(seeds))
    data = base.data.model_copy(update={"test": list(test)})
    return base.model_copy(update={"data": data, "masks": known, "table1": table1})


def quality(p: Params, weights=("official", "official"), images=3) -> pd.DataFrame:
    """PI = 3 for ESRGAN, 4 for PESR, minus 0.5 with a mask, plus 0.1 per seed, plus the number of the image."""
    rows = []
    variants = [(m, k, s) for m in p.table1.models for k in p.table1.masks for s in p.table1.seeds]
    variants += [("HR", "none", 0), ("bicubic", "none", 0)]
    variants += [(m, "start", s) for m in p.table1.models for s in p.table1.seeds]
    for name in p.data.test:
        for model, mask, seed in variants:
            for image in range(images):
                pi = {"esrgan": 3, "pesr": 4, "HR": 2, "bicubic": 7}[model] + 0.1 * seed + image
                pi += {"none": 0, "start": 2}.get(mask, -0.5)
                row = [model, mask, seed, name, f"{image:03}", pi + 1, 11 - pi, pi]
                rows.append([*row, np.inf if model == "HR" else 25.0, 0.7, 12.0, *weights, ""])
    return pd.DataFrame(rows, columns=scores.COLUMNS)


def write(table: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def cells(markdown: str) -> list[str]:
    """The rows of a Markdown table without the spaces that align its columns."""
    return ["|".join(cell.strip() for cell in line.split("|")) for line in markdown.splitlines()]


# Reading


def test_reading_gives_back_what_was_written(tmp_path):
    table = quality(profile())
    table.loc[0, ["pi", "ma", "problem"]] = [np.nan, np.nan, "too flat"]
    parts = [write(part, tmp_path / f"{model}.csv") for model, part in table.groupby("model")]
    read = scores.read_quality(parts).sort_values(scores.KEYS, ignore_index=True)
    pd.testing.assert_frame_equal(read, table.sort_values(scores.KEYS, ignore_index=True), check_dtype=False)
    assert read["image"].iloc[0] == "000"  # a name, not a number


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="psnr"), "psnr"),
        (lambda t: t.assign(lpisp=0.1), "lpisp"),
        (lambda t: t.assign(pi="three"), "not a quality table"),
        (lambda t: pd.concat([t, t]), "twice"),
        (lambda t: t.assign(ma_weights=["stand-in"] + ["official"] * (len(t) - 1)), "mixed"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path, spoil, message):
    with pytest.raises(MasksrError, match=message):
        scores.read_quality([write(spoil(quality(profile())), tmp_path / "quality.csv")])
    with pytest.raises(MasksrError, match=r"absent\.csv"):
        scores.read_quality([tmp_path / "absent.csv"])


# Names


def test_titles():
    pairs = [("esrgan", "none"), ("esrgan", "paper"), ("pesr", "constant"), ("pesr", "start"), ("bicubic", "none")]
    titles = [tables.variant_title(profile(), *pair) for pair in pairs]
    assert titles == ["ESRGAN", "ESRGAN+Mask", "PESR+Mask (constant)", "PESR start", "bicubic"]


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        (("official", "official"), "PI"),
        (("official", "stand-in"), "PI (stand-in Ma)"),
        (("stand-in", "official"), "PI (stand-in NIQE)"),
        (("stand-in", "stand-in"), "PI (stand-in)"),
    ],
)
def test_a_stand_in_is_never_called_pi(weights, label):
    p, table = profile(), quality(profile(), weights)
    assert scores.pi_label(table) == scores.measure_titles(table)["pi"] == label
    assert ("not comparable" in scores.label_note(table)) == (label != "PI")
    assert set(tables.table1(table, p)["metric"]) == {label}
    files = tables.table1_files(table, p)
    assert cells(files["table1.md"])[0] == f"|{label} ↓|cat|temple|"
    assert label in json.loads(files["metrics.json"])["esrgan-none"]
    assert f"|{label}|" in cells(scores.summarize(table))[0]
    table.loc[len(table) - 1, "ma_weights"] = "stand-in"  # one row is enough
    assert "Ma" in scores.pi_label(table) or weights[0] == "stand-in"


# Means


def test_table1_averages_images_then_seeds():
    p = profile(seeds=(0, 1, 2))
    table = tables.table1(quality(p), p)
    variants = ["ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "HR", "bicubic", "ESRGAN start", "PESR start"]
    assert list(table["variant"]) == variants
    assert list(table["block"]) == ["variants"] * 4 + ["ends"] * 4
    assert table["cat"].to_numpy() == pytest.approx([4.1, 3.6, 5.1, 4.6, 3.0, 8.0, 6.1, 7.1])
    assert table["temple sd"].to_numpy()[:4] == pytest.approx([0.1] * 4)
    assert "cat sd" not in tables.table1(quality(profile()), profile())


def test_an_image_without_pi_is_counted_and_left_out_of_the_mean():
    p, table = profile(), quality(profile())
    variant = (table["model"] == "esrgan") & (table["mask"] == "paper")
    table.loc[variant & (table["image"] == "002") & (table["set"] == "cat"), "pi"] = np.nan
    table.loc[(table["model"] == "pesr") & (table["mask"] == "paper"), "pi"] = np.nan
    rows = tables.table1(table, p).set_index("variant")
    assert rows.loc["ESRGAN+Mask", ["cat", "temple", "without_pi"]].tolist() == pytest.approx([3.0, 3.5, 1])
    assert "|PESR+Mask|—|—|6|" in cells(to_markdown(rows.reset_index()))  # all of its images failed
    assert tables.metrics(table, p)["pesr-paper"]["PI"]["mean"] is None


def test_what_was_not_measured_is_an_error_and_what_is_not_asked_for_is_left_out():
    p = profile(seeds=(0, 1))
    table = quality(p)
    gone = (table["model"] == "pesr") & (table["mask"] == "none") & (table["seed"] == 1) & (table["set"] == "temple")
    with pytest.raises(MasksrError, match="pesr with mask none, seed 1, on temple"):
        tables.table1(table[~gone], p)
    more, now = quality(profile(masks=("none", "paper", "constant"))), profile(test=("cat",))
    pd.testing.assert_frame_equal(tables.table1(more, now), tables.table1(quality(now), now))


def test_metrics_are_json_and_hold_table1():
    p = profile(seeds=(0, 1))
    metrics = tables.metrics(quality(p), p)
    assert list(metrics)[:4] == ["esrgan-none", "esrgan-paper", "pesr-none", "pesr-paper"]
    assert metrics["esrgan-paper"]["PI"] == {"cat": 3.55, "temple": 3.55, "mean": 3.55}
    assert metrics["HR"]["PSNR-Y"] is None  # infinite
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_summary_has_the_mean_of_each_set_and_of_the_sets():
    pi = {"Set5": [2.0, 4.0], "BSD100": [6.0, np.nan, np.nan]}
    rows = [("a_b.pth", "none", 0, name, str(n), value) for name, of in pi.items() for n, value in enumerate(of)]
    table = pd.DataFrame(rows, columns=[*scores.KEYS, "pi"]).assign(niqe=4.0, ma=6.0, psnr=25.0, ssim=0.7, rmse=9.0)
    table = table.assign(niqe_weights="official", ma_weights="official", problem="")[scores.COLUMNS]
    assert cells(scores.summarize(table, "file"))[:5] == [
        "|file|set|images|PI|NIQE|Ma|PSNR-Y|SSIM-Y|RMSE|images without PI|",
        cells(scores.summarize(table))[1],
        "|`a_b.pth`|Set5|2|3.00|4.00|6.00|25.00|0.7000|9.00|0|",
        "|`a_b.pth`|BSD100|3|6.00|4.00|6.00|25.00|0.7000|9.00|2|",
        "|`a_b.pth`|mean of sets|5|4.50|4.00|6.00|25.00|0.7000|9.00|2|",
    ]
    alone = table.query("set == 'Set5'").assign(psnr=np.nan)
    assert "mean of sets" not in scores.summarize(alone) and "PSNR" not in scores.summarize(alone)
    failed = table.assign(pi=table["pi"].where(table["set"] == "Set5"))
    assert "|mean of sets|5|—|" in "\n".join(cells(scores.summarize(failed)))  # a set without any PI leaves no mean


# Figure 5


def test_figure_5_compares_a_pair_with_the_baseline_image_by_image(tmp_path):
    p = params.load(ROOT / "profiles/mini.yaml")
    sweep = p.sweep.model_copy(update={"k": [2.0, 0.2], "b": [0.5], "seeds": [0, 1]})
    p = p.model_copy(update={"sweep": sweep, "data": p.data.model_copy(update={"test": ["cat", "temple"]})})
    paths = Paths(tmp_path, "mini")
    for k, seed in product((0, 2.0, 0.2), (0, 1)):
        table = quality(profile()).query("model == 'esrgan' and mask == 'none'").assign(seed=seed)
        folder = paths.sweep_point(k, 0.5, seed) if k else paths.variant("esrgan", "none", seed)
        write(table.assign(pi=table["pi"] - (k and k + seed)), folder / "quality.csv")
    table = tables.read_sweep(p, paths)
    assert len(table) == 3 * 2 * 2 * 3 and table["k"].isna().sum() == 12
    table.loc[(table["k"] == 2) & (table["image"] == "001") & (table["seed"] == 0), "pi"] = np.nan
    differences = tables.sweep_differences(table)
    assert list(differences) == [(2.0, 0.5), (0.2, 0.5)]  # as in params.yaml
    assert differences[0.2, 0.5].to_numpy() == pytest.approx(np.repeat([[-0.2], [-1.2]], 6, axis=1))
    assert differences[2.0, 0.5].isna().sum(axis=1).tolist() == [2, 0]


# Typesetting

TABLE = pd.DataFrame(
    {
        "block": ["variants", "ends"],
        "variant": ["A_1", "HR"],
        "metric": ["PI", "PI"],
        "s_x": [-1.234, np.nan],
        "s_x sd": [0.1, np.nan],
        "SSIM-Y": [0.71234, np.inf],
        "without_pi": [0, 0],
        "note": ["a|b *c* `d_e`", None],
    }
)


def test_markdown():
    head, align, *rows = cells(to_markdown(TABLE))
    assert head == r"|PI ↓|s\_x|SSIM-Y|note|"
    assert [cell[0] + cell[-1] for cell in align.strip("|").split("|")] == [":-", "-:", "-:", ":-"]
    assert rows == [r"|A\_1|−1.23 ± 0.10|0.7123|a\|b \*c\* `d_e`|", "|*HR*|*—*|*∞*|*—*|"]  # noqa: RUF001
    assert show(TABLE, "why").data == to_markdown(TABLE) + "\n*why*\n"
    assert show(TABLE.iloc[:0], "none").data == "\n*none*\n"
    assert to_markdown(TABLE.iloc[:0]).startswith("|")


def test_latex():
    latex = to_latex(TABLE, caption="50 % & more", label="tab:t")
    assert r"\caption{50 \% \& more}" in latex and r"\label{tab:t}" in latex and r"\begin{tabular}{lrrl}" in latex
    assert r"A\_1 & $-$1.23 $\pm$ 0.10 & 0.7123 &" in latex
    assert latex.count(r"\midrule") == 2 and latex.count("{") == latex.count("}")
