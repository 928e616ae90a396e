import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from masksr import params
from masksr.errors import MasksrError
from masksr.results import outputs as results
from masksr.results import scores, tables

ROOT = Path(__file__).parents[1]


def profile(test=("cat", "temple"), seeds=(0,), masks=("none", "paper"), limit=None):
    base = params.load(ROOT / "params.yaml")
    masks_there = {"none": params.Mask(kind="none")} | dict.fromkeys(["paper", "constant"], base.masks["paper"])
    return base.model_copy(
        update={
            "data": base.data.model_copy(update={"test": list(test), "limit": limit}),
            "masks": masks_there,
            "table1": params.Table1(models=["esrgan", "pesr"], masks=list(masks), seeds=list(seeds)),
        }
    )


def quality(p, official=("official", "official"), images=3):
    """PI = 3 for ESRGAN, 4 for PESR, minus 0.5 with a mask, plus 0.1 per seed, plus the number of the image."""
    rows = []
    variants = [(m, k, s) for m in p.table1.models for k in p.table1.masks for s in p.table1.seeds]
    variants += [("HR", "none", 0), ("bicubic", "none", 0), *((m, "start", s) for m, _, s in variants if _ == "none")]
    for name in p.data.test:
        for model, mask, seed in variants:
            for image in range(images):
                pi = {"esrgan": 3, "pesr": 4, "HR": 2, "bicubic": 7}[model] + 0.1 * seed + image
                pi += {"none": 0, "start": 2}.get(mask, -0.5)
                row = [model, mask, seed, name, f"{image:03}", pi + 1, 11 - pi, pi]
                rows.append([*row, np.inf if model == "HR" else 25.0, 0.7, 12.0, *official, ""])
    return pd.DataFrame(rows, columns=scores.COLUMNS)


def write(table, path):
    table.to_csv(path, index=False)
    return path


def test_the_official_half_stands_alone_where_the_other_is_a_stand_in():
    p = profile()
    shown = results.official_half(quality(p, ("official", "stand-in")), p).data
    assert shown.startswith("| NIQE ↓ |") and "official weights: lower is better" in shown
    shown = results.official_half(quality(p, ("stand-in", "official")), p).data
    assert shown.startswith("| Ma ↑ |") and "higher is better" in shown
    for both, word in (("official", "Both"), ("stand-in", "Neither")):
        assert results.official_half(quality(p, (both, both)), p).data.startswith(word)


def test_reading_gives_back_what_was_written(tmp_path):
    p = profile()
    table = quality(p)
    table.loc[0, ["pi", "ma"]] = np.nan
    table.loc[0, "problem"] = "too flat"
    halves = [write(table[table["model"] == m], tmp_path / f"{m}.csv") for m in ["esrgan", "pesr", "HR", "bicubic"]]
    read = tables.read_quality(halves)
    columns = scores.KEYS
    expected = table.sort_values(columns).reset_index(drop=True)
    pd.testing.assert_frame_equal(read.sort_values(columns).reset_index(drop=True), expected, check_dtype=False)
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
        tables.read_quality([write(spoil(quality(profile())), tmp_path / "quality.csv")])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MasksrError, match=r"absent\.csv"):
        tables.read_quality([tmp_path / "absent.csv"])
    with pytest.raises(MasksrError, match="no quality tables"):
        tables.read_quality([])


def test_titles():
    p = profile()
    assert tables.variant_title(p, "esrgan", "none") == "ESRGAN"
    assert tables.variant_title(p, "esrgan", "paper") == "ESRGAN+Mask"
    assert tables.variant_title(p, "pesr", "constant") == "PESR+Mask (constant)"
    assert tables.variant_title(p, "pesr", "start") == "PESR start"
    assert tables.variant_title(p, "bicubic", "none") == "bicubic"


@pytest.mark.parametrize(
    ("official", "label"),
    [
        (("official", "official"), "PI"),
        (("official", "stand-in"), "PI (stand-in Ma)"),
        (("stand-in", "official"), "PI (stand-in NIQE)"),
        (("stand-in", "stand-in"), "PI (stand-in)"),
    ],
)
def test_a_stand_in_is_never_called_pi(official, label):
    p = profile()
    table = quality(p, official)
    assert tables.pi_label(table) == label
    assert set(tables.table1(table, p)["metric"]) == {label}
    assert label in tables.metrics(table, p)["esrgan-none"]
    assert ("not comparable" in tables.label_note(table)) == (label != "PI")
    assert label in tables.to_markdown(tables.table1(table, p)).splitlines()[0]
    assert all(("stand-in" in c) == ("stand-in" in official) for c in tables.fidelity_table(table, p) if c[:2] == "PI")


def test_one_row_with_a_stand_in_spoils_the_name():
    table = quality(profile())
    table.loc[len(table) - 1, "ma_weights"] = "stand-in"
    assert tables.pi_label(table) == "PI (stand-in Ma)"


def test_table1_averages_images_then_seeds():
    p = profile(seeds=(0, 1, 2))
    table = tables.table1(quality(p), p)
    assert list(table["variant"]) == [
        "ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "HR", "bicubic", "ESRGAN start", "PESR start",
    ]  # fmt: skip
    assert list(table["block"]) == ["variants"] * 4 + ["ends"] * 4
    assert table["cat"].to_numpy() == pytest.approx([4.1, 3.6, 5.1, 4.6, 3.0, 8.0, 6.1, 7.1])
    assert table["temple sd"].to_numpy()[:4] == pytest.approx([0.1] * 4)
    assert "cat sd" not in tables.table1(quality(profile()), profile())


