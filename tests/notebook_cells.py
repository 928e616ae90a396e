"""Cells of the notebooks, run in a test as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run_cells(notebook: str, *ids: str, **parameters: Any) -> dict[str, Any]:
    """Run the code cells of these ids, or all, in one namespace, with these parameters; return its names."""
    names: dict[str, Any] = {}
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and (not ids or cell["id"] in ids):
            exec("".join(cell["source"]), names)
            names |= parameters if "parameters" in cell["metadata"].get("tags", []) else {}
    return names
