"""Two runs side by side: pairs are pairs, what was measured otherwise is refused, the unknown is said."""

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up_scores import MINI, mini, score_table
from notebook_cells import run_cells
from tiny_project import ROOT, run, write_files

from masksr.cli import main
from masksr.io import MasksrError
from masksr.results import intervals
from masksr.results.compare import Run, compare_parameters, compare_scores, mask_minus_plain, open_run, why_not

IMAGES = 8
CELLS = [("esrgan", "none", "cat"), ("esrgan", "paper", "cat"), ("esrgan", "none", "dog")]


def scores(pi: dict[tuple[str, str, str], np.ndarray], hr=2.0, **weights: str) -> pd.DataFrame:
    """The same with HR, which has one score everywhere."""
    return score_table(pi | {("HR", "none", name): np.full((1, IMAGES), hr) for *_, name in pi}, **weights)


def noise(seeds: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 1, (seeds, IMAGES))


ONE = {cell: noise(3, number) for number, cell in enumerate(CELLS)}


def test_pairs_are_judged_as_the_evidence_judges_a_mask():
    change = np.random.default_rng(9).normal(-2, 0.1, (3, IMAGES))
    a, b = Run("a", scores(ONE)), Run("b", scores(ONE | {CELLS[1]: ONE[CELLS[1]] + change}).sample(frac=1))
    (table, note), (psnr, psnr_note) = compare_scores(a, b), compare_scores(a, b, "psnr")
    row = table.set_index(["model", "mask", "set"]).loc[CELLS[1]]
    alone = intervals.effect(change)  # equal scores spend nothing of the level
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([alone.mean, alone.low, alone.high])
    assert sorted(table["verdict"]) == ["better", "the same", "the same"] and "Not shown: 2 rows" in note
    assert sorted(psnr["verdict"]) == ["the same", "the same", "worse"]
    assert "negative: b is better" in note and "positive: b is better" in psnr_note


def test_only_what_both_have_is_paired_and_the_rest_is_told():
    a = Run("a", scores({CELLS[0]: ONE[CELLS[0]], CELLS[1]: noise(3, 1)}))
    b = Run("b", scores({CELLS[0]: ONE[CELLS[0]][:2, :5] - 1, CELLS[2]: noise(2)}))
    table, note = compare_scores(a, b)
    assert table[["seeds", "images", "difference"]].to_numpy().tolist() == [[2, 5, pytest.approx(-1)]]
    assert "Left out, without a partner: 38 scores of a, 16 of b." in note
    table, note = compare_scores(a, b, sets=["dog"])
    assert table.empty and "Nothing was measured in both" in note
    folders = [Run(name, scores({(name, "none", "pictures"): noise(1)})) for name in ("mine", "theirs")]
    table, note = compare_scores(*folders)  # one pair, whatever they are called
    assert list(table["verdict"]) == ["the same"] and "paired by their names alone" in note


def test_what_was_measured_otherwise_is_refused():
    official, half = Run("a", scores(ONE)), Run("b", scores(ONE, ma="stand-in"))
    assert "Ma and Ma (stand-in) are two different measures" in why_not(official, half, "pi")
    table, note = compare_scores(official, half)
    assert table.empty and "Comparable: NIQE and PSNR-Y." in note
    b = Run("b", pd.concat(scores(ONE, hr).query(f"set == '{name}'") for name, hr in (("cat", 2.1), ("dog", 2.0))))
    for measure in ("pi", "psnr"):  # whose HR is perfect, whatever the picture
        assert "differently on cat;" in why_not(official, b, measure)
        assert list(compare_scores(official, b, measure, ["dog"])[0]["verdict"]) == ["the same"]
    own = {"niqe": "stand-in", "ma": "stand-in"}
    fitted = [Run(name, scores(ONE, hr, **own)) for name, hr in (("a", 2.0), ("b", 2.5))]
    assert "HR itself scores differently" in why_not(*fitted, "pi") and why_not(*fitted, "psnr") is None
    bare = [Run(run.name, run.quality.query("model != 'HR' or set == 'dog'")) for run in fitted]
    assert "Whether the stand-in is the same in both cannot be told" in compare_scores(*bare, sets=["cat"])[1]


