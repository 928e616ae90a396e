"""Notebooks as VS Code and JupyterLab run them: cell by cell, in the folder ``notebooks``, without the pipeline."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_project import copy_sources, tiny

from masksr import params
from masksr.fetch.find import build_pack, find_pretrained
from masksr.io import MasksrError, file_digest
from masksr.paths import Paths, find_data_folder
from masksr.tools import weights

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_BY_CELL = "import sys, notebook_cells\nfor name in sys.argv[1:]: notebook_cells.run_as_jupyter(name)"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_editors_find_a_kernel_and_a_clean_source(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert content["nbformat"] == 4 and len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    tagged = [n for n, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged in ([], [0]), "the parameters cell is the first that runs, so that a reader finds it"
    assert all(len(cell["source"]) <= 45 for cell in code), "a cell fits a screen"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny networks; data and weights are there, as the first stages leave them."""
    project = tmp_path_factory.mktemp("a project")
    copy_sources(["notebooks", "data/registry.yaml", "data/paper.yaml", "dvc.yaml"], project)
    (project / "params.yaml").write_text(yaml.safe_dump(tiny(ROOT / "profiles/mini.yaml"), sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        settings = params.load()
        paths = Paths.of(settings)
        for name in (settings.data.train, settings.data.validation, *settings.data.test):
            build_pack(name, paths.set(name))
        weights.prepare_vgg19(settings, paths)
    return project


def digests(project: Path) -> dict[str, str]:
    """Of all files but those that no one calls a result."""
    files = (path for path in project.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    names = {path.relative_to(project).as_posix(): file_digest(path) for path in files}
    return {name: digest for name, digest in names.items() if not name.startswith(".cache/")}


def run(folder: Path, names: list[str], home: Path) -> None:
    """From the top, in one process (as if the kernel were restarted, but without waiting for it)."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "IPYTHONDIR": str(home)}
    environment["MASKSR_OFFLINE"] = "1"
    command = [sys.executable, "-c", CELL_BY_CELL, *names]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_they_run_where_editors_run_them_and_write_only_what_their_stages_write(project: Path, tmp_path: Path) -> None:
    before = digests(project)
    run(project / "notebooks", ["10_data", "12_start", "13_train", "24_questions"], tmp_path)
    made = digests(project)
    outputs = re.sub(r"\$\{.*?\}", "*", (project / "dvc.yaml").read_text())
    written = {name for name in made if made[name] != before.get(name)}
    assert {"runs/mini/variants/esrgan-paper-s0/history.csv", "runs/mini/start/esrgan-s0/history.csv"} < written
    for name in written:
        pattern = re.sub(r"(?<=runs/)mini|esrgan(?=-)|paper(?=-)|(?<=-s)0", "*", name)
        assert pattern in outputs, f"{name} is no output of a stage"
    run(project, ["12_start"], tmp_path)
    assert digests(project) == made, "in the project's folder, and again, it writes the same"


def test_what_params_yaml_names_is_found_from_the_folder_of_the_notebooks(project: Path, monkeypatch) -> None:
    """A stage runs in the project's folder; an editor runs its notebook in another one."""
    (project / "my_data").mkdir()
    (project / "my_data/mine.pt").touch()
    monkeypatch.chdir(project / "notebooks")
    assert find_data_folder("my_data") == project / "my_data"
    assert find_pretrained("my_data/mine.pt") == project / "my_data/mine.pt"
    monkeypatch.chdir(project.parent)
    with pytest.raises(MasksrError, match="the data folder my_data does not exist"):
        find_data_folder("my_data")
