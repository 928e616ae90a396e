"""Files from the network: resumed, retried, from several mirrors, verified; there whole or not at all.

This module decides what to try, how often and what to believe; :mod:`masksr.fetch.transfer` is a single attempt and
:mod:`masksr.fetch.checksums` the verification. ``.NAME.lock`` lets one process download while others wait.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from masksr.errors import MasksrError
from masksr.fetch.checksums import examine, forget, is_verified, remember, verify
from masksr.fetch.registry import File
from masksr.fetch.transfer import Partial, transfer
from masksr.fetch.web import Failure, open_url
from masksr.files import readable

__all__ = ["answers", "download", "forget", "offline", "verify"]

PAUSES = (1.0, 2.0, 5.0, 10.0)  # seconds before each further attempt, counted anew when an attempt got further


def offline() -> bool:
    """Whether MASKSR_OFFLINE forbids the network."""
    return os.environ.get("MASKSR_OFFLINE", "") not in ("", "0")


def answers(url: str, seconds: float) -> bool:
    """Whether ``url`` can be had and its server answers within ``seconds``; never raises, never takes longer."""
    if offline():
        return False
    answer: queue.Queue[bool] = queue.Queue()

    def ask() -> None:
        try:
            with open_url(url, {}) as response:
                answer.put(response.ok)
        except Failure:
            answer.put(False)

    threading.Thread(target=ask, daemon=True).start()  # because nothing ends a name resolution that hangs
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return False


def download(file: File, folder: Path, *, progress: bool = True) -> Path:
    """``folder / file.name``, whole and verified; at once when it is there, else from the first mirror that has it.

    What an interrupted call has left is continued, also by a later process. progress: a bar on stderr.

    Raises MasksrError that says what to do when the file there is another one, no mirror gives it, the network is off
    (MASKSR_OFFLINE), the disk is too small or refuses.
    """
    path = folder / file.name
    try:
        if is_verified(file, path):
            return path
        if offline():
            raise MasksrError(
                f"{file.name} is not in {folder}, and MASKSR_OFFLINE is set: unset it, or fetch {file.urls[0]} "
                f"({readable(file.size)}) elsewhere and put it there as {file.name}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if not is_verified(file, path):  # another process may have done it while this one waited
                _from_any(file, path, progress)
    except OSError as error:
        raise MasksrError(
            f"{path} could not be read or written ({error.strerror or error}); free some space or fix the rights of "
            f"{folder}, then run the same command again: it goes on where it stopped"
        ) from None
    return path


def _from_any(file: File, path: Path, progress: bool) -> None:
    failures = []
    for url in file.urls:
        try:
            return _from_mirror(url, file, path, progress)
        except Failure as failure:
            failures.append(f"{url}: {failure}")
    arrived = Partial(path).size()
    raise MasksrError(
        f"{file.name} could not be downloaded ({'; '.join(failures)}). Run the same command again"
        f"{f' (it goes on after {readable(arrived)})' if arrived else ''}, or fetch the file yourself and put it into "
        f"{path.parent} as {file.name}"
    )


def _from_mirror(url: str, file: File, path: Path, progress: bool) -> None:
    partial, pauses = Partial(path), iter(PAUSES)
    furthest = partial.size()
    while True:
        try:
            joined = transfer(url, file, partial, progress)
            return _accept(url, file, path, partial, joined=joined)
        except Failure as failure:
            if partial.size() > furthest:
                furthest, pauses = partial.size(), iter(PAUSES)
            pause = next(pauses, None)
            if pause is None or not failure.again:
                raise
            pause = max(pause, failure.pause)
            if progress:
                tqdm.write(f"{file.name}: {failure}; trying again in {pause:.0f} s", file=sys.stderr)
            time.sleep(pause)


def _accept(url: str, file: File, path: Path, partial: Partial, *, joined: bool) -> None:
    """Give the file its name if it is the right one. joined: its beginning is from an earlier attempt."""
    found, fault = examine(file, partial.data, path.parent)
    if fault:
        partial.discard()
        raise Failure(fault, again=joined)  # what was joined may be of two kinds: once more, from the beginning
    os.replace(partial.data, path)
    partial.discard()
    remember(file, path, found, url)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While this lasts, no other process downloads ``path``."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{path.name}: another process is downloading it; waiting for that", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
