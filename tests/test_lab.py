"""JupyterLab's autosave, by the contents manager that it saves with."""

import copy
import shutil
from pathlib import Path

import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager

from masksr.tools.lab import keep_metadata

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


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


def test_other_files_are_saved_as_they_are() -> None:
    model = {"type": "file", "content": "a,b"}
    keep_metadata(model, path="t.csv", contents_manager=None)
    assert model == {"type": "file", "content": "a,b"}
