"""From scores to tables and the summary: what is read, averaged and written, what a stand-in is called."""

import json
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up_scores import mini, score_table
from notebook_cells import run_as_jupyter, run_cells
from tiny_project import ROOT, copy_sources

from masksr.io import MasksrError
from masksr.params import Params
from masksr.paths import Paths
from masksr.results import scores, tables
from masksr.results.typeset import show, to_markdown

NOTEBOOK = run_cells("20_table1", "20_table1-01", "means", "metrics")
FIGURE5 = run_cells("23_figure5", "23_figure5-01", "sweep-scores")
profile = partial(mini, ["esrgan", "pesr"])
METRICS, LATEX, build_table1 = (NOTEBOOK[name] for name in ("metrics", "latex", "build_table1"))


def quality(p: Params, **weights: str) -> pd.DataFrame:
    """PI = 3 for ESRGAN, 4 for PESR, minus 0.5 with a mask, plus 0.1 a seed, plus the number of the image."""
    seed, image = np.arange(len(p.table1.seeds))[:, None], np.arange(3.0)
    changes = {mask: 0.0 if mask == "none" else -0.5 for mask in p.table1.masks} | {"start": 2.0}
    pi = {}
    for name in p.data.test:
        for model, (mask, change) in product(p.table1.models, changes.items()):
            pi[model, mask, name] = {"esrgan": 3, "pesr": 4}[model] + change + 0.1 * seed + image
        pi |= {("HR", "none", name): 2 + image[None], ("bicubic", "none", name): 7 + image[None]}
    table = score_table(pi, **weights)
    return table.assign(psnr=table["psnr"].mask(table["model"] == "HR", np.inf))


def cells(markdown: str) -> list[str]:
    """The rows of a Markdown table without the spaces that align its columns."""
    return ["|".join(cell.strip() for cell in line.split("|")) for line in markdown.splitlines()]


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda t: t.assign(seed=10**22), "not a quality table"),
    (lambda t: t.drop(columns="psnr"), "psnr"), (lambda t: t.assign(lpisp=0.1), "lpisp"),
    (lambda t: t.assign(pi="three"), "not a quality table"), (lambda t: pd.concat([t, t]), "twice"),
    (lambda t: t.assign(ma_weights=["stand-in"] + ["official"] * (len(t) - 1)), "mixed"),
])
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path, spoil, message):
    file = tmp_path / "quality.csv"
    spoil(quality(profile())).to_csv(file, index=False)
    with pytest.raises(MasksrError, match=message):
        scores.read_quality([file])


def test_reading_gives_back_what_was_written_but_not_where_it_was_cut_within_a_number(tmp_path):
    table, file = quality(profile()), tmp_path / "quality.csv"
    table.loc[0, ["pi", "ma", "problem"]] = [np.nan, np.nan, "too flat"]
    scores.write_quality(table, file)
    read = scores.read_quality([file])
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert read["image"].iloc[0] == "000"  # a name, not a number
    whole = file.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 3):
        file.write_bytes(whole[:length])
        with pytest.raises(MasksrError, match=r"quality\.csv: not a quality table"):
            scores.read_quality([file])


@pytest.mark.parametrize(("niqe", "ma", "label"), [
    ("official", "official", "PI"), ("official", "stand-in", "PI (stand-in Ma)"),
    ("stand-in", "stand-in", "PI (stand-in)"),
])
def test_a_stand_in_is_never_called_pi(niqe, ma, label):
    p, table = profile(), quality(profile(), niqe=niqe, ma=ma)
    assert ("not comparable" in scores.label_note(table)) == (label != "PI")
    assert cells(to_markdown(build_table1(table, p)))[0] == f"|{label} ↓|cat|temple|"
    assert set(build_table1(table, p)["metric"]) == {label}
    assert METRICS(table, p)["weights"] == f"niqe {niqe}, ma {ma}"
    assert f"|{label}|" in cells(scores.summarize(table))[0]


