"""A profile with made-up trainings and real records; then one thing is changed, and verify must name it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from masksr import params
from masksr.__main__ import main
from masksr.fetch.sets import build_pack
from masksr.paths import Paths
from masksr.plots import style
from masksr.report.story import write_report
from masksr.results import evaluation, inspection, records
from masksr.results import outputs as results
from masksr.results.chain import AS_RECORDED, DIFFERS, NO_RECORD, NOT_HERE, VERIFIED
from masksr.results.quality_table import COLUMNS
from masksr.results.verify import left_over, verify

ROOT = Path(__file__).parents[1]
PAPER = "runs/mini/variants/esrgan-paper-s0"


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def small() -> dict:
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["table1"]["models"] = ["esrgan"]
    content["sweep"] |= {"k": [0.2], "b": [0.5]}
    content["data"]["test"] = ["cat"]
    content["figure4"]["crops"] = [{"set": "cat", "image": 0, "top": 0, "left": 0, "size": 64}]
    return content


def train(settings: params.Params, paths: Paths) -> None:
    """Weights and training.json as ``trainings.train_once`` leaves them, without a training."""
    for folder, model, seed in records.trainings(settings, paths):
        generator = write(folder / "generator.safetensors", f"weights of {folder.name}")
        history = write(folder / "history.csv", "phase,step\n")
        used = {"data": records.digest(paths.set("photographs")), "validation": records.digest(paths.set("rocket"))}
        if folder.parent.name != "start":
            used["from"] = records.digest(paths.start(model, seed) / "generator.safetensors")
            used["vgg"] = records.digest(paths.weights / "vgg19.safetensors")
        used |= {"code": "c0de", "torch": "2.14", "device": "cpu"}
        record = {"key": hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:20], "inputs": used}
        record |= {"weights": records.digest(generator), "history": records.digest(history)}
        write(folder / "training.json", json.dumps(record, indent=2))


def score(settings: params.Params, paths: Paths) -> None:
    """quality.csv and evaluation.json of every training and of the ends, with scores out of thin air."""
    trainings = [(folder, model, seed) for folder, model, seed in records.trainings(settings, paths)]
    trained = [(folder, model, "paper" if "none" not in folder.name else "none", s) for folder, model, s in trainings]
    runs = [run for run in trained if run[0].parent.name != "start"] + [(paths.ends, "HR", "none", 0)]
    for number, (folder, model, mask, seed) in enumerate(runs):
        inputs = evaluation._inputs(settings, paths, [folder if model != "HR" else paths.start("esrgan", 0)])
        row = [model, mask, seed, "cat", "left", 5.0 + number, 5.0, 5.0 + number / 2, 30.0, 0.9, 8.0]
        table = pd.DataFrame([[*row, "stand-in", "stand-in", ""]], columns=COLUMNS)
        evaluation._write(table, folder, inputs, paths, ())


def notebooks(settings: params.Params, paths: Paths) -> None:
    for name in ("idea", "argument", "table1", "evidence", "figure4", "figure5", "mask", "questions"):
        executed(paths.results / f"{name}.ipynb")
    for name in ("05_test_sets", "02_weights", "data/photographs", "data/rocket", "data/cat", "ends/ends"):
        executed(paths.runs / f"{name}.ipynb")
    for folder, *_ in records.trainings(settings, paths):
        for name in ["start"] if folder.parent.name == "start" else ["train", "evaluate"]:
            executed(folder / f"{name}.ipynb")


def executed(file: Path) -> None:
    cells = [nbformat.v4.new_markdown_cell(f"# {file.stem}"), nbformat.v4.new_code_cell("1", execution_count=1)]
    for number, cell in enumerate(cells):
        cell["id"] = str(number)
    write(file, nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a project")
    write(root / "dvc.yaml", "")
    write(root / "data/paper.yaml", (ROOT / "data/paper.yaml").read_text())
    write(root / "params.yaml", yaml.safe_dump(small(), sort_keys=False))
    settings, paths = params.load(root / "params.yaml"), Paths(root, "mini")
    build_pack("cat", paths.set("cat"))
    for name in ("photographs", "rocket"):
        shutil.copytree(paths.set("cat"), paths.set(name))
    for name in ("vgg19.safetensors", "quality/niqe.mat", "quality/ma.mat"):
        write(paths.weights / name, name)
    train(settings, paths)
    score(settings, paths)
    notebooks(settings, paths)
    results.write_table1(results.collect_quality(settings, paths), settings, paths)
    write(paths.results / "argument.json", "{}")
    records.write_result("argument", paths, [paths.set("photographs"), paths.set("rocket")], ["argument.json"])
    cell = {
        "model": "esrgan",
        "mask": "paper",
        "variant": "ESRGAN+Mask",
        "set": "cat",
        "difference": 0.1,
        "low": 0.0,
        "high": 0.2,
        "seeds": 1,
    }
    verdicts = pd.DataFrame({"claim": ["It helps"], "verdict": ["not run"]})
    cells = pd.DataFrame([cell | {"verdict": "undecided (one seed)"}])
    results.write_evidence(cells, cells, verdicts, settings, paths)
    for name in ("figure4", "figure4_maps", "figure5", "figure5_map"):
        style.write_figure(Figure(), name, paths)
    results.record_figure4(settings, paths)
    results.write_figure5(*results.collect_sweep(settings, paths), pd.DataFrame(), settings, paths)
    for name in ("mask.csv", "mask_gradient.csv"):
        write(paths.results / name, "a\n1\n")
    generators = [folder / "generator.safetensors" for folder in inspection.folders(settings, paths).values()]
    records.write_result("mask", paths, [*generators, paths.set("rocket")], ["mask.csv", "mask_gradient.csv"])
    with pytest.MonkeyPatch.context() as here:
        here.chdir(root)
        write_report(settings, paths)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def states(project: Path, profile: str = "mini") -> dict[str, str]:
    return {result.name: result.state for result in verify(profile, project)}


def as_git_has_it(project: Path) -> None:
    for gone in ("runs", "data/sets", "data/weights"):
        shutil.rmtree(project / gone)
    for gone in ("report.html", "report.json"):
        (project / "results/mini" / gone).unlink()


def test_equal_runs_of_another_speed_have_the_same_provenance(project: Path) -> None:
    settings, paths = params.load(), Paths(project, "mini")
    before = records.join(settings, paths)
    folder = paths.start("esrgan", 0)
    history = write(folder / "history.csv", "phase,step,images_per_s\n")
    record = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps(record | {"history": records.digest(history), "seconds": 9}))
    assert records.join(settings, paths) == before
    assert set(states(project).values()) == {"verified"}


def test_what_was_made_together_is_verified(project: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert summary == f"mini: {len(lines)} verified"
    expected = ["params.yaml", "data/sets/mini/cat", "start/esrgan-s0", "variants/esrgan-paper-s0"]
    expected += ["sweep/k0.2-b0.5-s0", "ends", "table1", "evidence", "figure4", "figure5", "notebooks", "report"]
    assert set(expected) < {line.split()[1] for line in lines}
    assert "made by code without git on " in lines[-1]


def test_a_clone_has_nothing_to_object_to_and_verifies_nothing(project: Path, capsys: pytest.CaptureFixture) -> None:
    as_git_has_it(project)
    found = states(project)
    assert found.pop("params.yaml") == VERIFIED
    assert set(found.values()) == {AS_RECORDED, NOT_HERE}
    assert {found[name] for name in ("table1", "figure4", "figure5", "notebooks")} == {AS_RECORDED}
    assert {found[name] for name in ("report", "variants/esrgan-none-s0", "data/sets/mini/cat")} == {NOT_HERE}
    assert main(["verify"]) == 0


def replace(file: str, old: str = "", new: str = "x") -> Callable[[Path], None]:
    """Put ``new`` in the place of ``old``, or at the end."""

    def change(project: Path) -> None:
        content = (project / file).read_bytes()
        assert old.encode() in content
        changed = content.replace(old.encode(), new.encode(), 1) if old else content + new.encode()
        (project / file).write_bytes(changed)

    return change


def flip_a_pixel(project: Path) -> None:
    file = project / "data/sets/mini/cat/lr_x4.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def page_of_another_run(project: Path) -> None:
    """A page and its record that belong together, but not to this provenance.json."""
    kept = {name: (project / name).read_bytes() for name in ("params.yaml", "results/mini/provenance.json")}
    replace("params.yaml", "batch: ", "batch: 1")(project)
    settings = params.load()
    write_report(settings, Paths.of(settings))
    for name, content in kept.items():
        (project / name).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "line", "note"),
    [
        (replace(f"{PAPER}/generator.safetensors"), "variants/esrgan-paper-s0", "generator.safetensors was changed"),
        (replace("runs/mini/start/esrgan-s0/history.csv"), "start/esrgan-s0", "history.csv was changed"),
        (replace(f"{PAPER}/quality.csv", "30", "31"), "variants/esrgan-paper-s0", "quality.csv was changed"),
        (replace(f"{PAPER}/training.json", "c0de", "0ther"), "variants/esrgan-paper-s0", "inputs are not those of its"),
        (replace(f"{PAPER}/evaluation.json", "2.", "3."), "variants/esrgan-paper-s0", "evaluation.json is of another"),
        (replace("results/mini/quality.csv", "30", "31"), "table1", "quality.csv was changed"),
        (replace("results/mini/table1.csv", "5", "4"), "table1", "table1.csv was changed"),
        (replace("results/mini/table1.md", "5", "4"), "table1", "table1.md was changed"),
        (replace("results/mini/metrics.json", "5", "4"), "table1", "metrics.json was changed"),
        (replace("results/mini/figure4.png"), "figure4", "figure4.png was changed"),
        (replace("results/mini/figure4_maps.svg"), "figure4", "figure4_maps.svg was changed"),
        (replace("results/mini/figure5.svg"), "figure5", "figure5.svg was changed"),
        (replace("results/mini/table1.ipynb", "# table1", "# Table"), "notebooks", "table1.ipynb was changed"),
        (replace(f"{PAPER}/train.ipynb", "# train", "# T"), "report", f"was made from another {PAPER}/train.ipynb"),
        (replace("results/mini/report.html"), "report", "report.html was changed"),
        (page_of_another_run, "report", "was made from another results/mini/provenance.json"),
        (flip_a_pixel, "data/sets/mini/cat", "cat was changed"),
        (replace("data/weights/mini/vgg19.safetensors"), "data/weights/mini/vgg19.safetensors", "was changed"),
        (
            replace("params.yaml", "steps_per_epoch: 20", "steps_per_epoch: 30"),
            "params.yaml",
            "train.steps_per_epoch is 30, the results were made with 20",
        ),
    ],
)
def test_what_does_not_belong_is_named(
    project: Path, capsys: pytest.CaptureFixture, change: Callable[[Path], None], line: str, note: str
) -> None:
    change(project)
    assert main(["verify"]) == 1
    out, error = capsys.readouterr()
    differing = [text.split(maxsplit=1)[1] for text in out.splitlines() if text.split()[0] == DIFFERS]
    assert [text.split()[0] for text in differing] == [line] and note in differing[0]
    assert "masksr: error: 1 of mini do not belong to the rest" in error


def test_what_rests_on_a_replaced_weight_is_not_verified(project: Path) -> None:
    replace("runs/mini/start/esrgan-s0/generator.safetensors")(project)
    found = states(project)
    assert found["start/esrgan-s0"] == DIFFERS
    kinds = ("variants/esrgan-paper-s0", "table1", "figure4", "notebooks", "report")
    assert {found[name] for name in kinds} == {AS_RECORDED}
    assert found["data/sets/mini/rocket"] == VERIFIED


@pytest.mark.parametrize("key", ["vgg19.safetensors", "generator.safetensors"])
def test_records_that_contradict_each_other_need_no_files(project: Path, key: str) -> None:
    as_git_has_it(project)
    file = project / "results/mini/provenance.json"
    content = json.loads(file.read_text())
    inputs = content["steps"][f"{PAPER}/training.json"]["inputs"]
    (name,) = (name for name in inputs if name.endswith(key))
    inputs[name] = "0" * 64
    file.write_text(json.dumps(content))
    found = {result.name: result for result in verify("mini", project)}
    line = found[name if key.startswith("vgg") else "variants/esrgan-paper-s0"]
    said = "not all made from the same one" if key.startswith("vgg") else f"was made from another {name}"
    assert line.state == DIFFERS and said in str(line)


def test_comments_and_the_place_of_the_data_are_nobodys_results(project: Path) -> None:
    write(project / "params.yaml", (project / "params.yaml").read_text().replace("local: null", "local: a/b") + "# c\n")
    assert set(states(project).values()) == {VERIFIED}


@pytest.mark.parametrize(
    "file", ["results/mini/provenance.json", "results/mini/report.json", f"{PAPER}/evaluation.json"]
)
def test_a_broken_record_is_one_clear_error(project: Path, capsys: pytest.CaptureFixture, file: str) -> None:
    write(project / file, (project / file).read_bytes()[:100])
    assert main(["verify"]) == 1
    assert f"{file}: cannot be read" in capsys.readouterr().err


def test_without_records_only_the_tables_can_be_checked(project: Path) -> None:
    as_git_has_it(project)
    (project / "results/mini/provenance.json").unlink()
    write(project / "results/mini/README.md", "about this run")
    found = {result.name: result for result in verify("mini", project)}
    assert {result.state for result in found.values()} == {NO_RECORD} and "README.md" not in found
    assert found["table1.csv"].notes == ["as quality.csv gives it"] and not found["figure4.png"].notes
    replace("results/mini/quality.csv", "5.0", "4.5")(project)
    assert states(project)["metrics.json"] == DIFFERS
    write(project / "results/mini/quality.csv", "a,b\n")
    assert states(project)["quality.csv"] == DIFFERS


def test_results_of_a_profile_that_is_not_the_present_one(project: Path, capsys: pytest.CaptureFixture) -> None:
    write(project / "profiles/mini.yaml", (project / "params.yaml").read_text())
    replace("params.yaml", "profile: mini", "profile: mine")(project)
    assert set(states(project).values()) == {VERIFIED}
    (project / "profiles/mini.yaml").unlink()
    assert states(project)["profiles/mini.yaml"] == NOT_HERE
    assert main(["verify"]) == 1
    assert "results/mine does not exist" in capsys.readouterr().err


def test_a_page_without_its_record_is_not_verified(project: Path) -> None:
    (project / "results/mini/report.json").unlink()
    assert states(project)["report"] == NO_RECORD


def test_a_page_without_the_runs_is_as_recorded(project: Path) -> None:
    shutil.rmtree(project / "runs")
    assert states(project)["report"] == AS_RECORDED


@pytest.mark.parametrize("name", ["/etc/passwd", "../elsewhere", ""])
def test_records_name_files_of_the_project_alone(project: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    record = {"inputs": {}, "outputs": {name: "0" * 64} if name else []}
    write(project / "results/mini/report.json", json.dumps(record))
    assert main(["verify"]) == 1
    assert "report.json: not a record of inputs and outputs" in capsys.readouterr().err


def test_left_over_runs_are_named_since_stages_see_them(project: Path, capsys: pytest.CaptureFixture) -> None:
    assert left_over("mini", project) == []
    write(project / "runs/mini/sweep/k9-b0.5-s0/quality.csv", "")
    write(project / "data/sets/mini/old/hr.npy", "")
    for name in ("runs/mini/data/old.partial.ipynb", "data/sets/mini/.cat.lock"):  # DVC sees none of these
        write(project / name, "")
    assert left_over("mini", project) == ["data/sets/mini/old", "runs/mini/sweep/k9-b0.5-s0"]
    assert main(["verify"]) == 0 and "Left over, of no stage: data/sets/mini/old, " in capsys.readouterr().out


def test_what_git_keeps_is_the_same_in_every_run(project: Path) -> None:
    before = (project / "results/mini/provenance.json").read_bytes()
    settings = params.load()
    write_report(settings, Paths.of(settings))
    assert (project / "results/mini/provenance.json").read_bytes() == before
    assert str(project).encode() not in before and b"hardware" not in before and b"commit" not in before
    page = json.loads((project / "results/mini/report.json").read_text())
    assert {"commit", "hardware", "packages"} < set(page["made_with"])
    assert hashlib.sha256(before).hexdigest() in (project / "results/mini/report.html").read_text()


def test_verify_is_light(project: Path) -> None:
    code = "import sys; from masksr.__main__ import main; assert not main(['verify']); "
    code += "sys.exit(bool({'torch', 'pandas', 'matplotlib', 'pyiqa'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, check=False).returncode == 0
