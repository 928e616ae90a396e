"""Who is at work on a file, a folder or a training: marks and locks that end with their process, however it ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from masksr.errors import MasksrError

try:
    import fcntl
except ImportError:  # Windows, where left-overs of killed processes stay
    fcntl = None  # type: ignore[assignment]


def claim(descriptor: int, path: Path) -> bool:
    """Mark ``path``, open as ``descriptor``, as somebody's until that is closed, if only by the end of the process.

    False where it was removed at this very moment as unclaimed.
    """
    if fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: there nothing is ever taken for unclaimed
            return True
    return path.exists()


def remove_unclaimed(folder: Path, pattern: str) -> None:
    """Remove what matches ``pattern`` in ``folder`` and was claimed by a process that is no more."""
    for path in folder.glob(pattern) if fcntl else ():
        with suppress(OSError):  # somebody's, or gone, or not ours to remove
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


@contextmanager
def alone(lock: Path, doing: str) -> Iterator[bool]:
    """While this lasts no other process is in here with the same ``lock``, a file that stays. Yields whether it waited.

    The lock ends with its process, however that ends. doing: what the others are at, to say so while waiting. Raises
    MasksrError where the disk refuses or its file system has no locks.
    """
    from filelock import FileLock, Timeout  # here, because reading parameters needs none

    waited = False
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock)
        try:
            held.acquire(timeout=0)
        except Timeout:
            waited = True
            print(f"Another process is at {doing}; waiting for it to finish.", flush=True)
            held.acquire()
    except (OSError, NotImplementedError) as error:
        raise MasksrError(
            f"{lock} cannot be locked ({getattr(error, 'strerror', None) or error}); fix the rights of {lock.parent}, "
            "or put the project on a disk that has room and file locks"
        ) from None
    try:
        yield waited
    finally:
        held.release()
