"""Results go from one clone to another through git and a DVC remote, and there nothing has to run again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_pipeline import copy_sources

ROOT = Path(__file__).parents[1]
SOURCES = ["masksr", "notebooks", "data/registry.yaml", "data/paper.yaml", "dvc.yaml", "CITATION.cff"]
SOURCES += [".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", ".gitattributes"]
STAGES = ["params", "data@rocket", "idea"]  # the last makes something for git, the others for the remote


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", "MASKSR_OFFLINE": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    environment |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment.pop("MASKSR_DATA", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project under git with some of its stages run and pushed to a folder."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    project = tmp_path_factory.mktemp("two clones") / "the first"
    copy_sources(SOURCES, project)
    shutil.copy(ROOT / "profiles/mini.yaml", project / "params.yaml")
    run(project, "git", "init", "--quiet")
    dvc(project, "remote", "add", "--default", "storage", str(project.parent / "a remote"))
    assert "Running stage 'params'" in dvc(project, "repro", *STAGES)
    dvc(project, "push", *STAGES)
    run(project, "git", "add", ".")
    run(project, "git", "commit", "--quiet", "--message", "results")
    return project


def test_after_a_pull_nothing_runs_and_git_sees_no_change(first: Path) -> None:
    second = first.parent / "the second"
    run(first.parent, "git", "clone", "--quiet", str(first), str(second))
    assert (second / "results/mini/idea.ipynb").is_file() and not (second / "data/sets").exists()
    dvc(second, "pull", *STAGES)
    output = dvc(second, "repro", *STAGES)
    assert "Data and pipelines are up to date" in output and not re.findall("Running|Restored|Updating", output)
    for made in "data/sets/mini/rocket/hr.npy", "runs/mini/data/rocket.ipynb", "results/mini/idea.ipynb":
        assert (second / made).read_bytes() == (first / made).read_bytes()
    assert run(second, "git", "status", "--porcelain") == ""


def test_what_stages_make_is_in_git_or_with_the_remote_and_never_both(first: Path) -> None:
    tracked = set(run(first, "git", "ls-files").splitlines())
    kept, cached = set(), set()
    for stage in yaml.safe_load((first / "dvc.lock").read_text())["stages"].values():
        for out in stage["outs"]:
            (kept if out["path"].startswith("results/") else cached).add(out["path"])
    assert kept and kept <= tracked
    assert cached and not {file for file in tracked if file.startswith(tuple(cached))}


def test_what_a_process_leaves_is_no_data_but_a_forgotten_folder_is(tmp_path: Path) -> None:
    """Stages read ``data/sets/<profile>`` and ``runs/<profile>`` as folders; a clone must see the same there."""
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
