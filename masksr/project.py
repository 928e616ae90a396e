"""Where the project lies: every command and notebook may be started in any folder below it."""

from __future__ import annotations

from pathlib import Path

from masksr.errors import MasksrError


def root() -> Path:
    """The folder that holds ``dvc.yaml`` and ``params.yaml``, searched from the working directory upward.

    Raises MasksrError where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise MasksrError(
        f"{here} is not inside a masksr project: no folder from here upward holds dvc.yaml and params.yaml; "
        "change to the folder you cloned and try again"
    )
