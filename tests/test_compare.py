"""Two runs side by side: pairs are pairs, what was measured otherwise is refused, and what is unknown is said to be."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from masksr import params
from masksr.__main__ import main
from masksr.errors import MasksrError
from masksr.notebook_parameters import declared
from masksr.results import compare, evidence, records
from masksr.results.changes import parameter_changes, parameters_note, trainings, trainings_note
from masksr.results.compare import mask_minus_plain, note, paired, why_not
from masksr.results.quality_table import COLUMNS
from masksr.results.sides import Side, flat, opened

ROOT = Path(__file__).parents[1]
IMAGES = 8


def scores(
    pi: dict[tuple[str, str, str], np.ndarray], hr: float = 2.0, kinds: tuple[str, str] = ("official", "official")
) -> pd.DataFrame:
    """pi: (model, mask, set) -> (seeds, images). HR has one score everywhere."""
    rows = [
        {"model": model, "mask": mask, "seed": seed, "set": name, "image": f"{image}", "pi": value}
        for (model, mask, name), values in pi.items()
        for seed, line in enumerate(values)
        for image, value in enumerate(line)
    ]
    sets = dict.fromkeys(name for *_, name in pi)
    rows += [
        {"model": "HR", "mask": "none", "seed": 0, "set": name, "image": f"{image}", "pi": hr}
        for name in sets
        for image in range(IMAGES)
    ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS).assign(niqe_weights=kinds[0], ma_weights=kinds[1], problem="")
    return table.assign(niqe=table["pi"], ma=table["pi"], psnr=20 + table["pi"])


def side(name: str, quality: pd.DataFrame, **more) -> Side:
    return Side(name, quality, **more)


def noise(seeds: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 1, (seeds, IMAGES))


SETS = ("cat", "dog")
CELLS = [("esrgan", "none", "cat"), ("esrgan", "paper", "cat"), ("esrgan", "none", "dog")]

# ---- Scores ----------------------------------------------------------------------------------------------------------


def test_pairs_are_judged_as_the_evidence_judges_a_mask():
    one = {cell: noise(3, number) for number, cell in enumerate(CELLS)}
    change = {cell: np.random.default_rng(9).normal(0, 0.1, (3, IMAGES)) - 2 * (cell == CELLS[1]) for cell in CELLS}
    a, b = side("a", scores(one)), side("b", scores({cell: one[cell] + change[cell] for cell in CELLS}).sample(frac=1))
    found = paired(a, b).set_index(["model", "mask", "set"])
    assert list(found["verdict"]) == ["undecided", "better", "undecided"]
    alone = evidence.effect(change[CELLS[1]], evidence.together(0.95, 3))
    assert found.loc[CELLS[1], ["difference", "low", "high"]].tolist() == pytest.approx(
        [alone.mean, alone.low, alone.high]
    )
    assert paired(b, a).set_index(["model", "mask", "set"]).loc[CELLS[1], "verdict"] == "worse"
    assert paired(a, b, "psnr").set_index(["model", "mask", "set"]).loc[CELLS[1], "verdict"] == "worse"
    assert set(paired(a, b, sets=["dog"])["set"]) == {"dog"}
    assert "b minus a" in note(a, b) and "negative: b is better" in note(a, b)
    assert "positive: b is better" in note(a, b, "psnr")


def test_one_seed_decides_nothing():
    one = {CELLS[0]: noise(1)}
    found = paired(side("a", scores(one)), side("b", scores({CELLS[0]: one[CELLS[0]] - 3}))).iloc[0]
    assert found["verdict"] == "undecided (one seed)" and found["difference"] == pytest.approx(-3)


def test_equal_scores_are_the_same_and_spend_nothing_of_the_level():
    one = {cell: noise(3, number) for number, cell in enumerate(CELLS)}
    change = np.random.default_rng(9).normal(-1, 0.1, (3, IMAGES))
    a, b = side("a", scores(one)), side("b", scores(one | {CELLS[0]: one[CELLS[0]] + change}))
    found = paired(a, b).set_index(["model", "mask", "set"])
    assert list(found["verdict"]) == ["better", "the same", "the same"]
    assert found.loc[CELLS[0], "low"] == pytest.approx(evidence.effect(change, 0.95).low)
    assert len(compare.readable(paired(a, b))) == 1 and "Not shown: 2 rows of equal scores." in note(a, b)
    assert "All scores are the same." in note(a, a)


def test_pictures_that_equal_hr_are_the_same_though_their_psnr_is_infinite():
    a = side("a", scores({CELLS[0]: noise(1)}).assign(psnr=np.inf))
    assert list(paired(a, a, "psnr")["verdict"]) == ["the same"]
    assert "All scores are the same." in note(a, a, "psnr")
    finite = side("b", a.quality.assign(psnr=30.0))
    assert list(paired(a, finite, "psnr")["verdict"]) == ["not measured"]


def test_only_what_both_have_is_paired_and_the_rest_is_told():
    one = {CELLS[0]: noise(3), CELLS[1]: noise(3, 1)}
    other = {CELLS[0]: one[CELLS[0]][:2, :5] - 1, CELLS[2]: noise(2)}
    a, b = side("a", scores(one)), side("b", scores(other))
    found = paired(a, b)
    assert found[["seeds", "images", "difference"]].to_numpy().tolist() == [[2, 5, pytest.approx(-1)]]
    assert "Rows without a partner: 1 of a, 1 of b." in note(a, b)
    assert "that only one of them has are left out" in note(a, b)
    apart = side("b", scores({CELLS[2]: noise(2)}))
    assert paired(side("a", scores({CELLS[1]: noise(2)})), apart, sets=["dog"]).empty
    assert "Nothing was measured in both" in note(side("a", scores({CELLS[1]: noise(2)})), apart, sets=["dog"])


def test_two_folders_of_pictures_are_one_pair_whatever_they_are_called():
    one, other = ({(name, "none", "pictures"): noise(1, number)} for number, name in enumerate(("esrgan", "mine")))
    a, b = side("a", scores(one)), side("b", scores(other))
    assert len(paired(a, b)) == 1 and "paired by their names alone" in note(a, b)


def test_what_was_measured_otherwise_is_refused():
    cells = {CELLS[0]: noise(2)}
    official = side("a", scores(cells))
    half = side("b", scores(cells, kinds=("official", "stand-in")))
    assert "Ma and Ma (stand-in) are two different measures" in why_not(official, half, "pi")
    assert paired(official, half).empty and "Comparable: NIQE and PSNR-Y." in note(official, half)
    assert why_not(official, half, "niqe") is None and len(paired(official, half, "niqe")) == 1

    def fitted(digest: str) -> Side:
        files = {"data/weights/mini/quality/niqe.mat": "n", "data/weights/mini/quality/ma.mat": digest}
        steps = {"runs/mini/ends/evaluation.json": {"inputs": files, "outputs": {}}}
        return side("b", scores(cells, kinds=("stand-in", "stand-in")), profile="mini", steps=steps)

    assert "Ma (stand-in) has other weights in each" in why_not(fitted("1"), fitted("2"), "pi")
    assert why_not(fitted("1"), fitted("1"), "pi") is why_not(fitted("1"), fitted("2"), "niqe") is None
    other_pictures = side("b", scores(cells, hr=2.1))
    for measure in ("pi", "psnr"):  # whose HR is perfect, whatever the picture
        assert "HR itself scores differently on cat" in why_not(official, other_pictures, measure)
    bare = [side(name, scores(cells, kinds=("stand-in",) * 2).query("model != 'HR'")) for name in "ab"]
    assert "Whether Ma is the same stand-in in both cannot be told" in note(*bare)


def test_the_mask_within_one_side_is_what_the_evidence_says():
    cells = {("esrgan", mask, name): noise(3, n) for n, (mask, name) in enumerate(product(("none", "paper"), SETS))}
    quality, mini = scores(cells), params.load(ROOT / "profiles/mini.yaml")
    table1 = mini.table1.model_copy(update={"models": ["esrgan"], "masks": ["none", "paper"], "seeds": [0, 1, 2]})
    data = mini.data.model_copy(update={"test": list(SETS)})
    theirs = evidence.compare(quality, mini.model_copy(update={"table1": table1, "data": data}))
    ours = mask_minus_plain(side("a", quality))
    pd.testing.assert_frame_equal(ours.drop(columns="variant"), theirs.drop(columns="variant"))


# ---- Parameters and trainings ----------------------------------------------------------------------------------------


def test_parameters_by_name():
    tree = {"sweep": {"k": [0.2, 2.0]}, "phases": [{"epochs": 3}, {"epochs": 4}], "local": None}
    assert flat(tree) == {"sweep.k": [0.2, 2.0], "phases.0.epochs": 3, "phases.1.epochs": 4, "local": None}
    quality = scores({CELLS[0]: noise(1)})
    a = side("a", quality, parameters=flat(tree))
    b = side("b", quality, parameters=flat(tree | {"sweep": {"k": [0.2]}, "new": 1}))
    assert parameter_changes(a, b).to_numpy().tolist() == [["`sweep.k`", "[0.2, 2.0]", "[0.2]"], ["`new`", "—", "1"]]
    assert parameters_note(a, b) == "2 of 5 parameters differ."
    assert parameters_note(a, a) == "All parameters are the same."
    assert parameter_changes(a, side("c", quality)).empty
    assert parameters_note(a, side("c", quality)).startswith("With which parameters c was made is not known")


START = "runs/p/start/esrgan-s0/generator.safetensors"


def training(weights: str, **facts: str) -> records.Record:
    files = {
        name: facts.pop(name, "0") for name in ("data/sets/p/train", "runs/p/start/esrgan-s0/generator.safetensors")
    }
    outputs = {"runs/p/generator.safetensors": weights, "runs/p/history.csv": facts.pop("history", "h")}
    return {"inputs": files, "outputs": outputs, "code": "c", "torch": "2.14", "device": "cpu", "key": "k"} | facts


@pytest.mark.parametrize(
    ("facts", "weights", "because"),
    [
        ({"history": "other speeds"}, "w", ""),
        ({"code": "d", "key": "l"}, "v", "code"),
        ({"torch": "2.15", "data/sets/p/train": "1", "key": "l"}, "v", "torch, images"),
        ({START: "1"}, "v", "start"),
        ({"key": "l"}, "v", "parameters"),
        ({}, "v", "nothing that is recorded"),
    ],
)
def test_why_weights_differ(facts, weights, because):
    quality, name = scores({CELLS[0]: noise(1)}), "runs/{}/variants/esrgan-none-s0/training.json"
    a = side("a", quality, profile="p", steps={name.format("p"): training("w")})
    b = side("b", quality, profile="q", steps={name.format("q"): training(weights, **facts)})
    expected = ["variants/esrgan-none-s0", "different" if because else "equal", because]
    assert trainings(a, b).to_numpy().tolist() == [expected]
    assert trainings_note(a, b) == f"Weights of the trainings: 1 {expected[1]}."
    assert compare.changed(a, b).empty == (not because)


def test_a_training_of_one_side_alone():
    quality = scores({CELLS[0]: noise(1)})
    steps = {f"runs/p/{name}/training.json": training("w") for name in ("start/esrgan-s0", "start/pesr-s0")}
    a, b = (
        side("a", quality, profile="p", steps=steps),
        side("b", quality, profile="p", steps=dict([*steps.items()][:1])),
    )
    assert trainings(a, b)["weights"].tolist() == ["equal", "only in a"]
    assert "b has no provenance.json" in trainings_note(a, side("b", quality))
    unknown = side("q.csv", quality)
    assert "q.csv (a) and q.csv (b) have no provenance.json" in trainings_note(unknown, unknown)
    assert "q.csv (a) and q.csv (b) were made is not known" in parameters_note(unknown, unknown)


# ---- Where a side may come from --------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under git: results of mini with a record, and of another profile without; two commits."""
    for name in ("params.yaml", "profiles/mini.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "profiles/mini.yaml", tmp_path / name)
    (tmp_path / "dvc.yaml").touch()
    cells = {cell: noise(2, number) for number, cell in enumerate(CELLS)}
    for profile in ("mini", "other"):
        (tmp_path / "results" / profile).mkdir(parents=True)
        scores(cells).to_csv(tmp_path / "results" / profile / "quality.csv", index=False)
    steps = {"runs/mini/start/esrgan-s0/training.json": training("w")}
    provenance = {"format": 1, "profile": "mini", "params": {"profile": "mini", "k": 0.2}, "steps": steps}
    (tmp_path / "results/mini/provenance.json").write_text(json.dumps(provenance))
    monkeypatch.chdir(tmp_path)
    if shutil.which("git"):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
            subprocess.run(["git", *identity, *words], check=True)
        scores({cell: values - 1 for cell, values in cells.items()}).to_csv("results/mini/quality.csv", index=False)
        (tmp_path / "results/mini/provenance.json").write_text(json.dumps(provenance | {"params": {"k": 2.0}}))
    return tmp_path


def test_profiles_folders_files(project):
    by_name = opened("mini")
    assert by_name.parameters == {"k": 2.0} and list(by_name.steps) == ["runs/mini/start/esrgan-s0/training.json"]
    for same in ("results/mini", "results/mini/quality.csv"):
        pd.testing.assert_frame_equal(opened(same).quality, by_name.quality)
    shutil.copy(project / "profiles/mini.yaml", project / "profiles/other.yaml")
    assert opened("other").parameters_from == "profiles/other.yaml as it is now" and not opened("other").steps


needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


@needs_git
@pytest.mark.parametrize("text", ["HEAD:results/mini", "HEAD:mini", "HEAD:results/mini/quality.csv"])
def test_commits(project, text, capsys):
    then = opened(text)
    assert then.parameters == {"profile": "mini", "k": 0.2}
    assert paired(then, opened("mini"))["difference"].to_numpy() == pytest.approx(-1)
    assert main(["compare", text, "mini", "--set", "cat"]) == 0
    said = capsys.readouterr().out
    assert "| `k` | 0.2 | 2.0 |" in said and "Weights of the trainings: 1 equal." in said
    assert "| esrgan, mask paper | cat |" in said and "dog" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere", r"'nowhere' is no profile with results \(there are: mini, other\)"),
        ("profiles", "profiles: this folder holds no quality.csv"),
        pytest.param("HEAD:nowhere", "git knows no commit 'HEAD'", marks=needs_git),
        pytest.param("-x:mini", "git knows no commit '-x'", marks=needs_git),
        ("params.yaml", "params.yaml: not a quality table"),
        ("results/mini/provenance.json", "not a quality table"),
    ],
)
def test_what_is_no_side_is_one_error(project, text, says):
    with pytest.raises(MasksrError, match=says):
        opened(text)


