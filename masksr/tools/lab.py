"""What ``make lab`` adds to JupyterLab: a notebook that was only opened is saved with the same bytes.

Editors write their version of Python, and what they know of cells, into the metadata of notebooks that they
save. Outputs stay: the stage ``check`` ignores them, and ``make lint`` names them.
"""

from typing import Any

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def keep_metadata(model: dict[str, Any], path: str, **_: Any) -> None:
    """The ``pre_save_hook`` of Jupyter's contents manager. model: the file as it is about to be written."""
    if model["type"] != "notebook" or model["content"]["nbformat"] != 4:
        return
    executed = path.strip("/").startswith(("runs/", "results/"))  # these say how to highlight code
    language = METADATA["language_info"] | ({"pygments_lexer": "ipython3"} if executed else {})
    model["content"]["metadata"] = METADATA | {"language_info": language}
    for cell in model["content"]["cells"]:
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key == "tags"}