def test_table1_averages_images_then_seeds():
    p = profile(seeds=3)
    table = build_table1(quality(p), p)
    assert tables.variant_title(p, "pesr", "constant") == "PESR+Mask (constant)"
    variants = ["ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "HR", "bicubic", "ESRGAN, pretrained", "PESR, pretrained"]
    assert list(table["variant"]) == variants and list(table["block"]) == ["variants"] * 4 + ["ends"] * 4
    assert table["cat"].to_numpy() == pytest.approx([4.1, 3.6, 5.1, 4.6, 3.0, 8.0, 6.1, 7.1])
    assert table["temple sd"].to_numpy()[:4] == pytest.approx([0.1] * 4)
    metrics = METRICS(quality(p), p)
    assert metrics["esrgan"] == {"pi": 4.1, "pi_mask": 3.6, "change": -0.5, "psnr_change": -0.5}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics, "what was not trained is null"
    with pytest.raises(MasksrError, match="pesr with mask none, seed 1, on temple"):
        missing = "not (model == 'pesr' and mask == 'none' and seed == 1 and set == 'temple')"
        build_table1(quality(p).query(missing), p)
    more, now = quality(profile(masks=("none", "paper", "constant"))), profile(test=("cat",))
    pd.testing.assert_frame_equal(build_table1(more, now), build_table1(quality(now), now))
    p = profile(masks=("none", "paper", *"abcdefghi"))  # more than there are markers
    drawn = run_cells("20_table1", "20_table1-01", "20_table1-05", quality=quality(p), settings=p, label="PI")
    assert len(drawn["grid"].legend.texts) == 12


def test_an_image_without_pi_is_counted_and_left_out_of_the_mean(capsys):
    p, table = profile(), quality(profile())
    masked, pesr, cat = table["mask"].eq("paper"), table["model"].eq("pesr"), table["set"].eq("cat")
    table.loc[masked & ~pesr & cat & table["image"].eq("002"), "pi"] = np.nan
    table.loc[masked & pesr & ~cat, "pi"] = np.nan  # of all images of a set
    rows = build_table1(table, p).set_index("variant")
    assert rows.loc["ESRGAN+Mask", ["cat", "temple", "without_pi"]].tolist() == pytest.approx([3.0, 3.5, 1])
    assert "|PESR+Mask|4.50|—|3|" in cells(to_markdown(rows.reset_index()))
    assert METRICS(table, p)["pesr"] == {"pi": 5.0, "pi_mask": None, "change": None, "psnr_change": -0.5}
    run_cells("20_table1", "20_table1-01", "answer", quality=table, settings=p, label="PI")
    assert "-0.75 against the baseline.\nPESR+Mask: no mean over the sets; " in capsys.readouterr().out


def test_the_summary_has_the_mean_of_each_set_and_of_the_sets():
    pi = {("a_b.pth", "none", "Set5"): np.array([[2.0, 4.0]])}
    pi["a_b.pth", "none", "BSD100"] = np.array([[6.0, np.nan, np.nan]])
    table = score_table(pi).assign(niqe=4.0, ma=6.0, psnr=25.0)
    head, _, *rows = cells(scores.summarize(table, "file"))[:5]
    assert head == "|file|set|images|PI|NIQE|Ma|PSNR-Y|SSIM-Y|RMSE|images without PI|"
    assert rows == [
        "|`a_b.pth`|Set5|2|3.00|4.00|6.00|25.00|0.7000|12.00|0|",
        "|`a_b.pth`|BSD100|3|6.00|4.00|6.00|25.00|0.7000|12.00|2|",
        "|`a_b.pth`|mean of sets|5|4.50|4.00|6.00|25.00|0.7000|12.00|2|",
    ]


def test_figure_5_compares_a_pair_with_the_baseline_image_by_image(tmp_path):
    p, paths = mini(), Paths(tmp_path, "mini")
    p = p.model_copy(update={"sweep": p.sweep.model_copy(update={"k": [2.0, 0.2], "b": [0.5], "seeds": [0, 1]})})
    baseline = quality(mini()).query("model == 'esrgan' and mask == 'none'")
    for k, seed in product((0, 2.0, 0.2), (0, 1)):
        folder = paths.scores(paths.sweep_point(k, 0.5, seed) if k else paths.variant("esrgan", "none", seed))
        table = baseline.assign(seed=seed, pi=baseline["pi"] - (k and k + seed))
        scores.write_quality(table, folder / "quality.csv")  # and its folder
    table = FIGURE5["read_sweep"](p, paths)
    table.loc[(table["k"] == 2) & (table["image"] == "001") & (table["seed"] == 0), "pi"] = np.nan
    differences = FIGURE5["sweep_differences"](table)
    assert list(differences) == [(2.0, 0.5), (0.2, 0.5)]  # as in params.yaml
    assert differences[0.2, 0.5].to_numpy() == pytest.approx(np.repeat([[-0.2], [-1.2]], 6, axis=1))
    assert differences[2.0, 0.5].isna().sum(axis=1).tolist() == [2, 0]


def test_markdown_and_latex():
    table = pd.DataFrame({"block": ["variants", "ends"], "variant": ["A_1", "HR"], "metric": "PI", "without_pi": 0})
    table = table.assign(s_x=[-1.234, np.nan], **{"s_x sd": [0.1, np.nan], "SSIM-Y": [0.71234, np.inf]})
    table["note"] = ["a|b *c* `d_e`", None]
    head, _, *rows = cells(to_markdown(table))
    assert head == r"|PI ↓|s\_x|SSIM-Y|note|"
    assert rows == ["|A\\_1|\u22121.23 ± 0.10|0.7123|a\\|b \\*c\\* `d_e`|", "|*HR*|*—*|*∞*|*—*|"]
    assert show(table, "why").data == to_markdown(table) + "\n*why*\n"
    assert show(table.iloc[:0], "none").data == "\n*none*\n"
    latex = LATEX(table, "50 % & more")
    for words in (r"\caption{50 \% \& more}", r"\label{tab:table1}", r"\begin{tabular}{lrrl}"):
        assert words in latex
    assert r"A\_1 & $-$1.23 $\pm$ 0.10 & 0.7123 &" in latex
    assert latex.count(r"\midrule") == 2 and latex.count("{") == latex.count("}")


@pytest.fixture
def summarize(tmp_path, monkeypatch):
    """Run 30_summary on results made up here, and return what it shows."""
    copy_sources(tmp_path, ["data/paper.yaml", "dvc.yaml"])
    results = tmp_path / "results/mini"
    results.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text(encoding="utf-8"))

    def summarize(masked=5.5, verdict="undecided (one seed)", kind="stand-in", **changes) -> str:
        """masked: PI with a mask; plain it is 5. changes: of params.yaml, SECTION__KEY=value."""
        for path, value in changes.items():
            section, key = path.split("__")
            settings[section][key] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        variants = product(settings["table1"]["models"], settings["table1"]["masks"], ["BSD100"])
        pi = {of: np.full((1, 2), 5.0 if of[1] == "none" else masked) for of in variants}
        quality = score_table(pi, kind, kind).assign(psnr=30.0)
        effects = quality.query("image == '000' and mask != 'none'")[["model", "mask"]]
        tables = {
            "quality": quality,
            "evidence": effects.assign(
                variant=effects["model"], set="BSD100", metric="PI", difference=masked - 5, low=-0.3, high=0.1,
                verdict=verdict, seeds=len(settings["table1"]["seeds"]), images=100,
            ),
            "claims": pd.DataFrame({"claim": ["A wins", "B wins"], "verdict": ["not run", "mixed here"]}).assign(
                source="Table 1", **{"what came out": "less"}),
        }
        for name, table in tables.items():
            table.to_csv(results / f"{name}.csv", index=False)
        return " ".join("\n".join(run_as_jupyter("30_summary")).split())

    return summarize


