"""What came from what: provenance.json is dvc.lock as it was, and verify names what is no longer so."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import ROOT, dvc, run

from masksr import params, provenance
from masksr.__main__ import main
from masksr.io import MasksrError
from masksr.paths import Paths

REPORT = "from masksr import params as p, paths, provenance as v; where = paths.Paths.of(s := p.load()); "
REPORT += "v.write_provenance(v.collect_provenance(s, where), where)"
STAGES = f"""  # a pack, a table made from it, and the page, which writes the record
stages:
  data:
    cmd: mkdir -p data/sets/mini/cat && cp masksr/code.py data/sets/mini/cat/hr.npy
    params: [profile]
    deps: [masksr]
    outs: [data/sets/mini/cat]
  table1:
    cmd: cp data/sets/mini/cat/hr.npy results/mini/table1.csv
    deps: [data/sets/mini/cat]
    outs: [results/mini/table1.csv: {{cache: false}}]
  report:
    cmd: {sys.executable} -c '{REPORT}'
    deps: [results/mini/table1.csv]
    outs: [results/mini/provenance.json: {{cache: false}}]
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three stages, committed, with its results."""
    root, settings = tmp_path_factory.mktemp("a project"), (ROOT / "profiles/mini.yaml").read_text()
    files = {"params.yaml": settings, "profiles/mini.yaml": settings, "dvc.yaml": STAGES, "masksr/code.py": "a = 1\n"}
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "results/mini").mkdir(parents=True)
    dvc(root, "init", "-q", "--no-scm")
    for words in ("init -q", "add masksr dvc.yaml", "commit -qm code"):
        run(root, "git", *words.split())
    dvc(root, "repro", PYTHONPATH=str(ROOT))
    return root


@pytest.fixture
def project(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(recorded, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def test_the_record_holds_what_dvc_knows_and_equal_runs_write_equal_bytes(project: Path) -> None:
    file = project / "results/mini/provenance.json"
    recorded = json.loads(file.read_text())
    stages = recorded["stages"]
    assert list(stages) == ["data", "table1", "report"] and stages["table1"]["deps"] == stages["data"]["outs"]
    assert "local" not in recorded["params"]["data"] and recorded["params"]["profile"] == "mini"
    assert recorded["made_with"]["torch"] and len(recorded["made_with"]["commit"]) == 12
    assert str(project) not in file.read_text()
    before = file.read_bytes()
    for words in ("add results", "commit -qm results"):
        run(project, "git", *words.split())
    paths = Paths.of(settings := params.load())
    provenance.write_provenance(provenance.collect_provenance(settings, paths), paths)
    assert file.read_bytes() == before
    (project / "dvc.lock").unlink()  # a project that never ran
    assert provenance.collect_provenance(settings, paths)["stages"] == {}


def edit(*files: str, old: str = "\n", new: str = " \n") -> Callable[[Path], None]:
    return lambda project: [(project / f).write_text((project / f).read_text().replace(old, new)) for f in files]


PARAMETERS = edit("params.yaml", "profiles/mini.yaml", old="steps_per_epoch: 20", new="steps_per_epoch: 30")
PACK = '"deps": {\n        "data/sets/mini/cat": "'


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda project: shutil.rmtree(project / "data/sets"), ""),  # as in a clone
        (edit("results/mini/table1.csv"), "table1: results/mini/table1.csv is modified"),
        (PARAMETERS, "parameters: train is modified"),
        (edit("results/mini/provenance.json", old=PACK, new=f"{PACK}0"), "not the one that this was made from"),
    ],
    ids=["a clone", "a table", "parameters", "the record"],
)
def test_what_changed_is_named(project: Path, capsys, change: Callable, says: str) -> None:
    change(project)
    for _ in ("of params.yaml", "of another profile"):
        assert main(["verify", "mini"]) == bool(says)
        out, error = capsys.readouterr()
        assert (says or "mini: all files that are here are as recorded") in out
        assert ("differences in mini" in error) == bool(says)
        edit("params.yaml", old="profile: mini", new="profile: mine")(project)
    (project / "results/mini/provenance.json").write_text("{}")
    for profile in ("mini", "other"):
        with pytest.raises(MasksrError, match=rf"results/{profile}/provenance\.json: not there, or of an earlier"):
            provenance.verify(profile)


def test_commit_is_the_last_one_of_the_code(project: Path, tmp_path: Path, monkeypatch) -> None:
    clean = provenance.commit()
    (project / "results/other.csv").write_text("1")
    assert provenance.commit() == clean
    (project / "masksr/code.py").write_text("b\n")
    assert provenance.commit() == f"{clean} with local changes"
    shutil.rmtree(project / ".git")
    run(tmp_path, "git", "init", "-q")  # somebody's repository around the project
    assert provenance.commit() is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert provenance.commit() is None
