"""The pipeline as a user drives it, after one `dvc repro` on tiny networks: what runs again, what travels."""

import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from dvc.repo import Repo
from served_archives import serving
from small_trainings import weights
from tiny_project import ROOT, change, copy_sources, dvc, ran, run, yaml

from masksr.__main__ import main
from masksr.io import MasksrError
from masksr.params import load
from masksr.paths import Paths, list_trainings
from masksr.provenance import recorded_stages, verify

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
PLAN, VERIFY = ([sys.executable, "-m", "masksr", command] for command in ("plan", "verify"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.stem)
def test_every_profile_is_a_whole_pipeline(profile: Path, tmp_path: Path) -> None:
    """All stages resolve, and their outputs are where ``masksr.paths`` looks for them."""
    project = copy_sources(tmp_path / "project", ["dvc.yaml", ".dvc/config", "data/registry.yaml"])
    (project / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    shutil.copy(profile, project / "params.yaml")
    params, paths = load(profile), Paths(project, profile.stem)
    params.check_stages(yaml.load(project / "dvc.yaml")["stages"])
    index, trainings = Repo(str(project)).index, list_trainings(params, paths)
    assert {one.stage for one in trainings} <= {stage.name for stage in index.stages}
    outs = {out.fs_path for stage in index.stages for out in stage.outs}
    expected = [one.folder for one in trainings]
    expected += [paths.set(name) for name in (params.data.train, *params.data.test)]
    expected += [paths.ends / "quality.csv"]
    expected += [paths.results / name for name in ("table1.csv", "quality.csv", "figure5.png", "report.html")]
    assert not {str(path) for path in expected} - outs


def test_one_command_makes_every_result(reproduced: Path) -> None:
    results = reproduced / "results/mini"
    table = pd.read_csv(results / "table1.csv")
    assert list(table.variant) == ["ESRGAN", "ESRGAN+Mask", "HR", "bicubic", "ESRGAN, pretrained"]
    assert table.metric.str.contains("stand-in").all(), "offline, PI must never pass for the official one"
    assert table.cat.notna().all()
    quality = pd.read_csv(results / "quality.csv")
    measured = {"niqe", "ma", "pi", "psnr", "ssim", "rmse"}
    assert {"model", "mask", "seed", "set", "image"} | measured <= set(quality)
    assert quality.groupby("model").pi.mean()["HR"] < quality.groupby("model").pi.mean()["bicubic"]
    figure5 = pd.read_csv(results / "figure5.csv")
    assert len(figure5) == 2 and figure5.metric.str.contains("stand-in").all()
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["weights"] == "niqe stand-in, ma stand-in" and metrics["esrgan"]["pi_mask"] > 0
    report = (results / "report.html").read_text()
    assert "stand-in" in report and "no evidence for or against the paper" in report
    assert not re.search(r'(src|href)="http(?!s://doi)', report)
    point, variant = (
        json.loads((reproduced / "runs/mini" / run / "training.json").read_text())
        for run in ("sweep/k0.2-b0.5-s0", "variants/esrgan-paper-s0")
    )
    stages = recorded_stages("mini", (reproduced / "dvc.lock").read_text())
    assert {*pd.read_csv(results / "times.csv").stage} == stages.keys() - {"check@mini"}
    assert point == variant, "a point of Figure 5 that equals a variant is trained once"


def test_a_clone_pulls_everything_runs_nothing_and_verifies(project: Path, tmp_path: Path) -> None:
    """What git has, and the rest from a static web server; then every result is what its records say."""
    clone, remote = tmp_path / "a clone", tmp_path / "a remote"
    dvc(project, "remote", "add", "--default", "storage", str(remote))
    dvc(project, "push")
    run(project, "git", "commit", "--quiet", "--all", "--message", "a remote")
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    assert not (clone / "data/sets").exists() and "files and folders are not here" in run(clone, *VERIFY)
    with serving(remote) as server:
        dvc(clone, "remote", "add", "--local", "--default", "results", server.address)
        dvc(clone, "pull")
    output = dvc(clone, "repro")
    assert "Data and pipelines are up to date" in output
    assert not re.findall("Running|Restored|Updating", output)
    assert run(clone, "git", "status", "--porcelain") == ""
    assert run(clone, *VERIFY) == "mini: all files that are here are as recorded\n"
    for made in "data/sets/mini/cat/hr.npy", "runs/mini/notebooks/weights.ipynb", "results/mini/idea.ipynb":
        assert (clone / made).read_bytes() == (project / made).read_bytes()
    assert "esrgan.pi_mask" in dvc(clone, "metrics", "show")
    assert "static_plots" not in dvc(clone, "plots", "show") and list(clone.glob("dvc_plots/index.html"))


def test_a_new_k_runs_its_point_and_its_figure_as_the_plan_says(project: Path) -> None:
    change(project, "sweep", "k", value=[0.2, 3.0e-6])  # as DVC writes it: 3e-06
    point = "sweep@mini-k-3e-06-b-0.5-0"
    expected = {"check@mini", point, f"evaluate_{point}", "figure5@mini"}
    planned = run(project, *PLAN, "figure5")
    assert f"Would train (1):\n  {point}\n" in planned
    assert set(re.findall("  (.*@.*)", planned)) == ran(dvc(project, "repro", "figure5")) == expected
    assert set(pd.read_csv(project / "results/mini/figure5.csv").k.dropna()) == {0.2, 3e-6}


def add_cell(project: Path, name: str, source: str, kind: str = "code") -> None:
    notebook = nbformat.read(project / f"notebooks/{name}.ipynb", as_version=4)
    notebook.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")(source))
    nbformat.write(notebook, project / f"notebooks/{name}.ipynb")


def test_what_only_shows_trains_nothing(project: Path) -> None:
    """Without the store of trainings, as in a clone; a training is found in what its stage has left."""
    shutil.rmtree(project / ".cache")
    before = weights(project / "runs/mini/variants/esrgan-paper-s0")
    add_cell(project, "13_train", "Another word.", "markdown")
    with (project / "masksr/training/mask.py").open("a") as code:
        code.write("\n# A comment.\n")
    stage = "train@mini-esrgan-paper-0"
    planned = run(project, *PLAN, stage)
    assert "Would train" not in planned and f"  {stage}\n" in planned
    output = dvc(project, "repro", stage)
    assert ran(output) == {stage, "check@mini"} and "Already trained with exactly" in output
    assert weights(project / "runs/mini/variants/esrgan-paper-s0") == before
    assert "Nothing would run" in run(project, *PLAN, stage)


def test_profiles_keep_their_stages(asked: Path) -> None:
    settings = (asked / "params.yaml").read_text()
    for profile, expected in {"other": {"check@other", "questions@other"}, "mini": set()}.items():
        (asked / "params.yaml").write_text(settings.replace("profile: mini", f"profile: {profile}"))
        assert ran(dvc(asked, "repro", "questions")) == expected
        stages = recorded_stages(profile, (asked / "dvc.lock").read_text())
        assert stages.keys() == {f"check@{profile}", f"questions@{profile}"}


EDITS = """from pathlib import Path
code = Path("masksr/params.py")
if "EDITED" not in code.read_text():
    code.write_text(code.read_text() + "EDITED = 1\\n")
"""
KILLS = """from pathlib import Path
import psutil
if not Path(".cache/killed").exists():
    Path(".cache/killed").touch()
    for process in psutil.Process().parents():
        if process.cmdline()[1:3] in (["-m", "dvc"], ["-m", "masksr"]):
            process.kill()
"""


@pytest.mark.parametrize(("cell", "says"), [
    (EDITS, "masksr/params.py changed while questions@mini ran"), (KILLS, "Running stage"),
])
def test_a_stage_that_was_killed_or_whose_code_was_edited_does_not_count(asked: Path, cell, says) -> None:
    add_cell(asked, "24_questions", cell)
    said, lock = dvc(asked, "repro", "questions", ok=False), (asked / "dvc.lock").read_text()
    assert says in said and "questions@mini" in said
    locks = lock, run(asked, "git", "show", "HEAD:dvc.lock")
    now, before = (recorded_stages("mini", text)["questions@mini"] for text in locks)
    assert now == before
    assert "questions@mini" in ran(dvc(asked, "repro", "questions"))
    assert not list((asked / "results/mini").glob("*.partial.ipynb"))


def test_what_changed_is_named_whatever_profile_params_yaml_has(project: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(project)

    def check(says: str) -> None:
        shutil.copy("params.yaml", "profiles/mini.yaml")
        for _ in ("of params.yaml", "of another profile"):
            assert main(["verify", "mini"]) == bool(says)
            out, error = capsys.readouterr()
            assert (says or "mini: all files that are here are as recorded") in out
            assert ("1 differences in mini" in error) == bool(says)
            change(project, "profile", value="mine")
        change(project, "profile", value="mini")

    change(project, "train", "log_every", value=7)  # which no result depends on
    check("")
    change(project, "train", "steps_per_epoch", value=30)
    check("parameters: train.steps_per_epoch is modified")
    change(project, "train", "steps_per_epoch", value=2)
    with Path("results/mini/table1.csv").open("a") as table:
        table.write(" ")
    check("table1@mini: results/mini/table1.csv is modified")
    run(project, "git", "checkout", "--", ".")
    before, report = Path("dvc.lock").read_text().split("  report@mini:")
    dependency = "path: results/mini/questions.ipynb\n      hash: md5\n      md5: "
    Path("dvc.lock").write_text(f"{before}  report@mini:{report.replace(dependency, f'{dependency}0', 1)}")
    check("report@mini: results/mini/questions.ipynb is not the one that this was made from")
    Path("dvc.lock").unlink()
    with pytest.raises(MasksrError, match=r"dvc\.lock: has no stage of the profile mini; `dvc repro` with"):
        verify("mini")


def test_what_a_process_leaves_is_no_data_but_a_forgotten_folder_is(tmp_path: Path) -> None:
    """Stages read ``data/sets/<profile>`` and such as folders; a clone must see the same there."""
    (tmp_path / "sets/cat").mkdir(parents=True)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  reads:\n    cmd: echo read\n    deps: [sets]\n")
    (tmp_path / "sets/cat/hr.npy").write_text("pixels")
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    dvc(tmp_path, "repro")
    hidden = (".cat.lock", ".cat.unfinished", ".cat.replaced", "cat/.hr.npy.1234abcd.partial")
    for stray in (*hidden, "cat/failed.partial.ipynb"):
        (tmp_path / "sets" / stray).write_text("")
    assert "Data and pipelines are up to date" in dvc(tmp_path, "repro")
    (tmp_path / "sets/old").mkdir()
    (tmp_path / "sets/old/hr.npy").write_text("of a set that params.yaml named once: `masksr verify` says so")
    assert "Running stage 'reads'" in dvc(tmp_path, "repro")
