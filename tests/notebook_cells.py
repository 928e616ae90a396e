"""Cells of the notebooks, run in a test as they are."""

import json
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from tiny_project import ROOT

NOTEBOOKS = ROOT / "notebooks"


def code_cells(notebook: str) -> list[dict[str, Any]]:
    content = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: str, *ids: str, **parameters: Any) -> dict[str, Any]:
    """Run the code cells of these ids, or all, in one namespace that has these names; return all its names."""
    names = dict(parameters)
    for cell in code_cells(notebook):
        if not ids or cell["id"] in ids:
            exec("".join(cell["source"]), names)
            names |= parameters if "parameters" in cell["metadata"].get("tags", []) else {}
    return names


def run_as_jupyter(notebook: str) -> list[str]:
    """Run all cells as Jupyter does, and return what each shows as its last value, of the kind Markdown."""
    shell, shown = InteractiveShell.instance(), []
    for cell in code_cells(notebook):
        done = shell.run_cell("".join(cell["source"]))
        done.raise_error()
        shown.append(done.result.data if done.result else "")
    return shown
