"""Files that are there whole or not at all, and where downloads are kept."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from masksr import project
from masksr.errors import MasksrError
from masksr.locks import claim, remove_unclaimed


def cache_folder() -> Path:
    """Where downloads are kept for all projects: the variable MASKSR_CACHE, else ``~/.cache/masksr``."""
    return user_path(os.environ.get("MASKSR_CACHE") or Path.home() / ".cache/masksr")


def user_path(text: Path | str) -> Path:
    """A path as people write it, ``~`` for their home. Raises MasksrError where no file can have such a name."""
    problem: Exception | None = None
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except OSError as error:  # most of these, such as a file that is not there, are for the caller to tell
        problem = error if error.errno == errno.ENAMETOOLONG else None
    except (ValueError, RuntimeError) as error:  # a NUL, the home of nobody
        problem = error
    if problem:
        reason = getattr(problem, "strerror", None) or problem
        raise MasksrError(f"{str(text)[:200]!a} cannot be a path ({reason})")
    return path


def here_or_in_project(text: Path | str) -> Path:
    """A path as people write it: from the working directory or, where nothing lies there, from the project's folder.

    What params.yaml names is read by stages, which run in the project's folder, and by notebooks that an editor runs in
    theirs. Raises MasksrError as ``user_path`` does.
    """
    path = user_path(text)
    if not path.is_absolute() and not path.exists():
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
        raise MasksrError(f"the data folder {folder} does not exist; correct data.local in params.yaml or MASKSR_DATA")
    return folder


def weight_places(named: Path | str | None = None) -> list[Path]:
    """The folders in which files of published weights are looked for, in this order.

    The data folder (see ``data_folder``) and its ``weights``, where torchvision and pyiqa keep theirs, our own cache.
    """
    folder = data_folder(named)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or caches / "torch") / "hub"
    places = [folder, folder / "weights"] if folder else []
    return [*places, torch / "checkpoints", torch / "pyiqa", cache_folder() / "weights"]


def readable(size: int | None) -> str:
    """A number of bytes as people say it: ``67 MB``."""
    if size is None:
        return "size unknown"
    number = float(size)
    for unit in ("bytes", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises MasksrError where the disk of ``folder`` has less room than ``what`` needs in bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MasksrError(f"{what} needs {readable(needed)}, but {folder} has only {readable(free)} free; make room")


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that a reader, or the next run, never sees half of it. Makes missing folders.

    It is written beside its name, flushed to the disk and renamed. What a killed process has left of an earlier attempt
    is removed. Raises MasksrError when the disk refuses.
    """
    path, partial = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unclaimed(path.parent, f".{glob.escape(path.name)}.*.partial")
        with _beside(path) as file:
            partial = Path(file.name)
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise MasksrError(
            f"{path} could not be written ({error.strerror or error}); free some space or fix the rights of "
            f"{path.parent}, then run the same command again: nothing that was finished is lost"
        ) from None
    finally:
        if partial:
            partial.unlink(missing_ok=True)


def _beside(path: Path) -> BinaryIO:
    """A new file next to ``path``, open for writing and claimed."""
    while True:
        file = open(path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial"), "xb")  # noqa: SIM115
        if claim(file.fileno(), Path(file.name)):
            return file
        file.close()


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` outlive a power failure, where the system can."""
    with suppress(OSError):  # Windows opens no folders; some network disks do not sync them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
