"""Files of a project: found, read with one clear error, written whole or not at all, used one at a time.

YAML is read by the parser that DVC uses: what is checked here is what DVC puts into commands. It refuses a
key that is there twice, and reads YAML 1.2: ``1e-4`` is a number and ``no`` a text.
"""

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


class MasksrError(RuntimeError):
    """Something the user can mend: its message is complete, fits one paragraph and says what to do."""


def project_root() -> Path:
    """The folder that holds ``dvc.yaml`` and ``params.yaml``, searched from the working directory upward.

    Every command and notebook may be started in any folder below it. Raises MasksrError where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    holds = "no folder from here upward holds dvc.yaml and params.yaml"
    raise MasksrError(f"{here} is not inside a masksr project: {holds}; change to the folder you cloned")


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises MasksrError where it cannot be read or is no YAML."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse_yaml(text: str, origin: str) -> Any:
    """Parse one YAML document. Raises MasksrError, which begins with ``origin``, where it is none."""
    from ruamel.yaml import YAML, YAMLError  # here, because it takes time

    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise MasksrError(f"{origin}: not valid YAML: {problem}{where}") from None


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that a reader, or the next run, never sees half of it.

    It is written beside its name, flushed to the disk and renamed; missing folders are made. Raises
    MasksrError when the disk refuses.
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
    """Print what is true of this run alone: it does not enter an executed notebook.

    Its lines begin with a carriage return, as progress bars do; ``masksr.notebook`` leaves both out.
    """
    print("\r" + text.replace("\n", "\n\r"), flush=True)


def alone(lock: Path, doing: str) -> AbstractContextManager:
    """Keep other processes with the same ``lock``, a file that stays, out of what is done ``with`` it.

    The lock ends with its process, however that ends. doing: what the others are at, to say so while waiting.
    """
    from filelock import FileLock, Timeout  # here, because reading parameters needs none

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(lock).acquire(timeout=0)
    except Timeout:
        notice(f"Another process is at {doing}; waiting for it to finish.")
        return FileLock(lock).acquire()
