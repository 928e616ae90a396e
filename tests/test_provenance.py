from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from masksr import provenance
from masksr.errors import MasksrError
from masksr.params import Schedule


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


def test_sha256_of_a_file_is_the_standard_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example B.1
    assert provenance.sha256(tmp_path / "abc") == expected


def test_sha256_of_a_folder_follows_names_and_contents_only(tmp_path):
    def folder(name, files):
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return provenance.sha256(tmp_path / name)

    reference = folder("a", {"x": "1", "sub/y": "2"})
    assert folder("b", {"sub/y": "2", "x": "1", ".gitignore": "/x"}) == reference
    assert folder("c", {"x": "1", "sub/y": "3"}) != reference
    assert folder("d", {"x": "1", "sub/z": "2"}) != reference
    assert folder("e", {"x": "1", "sub/y": "2", "z": ""}) != reference


def test_a_missing_input_is_one_clear_error(tmp_path):
    with pytest.raises(MasksrError, match=r"pack.*does not exist.*dvc repro"):
        provenance.record({"pack": tmp_path / "pack"}, {})


def test_record_is_complete_and_writes_the_same_bytes(tmp_path, inside):
    used = {"schedule": Schedule(epochs=2, learning_rate=1e-3, halve_at=[1]), "folder": Path("a/b"), "pair": (1, 2)}
    made = provenance.record({"params": inside / "params.yaml", "code": inside / "masksr"}, used)
    provenance.write_json(tmp_path / "deep/one.json", made)
    provenance.write_json(tmp_path / "two.json", dict(reversed(made.items())))
    text = (tmp_path / "deep/one.json").read_text()
    assert text == (tmp_path / "two.json").read_text()
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["one.json"]
    read = json.loads(text)
    assert read["params"]["schedule"] == {"epochs": 2, "learning_rate": 1e-3, "halve_at": [1]}
    assert read["inputs"]["params"] == provenance.sha256(inside / "params.yaml")
    assert read["packages"]["torch"] and read["packages"]["numpy"]
    assert str(tmp_path) not in text


def test_footer_facts_are_text_for_each_input(inside):
    facts = provenance.footer_facts(provenance.record({"params.yaml": inside / "params.yaml"}, {}))
    assert all(isinstance(value, str) and value for value in facts.values())
    assert "torch" in facts["Packages"]
    assert any("params.yaml" in name for name in facts)


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
    made = provenance.record({}, {})
    assert made["commit"] is None
    assert provenance.footer_facts(made)["Commit"] == "not under version control"


def test_import_loads_no_heavy_package():
    check = "import sys, masksr.provenance; sys.exit(bool({'torch', 'pyiqa', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
