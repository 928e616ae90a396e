from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from masksr import provenance


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A project's folder, which is the working directory."""
    root = tmp_path / "project"
    (root / "masksr").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "masksr/code.py"):
        (root / name).write_text("a\n")
    monkeypatch.chdir(root)
    return root


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    try:
        subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")


def test_facts_are_complete_plain_and_in_words(inside):
    made = provenance.made_with()
    assert json.loads(json.dumps(made)) == made
    assert made["packages"]["torch"] and made["packages"]["numpy"]
    words = provenance.in_words(made)
    assert all(isinstance(value, str) and value for value in words.values())
    assert f"torch {made['packages']['torch']}" in words["Packages"]


def test_commit_tells_changed_source_from_new_results(inside):
    git(inside, "init", "-q")
    assert provenance.commit() is None  # no commit yet
    git(inside, "add", ".")
    git(inside, "commit", "-qm", "first")
    clean = provenance.commit()
    assert clean is not None and len(clean) == 12
    (inside / "results").mkdir()
    (inside / "results/table.csv").write_text("1")
    assert provenance.commit() == clean
    (inside / "masksr/code.py").write_text("b\n")
    assert provenance.commit() == f"{clean} with local changes"


def test_commit_of_a_surrounding_repository_is_not_ours(inside):
    git(inside.parent, "init", "-q")
    git(inside.parent, "commit", "-q", "--allow-empty", "-m", "somebody's")
    assert provenance.commit() is None


def test_nothing_fails_without_git_or_project(tmp_path, inside, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert provenance.commit() is None
    monkeypatch.chdir(tmp_path)
    made = provenance.made_with()
    assert made["commit"] is None
    assert provenance.in_words(made)["Commit"] == "not under version control"


def test_import_loads_no_heavy_package():
    check = "import sys, masksr.provenance; sys.exit(bool({'torch', 'pyiqa', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
