"""Whether a file is the one that was meant, and a memory of it, so that gigabytes are not read on every call.

``checksums.json`` in the folder of the files holds, for each name: sha256, bytes, mtime_ns when it was verified, the
address it came from and the date it was first seen. Where nobody publishes a checksum, the first download is the
standard for all later ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from masksr.documents import read_json
from masksr.errors import MasksrError
from masksr.fetch.registry import File
from masksr.files import write_atomic

RECORD = "checksums.json"


def verify(file: File, path: Path, folder_of_record: Path) -> dict[str, str]:
    """Read all of ``path`` and compare its size and checksum with the registry or, where that knows no checksum, with
    the record of the first download in ``folder_of_record``.

    Returns its checksums by kind. Raises MasksrError when the file is missing or another one.
    """
    if not path.is_file():
        raise MasksrError(f"{path}: there is no such file")
    found, fault = examine(file, path, folder_of_record)
    if fault:
        raise MasksrError(f"{path}: {fault}. If you remove the file, it is downloaded again")
    return found


def examine(file: File, path: Path, folder_of_record: Path) -> tuple[dict[str, str], str | None]:
    """The checksums of ``path`` by kind, and in words what is wrong with it, or None."""
    entry = read_record(folder_of_record).get(file.name)
    expected = {kind: value for kind, value in (("sha256", file.sha256), ("md5", file.md5)) if value}
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return {}, f"it has {size} bytes, expected are {file.bytes}"
    found = {kind: _digest(path, kind) for kind in ("sha256", *expected)}
    for kind, value in expected.items():
        if not found[kind].startswith(value):  # of some files no more than the beginning is published
            return found, f"its {kind} is {found[kind]}, expected is {value}"
    if entry and not file.vouched_for and entry["sha256"] != found["sha256"]:
        return found, (
            f"its sha256 is {found['sha256']}, but that of the first download ({entry['date'][:10]}, "
            f"{entry['bytes']} bytes) was {entry['sha256']}; to accept a new version, remove the entry "
            f"{file.name!r} from {folder_of_record / RECORD} and try again"
        )
    return found, None


def is_verified(file: File, path: Path) -> bool:
    """Whether ``path`` was verified before and has not been touched since; raises MasksrError if it is another file.

    A file that is not in the record (put there by hand, say) is read and verified now.
    """
    if not path.is_file():
        return False
    stat, entry = path.stat(), read_record(path.parent).get(file.name, {})
    sums = {"sha256": file.sha256, "md5": file.md5}
    same = (entry.get("bytes"), entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
    same = same and all(entry.get(kind, "").startswith(value) for kind, value in sums.items() if value)
    if same and file.bytes in (None, stat.st_size):
        return True
    found = verify(file, path, path.parent)
    with contextlib.suppress(OSError, MasksrError):  # a folder that only others may write is as good
        remember(file, path, found, url=None)
    return True


def remember(file: File, path: Path, found: dict[str, str], url: str | None) -> None:
    """Note in the record that ``path`` was verified and has the checksums ``found``."""
    stat = path.stat()
    with _changed_record(path.parent) as record:
        first = record.get(file.name, {})
        if first.get("sha256") != found["sha256"]:
            first = {"url": url, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        record[file.name] = first | found | {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def forget(file: File, folder: Path) -> None:
    """Remove ``file`` and what the record says of it, so that its next download is a first one again."""
    (folder / file.name).unlink(missing_ok=True)
    with _changed_record(folder) as record:
        record.pop(file.name, None)


@contextlib.contextmanager
def _changed_record(folder: Path) -> Iterator[dict[str, dict[str, Any]]]:
    with FileLock(folder / f".{RECORD}.lock"):
        record = read_record(folder)
        yield record
        write_atomic(folder / RECORD, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n")


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """What ``checksums.json`` says; empty without one. Raises MasksrError when it is damaged."""
    path = folder / RECORD
    try:
        record = read_json(path)
    except FileNotFoundError:
        return {}
    except MasksrError:
        record = None
    if not isinstance(record, dict) or not all(map(_is_entry, record.values())):
        raise MasksrError(f"{path}: is damaged; remove it, then the files beside it are verified anew")
    return record


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not {"sha256", "date"} <= entry.keys():
        return False
    texts = all(isinstance(entry.get(key, ""), str) for key in ("sha256", "md5", "date"))
    return texts and isinstance(entry.get("bytes"), int)


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
