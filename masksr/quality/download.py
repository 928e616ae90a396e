"""One file from the network, if the network answers at once; else nothing."""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from masksr.errors import MasksrError

ANSWER, WHOLE = 5.0, 300.0  # seconds to the first byte (and between two blocks), and for all of it


def fetch(address: str, path: Path, read: Callable[[Path], Any]) -> Path | None:
    """Download ``address`` to ``path`` if it answers and ``read`` accepts it: all of the file or nothing.

    Returns ``path``, or None where the network is off (or MASKSR_OFFLINE is set), slow or gives something else. A host
    name that is never resolved cannot hold this up: the download runs beside, and is left alone when it is too slow.
    """
    if os.environ.get("MASKSR_OFFLINE", "0") not in ("", "0"):
        return None
    signals: queue.Queue[bool] = queue.Queue()  # the first: it answers; the second: it is there
    stop = threading.Event()
    threading.Thread(target=_download, args=(address, path, read, signals, stop), daemon=True).start()
    try:
        if signals.get(timeout=ANSWER) and signals.get(timeout=WHOLE):
            return path
    except queue.Empty:
        stop.set()
    return None


def _download(
    address: str, path: Path, read: Callable[[Path], Any], signals: queue.Queue[bool], stop: threading.Event
) -> None:
    unfinished = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    arrived = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=ANSWER) as response, unfinished.open("wb") as file:
            signals.put(True)
            end = time.monotonic() + WHOLE
            while block := response.read(1 << 16):
                if stop.is_set() or time.monotonic() > end:
                    raise TimeoutError
                file.write(block)
        read(unfinished)
        os.replace(unfinished, path)
        arrived = True
    except (OSError, ValueError, MasksrError):
        pass  # no network, a broken-off answer, a page in place of the file: all the same to who asked
    finally:
        unfinished.unlink(missing_ok=True)
        signals.put(arrived)
