"""How long each notebook took: kept beside the pipeline, because no two runs agree on it.

Executed notebooks and provenance.json are the same bytes in equal runs, so times stand in ``.cache/durations``, by the
digest of the executed notebook: one that was made elsewhere, or since changed, has none here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from masksr.files import file_digest, write_atomic


@dataclass(frozen=True)
class Duration:
    """Of one notebook. ``cpu_seconds``: of all threads of its kernel together; 0 where the system does not tell."""

    seconds: float
    cpu_seconds: float


@contextmanager
def timed(output: Path, root: Path) -> Iterator[None]:
    """Record how long the block took that wrote the executed notebook ``output`` of the project at ``root``."""
    begun, before = time.monotonic(), os.times()
    yield
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    duration = Duration(round(time.monotonic() - begun, 1), round(cpu, 1))
    with suppress(OSError):  # a full disk; a time is not worth an error
        write_atomic(_file(output, root), json.dumps(asdict(duration)).encode())


def read(output: Path, root: Path) -> Duration | None:
    """How long the notebook that lies at ``output`` took; None where that was not recorded here."""
    try:
        recorded = json.loads(_file(output, root).read_bytes())
        return Duration(float(recorded["seconds"]), float(recorded["cpu_seconds"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _file(output: Path, root: Path) -> Path:
    return root / ".cache/durations" / f"{file_digest(output)[:20]}.json"