FOUND = [
    *("\u22120.41 for PESR", "6 trainings for [Table 1]", "1 mask (*paper*), 1 seed.", "3 undecided (one seed)"),
    *("2 images of 1 test set", "| BSD100 | \u22120.64 | +0.50 | +0.00 | undecided (one seed) |"),
    *("“A wins”", "one seed says nothing", "1 not run, 1 mixed here", "no evidence for or against the paper"),
]


@pytest.mark.parametrize(("changes", "words"), [
    ({}, FOUND), ({"verdict": "better", "masked": 4.0}, ["| \u22121.00 | +0.00 | better |", "3 better"]),
    ({"table1__masks": ["none"], "figure4__largest_difference": 0}, ["nothing was compared"]),
    ({"table1__seeds": [0, 1, 2], "verdict": "undecided"}, ["other seeds, of which 3 were run", "hold together at 95 %",
      "+0.50 (\u22120.30 to +0.10)", "not detected; a gain of more than 0.30 is excluded",
      "excluded, and so the paper's \u22120.64"]),
    ({"sweep__k": [1.0], "kind": "official"}, ["2 pairs of k and b", "| here, PI |"]),
])
def test_every_sentence_follows_its_data(summarize, changes, words):
    text = summarize(**changes)
    assert not [word for word in words if word not in text]