def test_an_image_without_pi_is_counted_and_left_out_of_the_mean():
    p = profile()
    table = quality(p)
    failed = (table["model"] == "esrgan") & (table["mask"] == "paper") & (table["image"] == "002")
    table.loc[failed & (table["set"] == "cat"), "pi"] = np.nan
    row = tables.table1(table, p).set_index("variant").loc["ESRGAN+Mask"]
    assert row["cat"] == pytest.approx(3.0) and row["temple"] == pytest.approx(3.5)
    assert row["without_pi"] == 1
    assert "images without PI" in tables.to_markdown(tables.table1(table, p))


def test_a_variant_whose_every_image_failed_stays_in_the_tables():
    p = profile()
    table = quality(p)
    table.loc[(table["model"] == "pesr") & (table["mask"] == "paper"), ["pi", "niqe", "ma"]] = np.nan
    assert "| PESR+Mask | — | — | 6 |" in tables.to_markdown(tables.table1(table, p))
    assert json.loads(json.dumps(tables.metrics(table, p), allow_nan=False))["pesr-paper"]["PI"]["mean"] is None


def test_a_variant_that_was_not_measured_is_an_error():
    p = profile(seeds=(0, 1))
    table = quality(p)
    gone = (table["model"] == "pesr") & (table["mask"] == "none") & (table["seed"] == 1) & (table["set"] == "temple")
    with pytest.raises(MasksrError, match="pesr with mask none, seed 1, on temple"):
        tables.table1(table[~gone], p)


def test_what_params_no_longer_names_is_left_out():
    before, now = profile(seeds=(0, 1), masks=("none", "paper", "constant")), profile(test=("cat",))
    pd.testing.assert_frame_equal(
        tables.table1(quality(before).query("mask != 'start' or seed == 0"), now), tables.table1(quality(now), now)
    )


def test_beside_the_paper():
    p = profile(test=("BSD100", "Set5"), seeds=(0, 1), masks=("none", "paper", "constant"))
    table = tables.table1_beside_paper(quality(p), p)
    assert list(table.columns)[2:] == [
        "BSD100", "BSD100 sd", "BSD100 (paper)", "Set5", "Set5 sd", "DIV2K (paper)", "Urban100 (paper)", "PIRM (paper)",
        "seeds", "images", "without_pi",
    ]  # fmt: skip
    assert table["BSD100 (paper)"].tolist()[:2] == [2.19, 2.19]
    assert table["PIRM (paper)"].tolist()[3:5] == [2.59, 2.23]
    assert np.isnan(table["PIRM (paper)"][2])  # the paper has no constant mask
    assert "BSD100" in tables.beside_paper_note(quality(p), p)
    assert "its metric is PI and ours is not" in tables.beside_paper_note(quality(p, ("official", "stand-in")), p)
    limited = profile(test=("BSD100",), limit=5)
    assert "5 images" in tables.beside_paper_note(quality(limited), limited)
    assert "none of its test sets" in tables.beside_paper_note(quality(profile()), profile())


def test_metrics_are_json_and_hold_table1():
    p = profile(seeds=(0, 1))
    metrics = tables.metrics(quality(p), p)
    assert list(metrics)[:4] == ["esrgan-none", "esrgan-paper", "pesr-none", "pesr-paper"]
    assert metrics["esrgan-paper"]["PI"] == {"cat": 3.55, "temple": 3.55, "mean": 3.55}
    assert metrics["HR"]["PSNR-Y"] is None
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_csv_has_the_label_and_every_number():
    p = profile()
    lines = tables.to_csv(tables.table1(quality(p, ("official", "stand-in")), p)).splitlines()
    assert lines[0] == "block,variant,metric,cat,temple,seeds,images,without_pi"
    assert lines[1] == "variants,ESRGAN,PI (stand-in Ma),4.0000,4.0000,1,6,0"


def test_markdown_and_latex():
    table = pd.DataFrame(
        {
            "block": ["variants", "ends"],
            "variant": ["A_1", "HR"],
            "metric": ["PI", "PI"],
            "s_x": [1.234, np.nan],
            "s_x sd": [0.1, np.nan],
            "SSIM-Y": [0.71234, np.inf],
        }
    )
    assert tables.to_markdown(table).splitlines() == [
        r"| PI ↓ | s\_x | SSIM-Y |",
        "|:--|--:|--:|",
        r"| A\_1 | 1.23 ± 0.10 | 0.7123 |",
        "| *HR* | *—* | *∞* |",
    ]
    latex = tables.to_latex(table, caption="50 % & more", label="tab:t")
    assert r"\caption{50 \% \& more}" in latex and r"A\_1 & 1.23 $\pm$ 0.10 & 0.7123 \\" in latex
    assert latex.count(r"\midrule") == 2 and latex.count("{") == latex.count("}")


def test_figure_5_compares_a_pair_with_the_plain_model_image_by_image():
    """The mask has no PI on the hard image of a set: what is left there is 0.5 worse, and must not look better."""
    points = pd.DataFrame(
        {"k": 0.2, "b": 0.5, "seed": 0, "set": ["cat", "temple"], "pi": [3.5, 4.5], "without_pi": [1, 0]}
    )
    images = pd.MultiIndex.from_tuples([("cat", "easy"), ("cat", "hard"), ("temple", "a")], names=["set", "image"])
    differences = {(0.2, 0.5): pd.DataFrame([[0.5, np.nan, -0.25]], index=[0], columns=images)}
    (row,) = results.sweep_table(points, differences).to_dict("records")
    assert row == {"k": 0.2, "b": 0.5, "mean over sets": 4.0, "minus plain": pytest.approx(0.125), "without_pi": 1}
