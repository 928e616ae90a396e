"""Files that are there whole or not at all, and where downloads are kept."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import yaml

from masksr.errors import MasksrError


def cache_folder() -> Path:
    """Where downloads are kept for all projects: the variable MASKSR_CACHE, else ``~/.cache/masksr``."""
    return Path(os.environ.get("MASKSR_CACHE") or Path.home() / ".cache/masksr").expanduser()


def data_folder(named: Path | str | None = None) -> Path | None:
    """The user's folder of data and weights: the one named, else that of the variable MASKSR_DATA, else None.

    Raises MasksrError where it does not exist.
    """
    named = named or os.environ.get("MASKSR_DATA")
    folder = Path(named).expanduser() if named else None
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


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises MasksrError where it cannot be read or is not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except yaml.YAMLError as error:
        raise MasksrError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that a reader, or the next run, never sees half of it. Makes missing folders.

    It is written beside its name, flushed to the disk and renamed. Raises MasksrError when the disk refuses.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise MasksrError(
            f"{path} could not be written ({error.strerror or error}); free some space or fix the rights of "
            f"{path.parent}, then run the same command again: nothing that was finished is lost"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
