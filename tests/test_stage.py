"""Around a stage's work: what it depends on is written down, and no edit slips while it runs."""

import json
from pathlib import Path

import nbformat
import pytest
import yaml
from tiny_project import ROOT, write_files
from tiny_project import yaml as written

from masksr.io import MasksrError
from masksr.stage import describe_inputs, edited_inputs, guard_inputs, stage_number, write_inputs

STAGE = {"deps": ["data/paper.yaml"], "cmd": "true", "outs": ["a.ipynb"], "matrix": {"p": ["mini"], "mask": ["paper"]}}
STAGE["deps"] += [f"runs/mini/{file}" for file in ("code/n.txt", "params/models", "params/masks/${item.mask}.json")]
STAGE["deps"] += ["runs/mini/sources/sets/cat.json"]
CONTENT = {
    ".dvc/config": "[core]\n    no_scm = true\n",
    "dvc.yaml": yaml.safe_dump({"stages": {"a": STAGE}}, sort_keys=False),
    "params.yaml": (ROOT / "profiles/mini.yaml").read_text(),
    "data/registry.yaml": (ROOT / "data/registry.yaml").read_text(),
    "data/paper.yaml": "a: 1\n", "requirements.lock": "torch==2.9.0\n",
    "masksr/notebook.py": "", "masksr/models/edsr.py": "x = 0\n", "masksr/report.py": "",
}


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project after its stage ``check``, whose stage ``a@mini-paper``, of the notebook ``n``, is running."""
    root = write_files(tmp_path / "a project", CONTENT | {"notebooks/n.ipynb": ""})
    cell = nbformat.v4.new_code_cell("from masksr.models import edsr")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), root / "notebooks/n.ipynb")
    write_inputs(root, root / "runs/mini")
    monkeypatch.setenv("DVC_STAGE", "a@mini-paper")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(("key", "wrong", "says"), [
    ("temple, ", "tempel, ", "no data set 'tempel' .*did you mean 'temple'"),
    ("  random: 2 ", "  random: 20 ", r"figure4\.random: asks for 20 images, of \d; lower it"),
])
def test_what_the_registry_lacks_is_told_before_anything_runs(staged: Path, key: str, wrong: str, says: str) -> None:
    assert key in CONTENT["params.yaml"]
    (staged / "params.yaml").write_text(CONTENT["params.yaml"].replace(key, wrong))
    with pytest.raises(MasksrError, match=says):
        describe_inputs(staged, code=())


def test_a_stage_says_which_of_how_many_it_is(staged: Path) -> None:
    assert stage_number(staged, "a@mini-paper") == "[1 of 1] a@mini-paper"


def test_each_part_of_the_settings_has_a_file_that_says_it(staged: Path) -> None:
    folder = staged / "runs/mini"
    texts = describe_inputs(staged)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == texts.keys()
    parts = {name: json.loads(text) for name, text in texts.items() if name.endswith("json")}
    settings = written.load(CONTENT["params.yaml"])
    assert parts["params/masks/paper.json"]["k"] == 0.2
    assert parts["params/sweep_mask.json"].keys() == parts["params/masks/paper.json"].keys() - {"k", "b"}
    for model, recipe in settings["models"].items():
        told = parts[f"params/models/{model}.json"].keys() | parts[f"params/starts/{model}.json"].keys()
        assert told == recipe.keys()
    unread = {"log_every", "validate_every", "checkpoint_every"}
    assert parts["params/train.json"].keys() == settings["train"].keys() - unread
    assert not edited_inputs(staged, folder)
    (folder / "params/masks/old.json").write_text("{}")
    assert edited_inputs(staged, folder) == {"params/masks/old.json"}
    (folder / "params/masks/old.json").unlink()
    (staged / "notebooks/n.ipynb").write_text("{")
    with pytest.raises(MasksrError, match=r"n\.ipynb: not a notebook"):
        write_inputs(staged, folder)


@pytest.mark.parametrize(("file", "old", "new", "says"), [
    ("params.yaml", "    k: 0.2\n", "    k: 0.3\n", "masks.paper in params.yaml changed while a@mini-paper ran"),
    ("params.yaml", "constant: {kind: constant, k: 0.2", "constant: {kind: constant, k: 0.3", ""),
    ("params.yaml", "title: EDSR", "title: E", "models.edsr in params.yaml changed while"),
    ("params.yaml", "title: EDSR", "title: [", "params.yaml: not valid YAML"),
    ("params.yaml", "log_every: ", "log_every: 1", ""),
    ("data/registry.yaml", "A cat's face", "Cat", "sets.cat in params.yaml or data/registry.yaml changed while"),
    ("data/registry.yaml", "title: Set14", "title: Set 14", ""),
    ("masksr/models/edsr.py", "0", "1", r"masksr/models/edsr\.py changed while"),
    ("masksr/report.py", "", "x = 1", ""),
    ("notebooks/n.ipynb", "import edsr", "import edsr as e", r"notebooks/n\.ipynb changed while"),
])
def test_an_edit_counts_where_the_stage_depends_on_it(staged: Path, monkeypatch, file, old, new, says: str) -> None:
    before = (staged / file).read_text()
    after = before.replace(old, new) if old else new
    assert after != before

    def edit() -> None:
        with guard_inputs(staged, "n"):
            (staged / file).write_text(after)

    if says:
        with pytest.raises(MasksrError, match=says):
            edit()
        assert not (staged / "results").exists()
        since = says.replace("while", "since the stage check").removesuffix(" a@mini-paper ran")
        with pytest.raises(MasksrError, match=since), guard_inputs(staged, "n"):
            pytest.fail("it began")
        (staged / file).write_text(before)
        monkeypatch.delenv("DVC_STAGE")  # outside of DVC nothing is watched
    edit()
