"""Files of a project: find them, read them with one clear error, write them whole or not at all, lock them.

YAML is read by the parser that DVC uses, so that what is checked here is what DVC puts into commands. It
refuses duplicate keys and reads YAML 1.2: ``1e-4`` is a number and ``no`` a string.
"""

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


class MasksrError(RuntimeError):
    """An error that the user can fix: its message is complete, fits one paragraph and says what to do."""


def project_root() -> Path:
    """Find the folder with ``dvc.yaml`` and ``params.yaml``, from the working directory upward.

    Commands and notebooks may therefore start in any folder below it. Raises MasksrError if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    holds = "no folder from here upward holds dvc.yaml and params.yaml"
    raise MasksrError(f"{here} is not inside a masksr project: {holds}; change to the folder you cloned")


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises MasksrError where it cannot be read or is not YAML."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse_yaml(text: str, origin: str) -> Any:
    """Parse one YAML document. Raises MasksrError, beginning with ``origin``, where it is not valid."""
    from ruamel.yaml import YAML, YAMLError  # here, because importing it takes time

    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise MasksrError(f"{origin}: not valid YAML: {problem}{where}") from None


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that no reader, and no later run, ever sees half of it.

    The pieces are written to a file beside it, flushed to the disk and renamed; missing folders are made.
    Raises MasksrError when that fails.
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


def notice(text: str) -> None:
    """Print what is true of this run alone, and is kept out of executed notebooks.

    Its lines begin with a carriage return, as progress bars do; ``masksr.notebook`` leaves both out.
    """
    print("\r" + text.replace("\n", "\n\r"), flush=True)


def alone(lock: Path, doing: str) -> AbstractContextManager:
    """Acquire ``lock``, a file that stays, to keep other processes out of what is done ``with`` it.

    It is released when its process ends, however it ends. doing: what others may be at, named while waiting.
    """
    from filelock import FileLock, Timeout  # here, because reading parameters needs no lock

    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(lock).acquire(timeout=0)
    except Timeout:
        notice(f"Another process is at {doing}; waiting for it to finish.")
        return FileLock(lock).acquire()
    except OSError as error:
        remedy = "get the right to write there, or set MASKSR_CACHE if it is the cache"
        raise MasksrError(f"{lock.parent}: {error.strerror or error}; {remedy}") from None