@needs_git
def test_a_damaged_table_of_a_commit_is_named_by_the_commit(project):
    (project / "results/mini/quality.csv").write_text("a,b\n1,2\n")
    for words in (["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "two"]):
        subprocess.run(["git", *words], check=True)
    with pytest.raises(MasksrError, match=r"^HEAD:results/mini/quality\.csv: not a quality table"):
        opened("HEAD:mini")


def test_two_committed_profiles_that_share_nothing(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["compare", "mini", "study_cpu"]) == 0
    said = capsys.readouterr().out
    assert " parameters differ." in said
    assert "cannot be compared" in said or "Nothing was measured in both" in said


def test_a_test_set_that_neither_has_is_an_error(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["compare", "mini", "mini", "--set", "cat", "--set", "temle"]) == 1
    assert "--set temle: measured in neither; there are: cat, " in capsys.readouterr().err


# ---- The notebook ----------------------------------------------------------------------------------------------------

NOTEBOOK = ROOT / "notebooks/40_compare.ipynb"


def run_cells(**parameters: object) -> list[object]:
    """Run the cells one by one, as JupyterLab does; what each of them shows."""
    names: dict[str, object] = {}
    shown = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            *lines, last = ast.parse("".join(cell["source"])).body
            is_value = isinstance(last, ast.Expr)
            exec(compile(ast.Module(lines if is_value else [*lines, last], []), "cell", "exec"), names)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names) if is_value else None)
            if "tags" in cell["metadata"]:
                names |= parameters
    return shown


