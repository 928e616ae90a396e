"""What a killed DVC leaves behind.

DVC notes which process reads and writes which path in ``.dvc/tmp/rwlock``, and drops the notes of processes that are
gone. It knows a process by its number alone: on another node, or later, that number may be somebody else's, and then a
stage would be refused as busy for good.
"""

from __future__ import annotations

import json
from pathlib import Path

from dvc.repo import Repo


def forget(root: Path, stage: str | None = None) -> None:
    """Drop the notes of a DVC that ``masksr.cluster.child`` started for ``stage``, or for any, and that is gone."""
    with Repo(str(root), _wait_for_lock=True) as repo:
        path = Path(repo.tmp_dir) / "rwlock"
        with repo.lock:
            try:
                notes = json.loads(path.read_text())
            except (OSError, ValueError):
                return
            write = {name: note for name, note in notes.get("write", {}).items() if not _ours(note, stage)}
            read = {name: [n for n in found if not _ours(n, stage)] for name, found in notes.get("read", {}).items()}
            path.write_text(
                json.dumps({"write": write, "read": {name: found for name, found in read.items() if found}})
            )


def _ours(note: dict[str, str], stage: str | None) -> bool:
    command, _, name = note["cmd"].partition(" --wait-for-lock repro -s ")
    return bool(name) and stage in (None, name) and "dvc" in command
