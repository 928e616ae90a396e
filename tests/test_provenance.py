"""What came from what: dvc.lock knows it for each profile, and verify names what is no longer so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import ROOT, dvc

from masksr import provenance
from masksr.__main__ import main
from masksr.io import MasksrError

STAGES = """  # a pack, and a table made from it
stages:
  data:
    matrix: {profile: ["${profile}"], set: [cat]}
    cmd: mkdir -p data/sets/mini/cat && cp masksr/code.py data/sets/mini/cat/hr.npy
    params: [profile, train.device]
    deps: [masksr]
    outs: [data/sets/mini/cat]
  table1:
    matrix: {profile: ["${profile}"]}
    cmd: cp data/sets/mini/cat/hr.npy results/mini/table1.csv
    params: [masks, train.steps_per_epoch]
    deps: [data/sets/mini/cat]
    outs: [results/mini/table1.csv: {cache: false}]
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two stages, with its results."""
    root, settings = tmp_path_factory.mktemp("a project"), (ROOT / "profiles/mini.yaml").read_text()
    files = {"params.yaml": settings, "profiles/mini.yaml": settings, "dvc.yaml": STAGES}
    files["masksr/code.py"] = "a = 1\n"
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "results/mini").mkdir(parents=True)
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "repro")
    return root


@pytest.fixture
def project(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(recorded, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def test_the_lock_keeps_each_profile_and_is_read_by_it(project: Path) -> None:
    edit("params.yaml", old="profile: mini", new="profile: other")(project)
    dvc(project, "repro", "data")
    lock = (project / "dvc.lock").read_text()
    stages = provenance.recorded_stages("mini", lock)
    assert stages.keys() == {"data@mini-cat", "table1@mini"}
    assert provenance.recorded_stages("other", lock).keys() == {"data@other-cat"}
    made = provenance.digests(stages["data@mini-cat"], "outs")
    assert made.keys() == {"data/sets/mini/cat"} and provenance.digests(stages["table1@mini"], "deps") == made
    asked = provenance.recorded_params(stages)
    assert asked.keys() == {"profile", "train.device", "masks", "train.steps_per_epoch"}
    assert asked["profile"] == "mini" and asked["masks"]["paper"]["k"] == 0.2
    assert provenance.recorded_stages("mini", "") == {}
    assert all(provenance.made_with().values())


def edit(*files: str, old: str = "\n", new: str = " \n") -> Callable[[Path], None]:
    def change(project: Path) -> None:
        for file in files:
            (project / file).write_text((project / file).read_text().replace(old, new))

    return change


PARAMETERS = edit("params.yaml", "profiles/mini.yaml", old="steps_per_epoch: 20", new="steps_per_epoch: 30")
UNREAD = edit("params.yaml", "profiles/mini.yaml", old="log_every: ", new="log_every: 1")
PACK = "table1@mini:\n    cmd: cp data/sets/mini/cat/hr.npy results/mini/table1.csv\n    deps:\n"
PACK += "    - path: data/sets/mini/cat\n      hash: md5\n      md5: "


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda project: shutil.rmtree(project / "data/sets"), ""),  # as in a clone
        (UNREAD, ""),
        (edit("results/mini/table1.csv"), "table1@mini: results/mini/table1.csv is modified"),
        (PARAMETERS, "parameters: train.steps_per_epoch is modified"),
        (edit("dvc.lock", old=PACK, new=f"{PACK}0"), "not the one that this was made from"),
    ],
    ids=["a clone", "what no stage reads", "a table", "parameters", "the record"],
)
def test_what_changed_is_named(project: Path, capsys, change: Callable, says: str) -> None:
    change(project)
    for _ in ("of params.yaml", "of another profile"):
        assert main(["verify", "mini"]) == bool(says)
        out, error = capsys.readouterr()
        assert (says or "mini: all files that are here are as recorded") in out
        assert ("differences in mini" in error) == bool(says)
        edit("params.yaml", old="profile: mini", new="profile: mine")(project)
    (project / "dvc.lock").unlink()
    with pytest.raises(MasksrError, match=r"dvc\.lock: has no stage of the profile mini; `dvc repro` with"):
        provenance.verify("mini")