def test_the_notebook_runs_in_a_fresh_clone_as_it_stands(monkeypatch):
    """On committed results, which share no picture: what cannot be compared is said, what can is shown."""
    monkeypatch.chdir(ROOT / "notebooks")
    known = declared(NOTEBOOK)
    assert known["a"].default == "mini" and (ROOT / "results" / known["b"].default / "quality.csv").is_file()
    *_, parameters, weights, table, figure, one, of_one, other, of_other = run_cells()
    assert "parameters differ" in parameters.data and "weights" in weights.data
    assert figure is None and ("cannot be compared" in table.data or "Nothing was measured" in table.data)
    assert "| esrgan, mask paper |" in one.data and "| esrgan, mask paper |" in other.data
    assert all(isinstance(found, Figure) for found in (of_one, of_other))


def test_the_notebook_of_two_runs_of_the_same_pictures(project):
    cells = {cell: noise(3, number) - 2 for number, cell in enumerate(CELLS)}
    (project / "mine").mkdir()
    scores(cells).to_csv(project / "mine/quality.csv", index=False)
    *_, table, figure, _, of_one, _, _ = run_cells(a="other", b="mine", sets=["cat"])
    assert "mine minus other" in table.data and "| dog |" not in table.data
    assert isinstance(figure, Figure) and isinstance(of_one, Figure)