def test_the_mask_within_one_run_is_what_the_evidence_says():
    quality, settings = scores({cell: ONE[cell] for cell in CELLS[:2]}), mini(seeds=3, test=["cat"])
    ours, theirs = mask_minus_plain(Run("a", quality)), intervals.compare(quality, settings)
    pd.testing.assert_frame_equal(ours.drop(columns="variant"), theirs.drop(columns="variant"))


def test_what_was_asked():
    quality = scores({CELLS[0]: noise(1)})
    a = Run("a", quality, {"sweep.k": [0.2, 2.0], "n.m": 1})
    b = Run("b", quality, {"sweep.k": [0.2], "n.m": 1, "new": True})
    table, note = compare_parameters(a, b)
    assert table.to_numpy().tolist() == [["`sweep.k`", "[0.2, 2.0]", "[0.2]"], ["`new`", "—", "True"]]
    assert note == "2 of 3 parameters differ." and compare_parameters(a, a)[1] == "All parameters are the same."
    assert "of c are not known" in compare_parameters(a, Run("c", quality))[1]
    one = quality[quality["model"] == CELLS[0][0]]
    folders = [Run(name, one.assign(model=name)) for name in ("bicubic", "mine")]
    assert list(compare_scores(*folders)[0]["verdict"]) == ["the same"]
    holes = [Run(name, one.iloc[1:]) for name in "ab"]
    assert "Left out" not in compare_scores(*holes)[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two profiles with results, committed; since then those of mini have changed."""
    settings, table = MINI.read_text(), scores(ONE).to_csv(index=False)
    files = {"params.yaml": settings, "profiles/other.yaml": settings, "dvc.yaml": ""}
    write_files(tmp_path, files | {f"results/{name}/quality.csv": table for name in ("mini", "other")})

    def record(**values: object) -> None:
        params = {"params.yaml": {"sweep": {"k": [0.2]}, "m.phases": [{"epochs": 3}, {"epochs": 4}]} | values}
        stages = {"check@mini": {"params": params}, "check@third": {"cmd": "c"}}
        (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))

    record()
    monkeypatch.chdir(tmp_path)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "results"]):
        run(tmp_path, "git", *words)
    scores({cell: values - 1 for cell, values in ONE.items()}).to_csv("results/mini/quality.csv", index=False)
    record(sweep={"k": [2.0]})


def test_profiles_folders_files_and_commits(project, capsys):
    mini = open_run("mini")
    assert mini.parameters == {"m.phases.0.epochs": 3, "m.phases.1.epochs": 4, "sweep.k": [2.0]}
    for same in ("results/mini", "results/mini/quality.csv"):
        pd.testing.assert_frame_equal(open_run(same).quality, mini.quality)
    assert "of other are not known" in compare_parameters(mini, open_run("other"))[1]
    for text in ("HEAD:results/mini", "HEAD:mini", "HEAD:results/mini/quality.csv"):
        assert compare_scores(open_run(text), mini)[0]["difference"].to_numpy() == pytest.approx(-1)
    assert main(["compare", "HEAD:mini", "mini", "--set", "cat"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "| `sweep.k` | [0.2] | [2.0] |" in printed
    assert "| esrgan, mask paper | cat |" in printed and "dog" not in printed


def test_what_is_no_run_is_one_error(project, capsys):
    for text in ("nowhere", "HEAD:nowhere", "-x:mini", "params.yaml"):
        with pytest.raises(MasksrError, match=f"{text}.* (no profile with|git has no|not a quality table)"):
            open_run(text)
    assert main(["compare", "mini", "other", "--set", "cat", "--set", "temle"]) == 1
    assert "--set temle: measured in neither; there are: cat, " in capsys.readouterr().err


def test_the_notebook_runs_on_committed_results(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    names = run_cells("40_compare", a="real", measure="niqe")
    assert len(names["effects"]) and isinstance(names["note"], str)
