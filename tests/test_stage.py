"""A stage's inputs must not change under it: DVC would record the new ones as what its result was made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from masksr.errors import MasksrError
from masksr.stage import as_stage

STAGE = {
    "cmd": "python -m masksr run notebooks/a.ipynb -o a.ipynb",
    "params": ["train", "masks.paper.k", {"data/registry.yaml": ["sets.own"]}],
    "deps": ["notebooks/a.ipynb", "masksr/models"],
    "outs": ["a.ipynb"],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    content = {
        ".dvc/config": "[core]\n    no_scm = true\n",
        "dvc.yaml": yaml.safe_dump({"stages": {"a": STAGE}}),
        "params.yaml": yaml.safe_dump({"train": {"steps": 1}, "masks": {"paper": {"k": 0.2, "b": 0.5}}}),
        "data/registry.yaml": yaml.safe_dump({"sets": {"own": 1, "other": 1}}),
        "notebooks/a.ipynb": "{}",
        "masksr/models/edsr.py": "",
        "masksr/report.py": "",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "a")
    monkeypatch.setattr("masksr.stage._end_with_parent", lambda: None)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("params.yaml", "steps: 1", "steps: 2", "train in params.yaml changed while a ran"),
        ("params.yaml", "k: 0.2", "k: 0.3", "masks.paper.k in params.yaml changed"),
        ("params.yaml", "k: 0.2", "kk: 0.2", "masks.paper.k in params.yaml changed"),
        ("params.yaml", "b: 0.5", "b: 0.6", ""),
        ("params.yaml", "steps: 1", "steps: [", "params.yaml.* changed while a ran"),
        ("params.yaml", "b: 0.5", "b: &b [1]\n    c: *b", "params.yaml changed while a ran"),
        ("data/registry.yaml", "own: 1", "own: 2", "sets.own in registry.yaml changed"),
        ("data/registry.yaml", "other: 1", "other: 2", ""),
        ("notebooks/a.ipynb", "{}", "{ }", "notebooks/a.ipynb changed"),
        ("masksr/models/edsr.py", "", "x = 1", "masksr/models/edsr.py changed"),
        ("masksr/report.py", "", "x = 1", ""),
    ],
)
def test_an_edit_counts_where_the_stage_depends_on_it(project: Path, file: str, old: str, new: str, says: str) -> None:
    def stage() -> None:
        with as_stage():
            text = (project / file).read_text()
            (project / file).write_text(text.replace(old, new, 1) if old else new)

    if says:
        with pytest.raises(MasksrError, match=f"{says}.*run dvc repro again"):
            stage()
    else:
        stage()


def test_a_new_file_in_a_folder_it_depends_on_and_a_stage_that_vanished(project: Path) -> None:
    with pytest.raises(MasksrError, match=r"masksr/models/new\.py changed"), as_stage():
        (project / "masksr/models/new.py").touch()
    with pytest.raises(MasksrError, match="what a is"), as_stage():
        (project / "params.yaml").write_text("{}")
        (project / "dvc.yaml").write_text("stages: {}")


def test_without_dvc_nothing_is_watched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE")
    with as_stage():
        (project / "params.yaml").write_text("{}")
