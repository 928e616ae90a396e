"""Files that are there whole or not at all, and where downloads are kept."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from masksr import project
from masksr.errors import MasksrError


def user_path(text: Path | str) -> Path:
    """A path as people write it, ``~`` for their home."""
    return Path(os.path.expanduser(text))


def here_or_in_project(text: Path | str) -> Path:
    """A path as people write it: from the working directory or, where nothing is there, from the project.

    What params.yaml names is read by stages, which run in the project's folder, and by notebooks that an editor
    runs in theirs.
    """
    path = user_path(text)
    if not path.exists():
        with suppress(MasksrError):  # outside of a project
            if (inside := project.root() / path).exists():
                return inside
    return path


def data_folder(named: Path | str | None = None) -> Path | None:
    """The user's folder of data and weights: the one named, else that of the variable MASKSR_DATA, else None.

    Raises MasksrError where it does not exist.
    """
    named = named or os.environ.get("MASKSR_DATA")
    folder = here_or_in_project(named) if named else None
    if folder and not folder.is_dir():
        remedy = "correct data.local in params.yaml or MASKSR_DATA"
        raise MasksrError(f"the data folder {folder} does not exist; {remedy}")
    return folder


def cache_folder() -> Path:
    """Where downloads are kept for all projects: the variable MASKSR_CACHE, else ``~/.cache/masksr``."""
    return user_path(os.environ.get("MASKSR_CACHE") or "~/.cache/masksr")


def weight_places(named: Path | str | None = None) -> list[Path]:
    """The folders in which files of published weights are looked for, in this order.

    The data folder (see ``data_folder``) and its ``weights``, where torchvision and pyiqa keep theirs, our cache.
    """
    folder = data_folder(named)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or caches / "torch") / "hub"
    places = [folder, folder / "weights"] if folder else []
    return [*places, torch / "checkpoints", torch / "pyiqa", cache_folder() / "weights"]


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that a reader, or the next run, never sees half of it. Makes missing folders.

    It is written beside its name, flushed to the disk and renamed. Raises MasksrError when the disk refuses.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        problem = f"{path} could not be written ({error.strerror or error})"
        remedy = f"free some space or fix the rights of {path.parent}, then run the same command again"
        raise MasksrError(f"{problem}; {remedy}: nothing that was finished is lost") from None
