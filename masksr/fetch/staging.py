"""A folder that is made beside its place and moved there once it is complete and recorded."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from masksr.documents import read_json
from masksr.errors import MasksrError
from masksr.fetch import archives
from masksr.files import file_digest, write_atomic

RECORD = "fetched.json"  # in the folder: what came from where, and the checksum of every file
UNFINISHED = ".unpacking"


def is_whole(folder: Path) -> bool:
    """Whether ``staged`` has put this folder in its place."""
    return (folder / RECORD).is_file()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While this lasts no other process makes ``folder``; what a killed one has left of it is gone.

    Raises MasksrError, before anything is downloaded, where something that ``staged`` has not made is in its place.
    """
    with FileLock(made(folder.parent) / f".{folder.name}.lock"):
        for left_over in folder.parent.glob(f".{folder.name}.*{UNFINISHED}"):
            shutil.rmtree(left_over)
        if folder.exists() and not is_whole(folder):
            raise MasksrError(f"{folder}: is there, but was not fetched by masksr; move it to where you want it")
        yield


@contextmanager
def staged(folder: Path, sources: Sequence[Path]) -> Iterator[Path]:
    """A folder to unpack ``sources`` to; without an error it becomes ``folder``, with a record of all its files."""
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        unfinished.mkdir()
        yield unfinished
        files = sorted(path for path in unfinished.rglob("*") if path.is_file())
        record = {
            "from": {source.name: file_digest(source) for source in sources},
            "files": {path.relative_to(unfinished).as_posix(): file_digest(path) for path in files},
        }
        write_atomic(unfinished / RECORD, json.dumps(record, indent=1).encode())
        os.rename(unfinished, folder)
    except OSError as error:
        raise MasksrError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space, or let MASKSR_CACHE name "
            "another place for the cache"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Take the files whose path is ``wanted`` out of an archive. Raises MasksrError, also where there are none."""
    # Pictures and weights hardly shrink in an archive: four times its size is already strange.
    if not archives.unpack(archive, folder, wanted, limit=4 * archive.stat().st_size + 100_000_000):
        raise MasksrError(
            f"{archive}: holds nothing of what is wanted from it; its content was made or named otherwise"
        )


def verify_folder(folder: Path, name: str) -> str:
    """Compare every file with the record; returns in words what was found. Raises MasksrError for the first fault."""
    remedy = f"remove {folder}, then: python -m masksr fetch {name}"
    try:
        files = read_json(folder / RECORD)["files"]
        if not all(isinstance(sha256, str) for sha256 in files.values()):
            raise TypeError
    except (FileNotFoundError, MasksrError, LookupError, TypeError, AttributeError):
        raise MasksrError(f"{folder / RECORD}: is damaged; {remedy}") from None
    for path, sha256 in files.items():
        if not (folder / path).is_file() or file_digest(folder / path) != sha256:
            raise MasksrError(f"{folder / path}: is missing or no longer what was fetched; {remedy}")
    return f"{folder}: {len(files)} files as fetched"


def first_that_works(ways: Sequence[Any], get: Callable[[Any], Path], problem: str, remedy: str = "") -> Path:
    """What ``get`` makes of the first way that works. Raises MasksrError with what was wrong with each."""
    if not ways:
        raise ValueError(f"{problem}: there is no way to try")
    problems = []
    for way in ways:
        try:
            return get(way)
        except MasksrError as error:
            problems.append(str(error))
    raise MasksrError(f"{problem}: {'; or: '.join(problems)}{remedy and '. Or '}{remedy}")


def made(folder: Path) -> Path:
    """The folder, made if it was missing. Raises MasksrError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MasksrError(f"{folder}: cannot be made ({error.strerror}); MASKSR_CACHE names another place") from None
    return folder
