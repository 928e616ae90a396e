"""The pipeline as a user drives it: one `dvc repro` on tiny networks, then changes, and what runs again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from masksr.params import load
from masksr.paths import Paths

ROOT = Path(__file__).parents[1]
SOURCES = ["masksr", "notebooks", "data/registry.yaml", "data/paper.yaml", "dvc.yaml", ".dvc/config", ".dvcignore"]
SOURCES += ["CITATION.cff"]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def dvc(project: Path, *arguments: str, ok: bool = True, offline: bool = True) -> str:
    """Run dvc in ``project`` with this environment's programs first; its output."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "MASKSR_OFFLINE": str(int(offline))}
    environment.pop("MASKSR_DATA", None)
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=900)
    assert (done.returncode == 0) == ok, f"dvc {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def copy_sources(names: list[str], folder: Path) -> None:
    """Files and folders of this project, as a clone has them."""
    for source in names:
        target = folder / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(ROOT / source, target)


def copy_of_the_project(folder: Path, params: dict) -> Path:
    copy_sources(SOURCES, folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    dvc(folder, "config", "--local", "core.no_scm", "true")
    return folder


def tiny(profile: Path) -> dict:
    """A profile with the smallest networks and schedules, one model, one plain and one masked variant."""
    content = yaml.safe_load(profile.read_text())
    content["train"] |= {"device": "cpu", "steps_per_epoch": 2, "log_every": 1, "validate_every": 2}
    content["train"] |= {"validation_patches": 2, "checkpoint_every": 2}
    content["weights"]["vgg_width"] = 0.0625
    content["measures"]["also"] = []  # others need weights
    content["models"]["esrgan"]["generator"] |= {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    content["models"]["esrgan"] |= {"lr_patch": 16, "batch": 2}
    content["models"]["esrgan"]["discriminator"]["num_feat"] = 4
    content["models"]["esrgan"]["gan"] |= {"epochs": 1, "halve_at": []}
    content["models"]["esrgan"]["start"]["phases"][0] |= {"epochs": 1, "halve_at": []}
    content["table1"]["models"] = ["esrgan"]
    content["sweep"] |= {"k": [0.2], "b": [0.5]}
    content["data"]["test"] = ["cat"]
    content["figure4"]["crops"] = content["figure4"]["crops"][:1]
    return content


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.stem)
def test_every_profile_is_a_whole_pipeline(profile: Path, tmp_path: Path) -> None:
    """All stages resolve, and their outputs lie where ``masksr.paths`` looks for them."""
    project = copy_of_the_project(tmp_path, yaml.safe_load(profile.read_text()))
    stages = set(dvc(project, "stage", "list", "--name-only").split())
    planned = dvc(project, "repro", "--dry", "--force")  # without force DVC wants to hash what is not made yet
    assert {f"Running stage '{stage}'" for stage in stages} <= set(re.findall(r"Running stage '[^']+'", planned))
    params, paths = load(profile), Paths(project, profile.stem)
    for model in params.table1.models:
        assert {f"start@{model}-0", f"train@{model}-none-0", f"evaluate@{model}-paper-0"} <= stages
    outputs = {out.fs_path for stage in Repo(project).index.stages for out in stage.outs}
    k, b = params.sweep.k[0], params.sweep.b[0]
    expected = [
        paths.set(params.data.train),
        paths.set(params.data.test[0]),
        paths.start(params.table1.models[0], 0) / "generator.safetensors",
        paths.trained(params.table1.models[-1], "paper", 0) / "generator.safetensors",
        paths.trained(params.sweep.model, params.sweep.mask, 0, k, b) / "quality.csv",
        paths.ends / "quality.csv",
        *(paths.results / name for name in ("table1.csv", "quality.csv", "figure5.csv", "figure5.png", "report.html")),
    ]
    assert not {str(path) for path in expected} - outputs


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_of_the_project(tmp_path_factory.mktemp("a project"), tiny(ROOT / "profiles/mini.yaml"))
    dvc(project, "repro")
    return project


def change(project: Path, *keys: str, value: object) -> None:
    path = project / "params.yaml"
    content = section = yaml.safe_load(path.read_text())
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def test_one_command_makes_every_result(reproduced: Path) -> None:
    results = reproduced / "results/mini"
    table = pd.read_csv(results / "table1.csv")
    assert list(table.variant) == ["ESRGAN", "ESRGAN+Mask", "HR", "bicubic", "ESRGAN start"]
    assert table.metric.str.contains("stand-in").all(), "offline, PI must never pass for the official one"
    assert table.cat.notna().all()
    quality = pd.read_csv(results / "quality.csv")
    assert {"model", "mask", "seed", "set", "image", "niqe", "ma", "pi", "psnr", "ssim", "rmse"} <= set(quality)
    assert quality.groupby("model").pi.mean()["HR"] < quality.groupby("model").pi.mean()["bicubic"]
    figure5 = pd.read_csv(results / "figure5.csv")
    assert len(figure5) == 2 and figure5.metric.str.contains("stand-in").all()
    assert any("stand-in" in key for key in json.loads((results / "metrics.json").read_text())["esrgan-paper"])
    report = (results / "report.html").read_text()
    assert "stand-in" in report and "no evidence for or against the paper" in report
    assert not re.search(r'(src|href)="http(?!s://doi)', report)


def test_again_nothing_runs_and_no_tracked_file_is_touched(reproduced: Path) -> None:
    assert ran(dvc(reproduced, "repro")) == set()
    assert not list(reproduced.glob("**/.gitignore"))


def test_a_copy_pulls_everything_runs_nothing_and_verifies(reproduced: Path, tmp_path: Path) -> None:
    """What git has, and the rest by way of a remote; then every result is what its records say."""
    dvc(reproduced, "remote", "add", "--default", "storage", str(tmp_path / "a remote"))
    dvc(reproduced, "push")
    not_in_git = ["runs", ".cache", "sets", "weights", "cache", "tmp", "report.html", "__pycache__"]
    copy = tmp_path / "a copy"
    shutil.copytree(reproduced, copy, ignore=shutil.ignore_patterns(*not_in_git))
    assert "files and folders are not here" in verify(copy)
    dvc(copy, "pull")
    assert ran(dvc(copy, "repro")) == set()
    assert verify(copy) == "mini: all files that are here are as recorded\n"


def verify(project: Path) -> str:
    command = [sys.executable, "-m", "masksr", "verify"]
    return subprocess.run(command, cwd=project, text=True, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_one_stage_brings_what_it_needs(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path, tiny(ROOT / "profiles/mini.yaml"))
    assert ran(dvc(project, "repro", "weights")) == {"params", "data@photographs", "data@rocket", "weights"}


def test_metrics_and_plots_are_shown(reproduced: Path) -> None:
    assert "esrgan-paper" in dvc(reproduced, "metrics", "show")
    assert "static_plots" not in dvc(reproduced, "plots", "show") and list(reproduced.glob("dvc_plots/index.html"))


def test_a_new_k_runs_its_point_and_what_tells_of_it(reproduced: Path) -> None:
    change(reproduced, "sweep", "k", value=[0.2, 3, 3.0e-6])  # as DVC writes them: 3 and 3e-06
    expected = {"sweep@3-0.5-0", "evaluate_sweep@3-0.5-0", "figure5", "evidence", "summary", "report"}
    expected |= {"sweep@3e-06-0.5-0", "evaluate_sweep@3e-06-0.5-0"}
    # "params" and "questions" only read params.yaml again.
    assert ran(dvc(reproduced, "repro")) - {"params", "questions"} == expected
    assert set(pd.read_csv(reproduced / "results/mini/figure5.csv").k.dropna()) == {0.2, 3.0, 3e-6}


@pytest.mark.slow
def test_a_new_mask_is_a_new_variant_and_leaves_the_others_alone(reproduced: Path) -> None:
    change(reproduced, "table1", "masks", value=["none", "paper", "shuffled"])
    stages = ran(dvc(reproduced, "repro"))
    assert {s for s in stages if "@" in s} == {"train@esrgan-shuffled-0", "evaluate@esrgan-shuffled-0"}
    assert "ESRGAN+Mask (shuffled)" in (reproduced / "results/mini/table1.md").read_text()


def test_a_sweep_point_that_equals_a_variant_was_trained_once(reproduced: Path) -> None:
    point, variant = (
        json.loads((reproduced / "runs/mini" / run / "training.json").read_text())
        for run in ("sweep/k0.2-b0.5-s0", "variants/esrgan-paper-s0")
    )
    assert point == variant


@pytest.mark.parametrize(
    ("keys", "message"),
    [(["masks", "paper", "kk"], r"masks.paper.kk: unknown key .did you mean 'k'"), (["swep"], "swep: unknown key")],
)
def test_a_misspelt_key_stops_everything_with_one_line(reproduced: Path, keys: list[str], message: str) -> None:
    before = (reproduced / "params.yaml").read_text()
    change(reproduced, *keys, value=1.0)
    output = dvc(reproduced, "repro", ok=False)
    (reproduced / "params.yaml").write_text(before)
    assert re.search(message, output)
    assert ran(output) == {"params"} and "Traceback" not in output
