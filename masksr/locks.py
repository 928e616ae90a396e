"""Who is at work on a file, a folder or a training: locks that end with their process, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masksr.errors import MasksrError


@contextmanager
def alone(lock: Path, doing: str) -> Iterator[bool]:
    """Keep other processes out of here that have the same ``lock``, a file that stays. Yields whether it waited.

    doing: what the others are at, to say so while waiting. Raises MasksrError where there are no file locks.
    """
    from filelock import FileLock, Timeout  # here, because reading parameters needs none

    held, waited = FileLock(lock), False
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            waited = True
            print(f"Another process is at {doing}; waiting for it to finish.", flush=True)
            held.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = "put the project on a disk that has room and file locks, and fix the rights"
        raise MasksrError(f"{lock} cannot be locked ({reason}); {remedy}") from None
    try:
        yield waited
    finally:
        held.release()
