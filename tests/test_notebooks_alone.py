"""Notebooks as VS Code and JupyterLab run and save them: cell by cell, in their folder, no pipeline."""

import copy
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from tiny_project import ROOT, copy_sources, run, tiny, write_files, yaml

from masksr import params, weights
from masksr.fetch.find import build_pack, fetch_pretrained
from masksr.io import MasksrError, file_digest
from masksr.paths import Paths, find_data_folder

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_BY_CELL = "import sys, notebook_cells\nfor name in sys.argv[1:]: notebook_cells.run_as_jupyter(name)"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_editors_find_a_kernel_and_a_clean_source(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert content["metadata"]["kernelspec"] == kernel and content["nbformat"] == 4
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    tagged = [n for n, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged in ([], [0]), "the parameters cell is the first that runs, so that a reader finds it"
    assert all(len(cell["source"]) <= 45 for cell in code), "a cell fits a screen"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_that_was_only_opened_keeps_its_bytes(notebook: Path, tmp_path: Path) -> None:
    shutil.copy(notebook, tmp_path / "n.ipynb")
    manager = LargeFileManager(root_dir=str(tmp_path), pre_save_hook="masksr.tools.lab.keep_metadata")
    model = manager.get("n.ipynb")
    model["content"]["metadata"]["language_info"] |= {"version": "3.13.0", "mimetype": "text/x-python"}
    model["content"]["metadata"]["widgets"] = {}
    for cell in model["content"]["cells"]:
        cell["metadata"] |= {"trusted": True, "editable": True}
    manager.save(copy.deepcopy(model), "n.ipynb")
    assert (tmp_path / "n.ipynb").read_bytes() == notebook.read_bytes()
    model["content"]["cells"][0]["source"] += " more"
    manager.save(model, "n.ipynb")
    assert " more" in (tmp_path / "n.ipynb").read_text()


@pytest.mark.slow
def test_they_run_where_editors_run_them_and_write_what_stages_write(tmp_path: Path, monkeypatch) -> None:
    project = copy_sources(tmp_path / "a project")
    yaml.dump(tiny(), project / "params.yaml")
    monkeypatch.chdir(project)
    settings = params.load()
    paths = Paths.of(settings)
    for name in (settings.data.train, settings.data.validation, *settings.data.test):
        build_pack(name, paths.set(name))
    weights.prepare_vgg19(settings, paths)

    def digests() -> dict[str, str]:  # of all files but those that no one calls a result
        files = {path.relative_to(project).as_posix(): path for path in project.rglob("*") if path.is_file()}
        mine = {name for name in files if not re.search(r"\.lock$|^\.cache/", name)}
        return {name: file_digest(files[name]) for name in mine}

    def run_cells(folder: Path, *names: str) -> None:  # in one process, as if the kernel were restarted
        environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "IPYTHONDIR": str(tmp_path)}
        run(folder, sys.executable, "-c", CELL_BY_CELL, *names, **environment)

    before = digests()
    run_cells(project / "notebooks", "10_data", "12_start", "13_train", "24_questions")
    made, outputs = digests(), re.sub(r"\$\{.*?\}", "*", (project / "dvc.yaml").read_text())
    written = {name for name in made if made[name] != before.get(name)}
    made_here = {f"runs/mini/{of}/history.csv" for of in ("variants/esrgan-paper-s0", "start/esrgan-s0")}
    assert made_here < written
    for name in written:
        pattern = re.sub(r"(?<=runs/)mini|esrgan(?=-)|paper(?=-)|(?<=-s)0", "*", name)
        folder = pattern.rpartition("/")[0]  # a training is one folder to DVC
        assert pattern in outputs or f"- {folder}:" in outputs, f"{name} is no output of a stage"
    run_cells(project, "12_start")
    assert digests() == made, "in the project's folder, and again, it writes the same"


def test_what_params_yaml_names_is_found_from_the_folder_notebooks(tmp_path: Path, monkeypatch) -> None:
    files = ("dvc.yaml", "params.yaml", "notebooks/a.ipynb", "my_data/mine.pt")
    project = write_files(tmp_path / "project", dict.fromkeys(files, ""))
    monkeypatch.chdir(project / "notebooks")
    assert find_data_folder("my_data") == project / "my_data"
    assert fetch_pretrained("my_data/mine.pt") == project / "my_data/mine.pt"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MasksrError, match="the data folder my_data does not exist"):
        find_data_folder("my_data")
