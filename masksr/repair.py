"""Repair DVC's own files after a kill or a full disk.

DVC rewrites ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place. Whatever ends it there leaves them empty or cut
short, and every later command fails, although nothing is lost. `make repro` repairs both before it begins.
"""

import json
from pathlib import Path

from masksr.io import MasksrError, read_yaml, write_atomic

LOCK, KEPT, RWLOCK = "dvc.lock", ".cache/dvc.lock", ".dvc/tmp/rwlock"


def keep_lock(root: Path) -> None:
    """Copy dvc.lock to ``.cache``; called when a stage begins, which is after DVC has found it whole."""
    if (root / LOCK).is_file():
        write_atomic(root / KEPT, (root / LOCK).read_bytes())


def repair(root: Path) -> None:
    """Repair what a killed DVC has left cut short, and say so; does nothing while a DVC is at work.

    Raises MasksrError where dvc.lock is in the middle of a merge.
    """
    if (root / LOCK).is_file() and b"\n<<<<<<< " in (root / LOCK).read_bytes():
        raise MasksrError(f"{LOCK} has the marks of an unfinished merge (<<<<<<<): take one side of it, "
                          "git checkout --ours dvc.lock or --theirs, and run this again")  # fmt: skip
    broken = [name for name in (LOCK, RWLOCK) if (root / name).exists() and not _is_whole(root / name)]
    if not broken or _dvc_works(root):
        return
    for name in broken:
        if name == LOCK and _is_whole(root / KEPT):
            write_atomic(root / f"{KEPT}.cut", (root / LOCK).read_bytes())
            write_atomic(root / LOCK, (root / KEPT).read_bytes())
            how = f"{KEPT}, from before the last stage, takes its place ({KEPT}.cut is what it was)"
        else:
            (root / name).unlink()
            how = "it is removed"
            if name == LOCK:
                how += "; `git checkout dvc.lock` brings a committed one back; what was trained is kept"
        print(f"{name} was cut when DVC was killed or the disk was full: {how}")


def _is_whole(path: Path) -> bool:
    from dvc.rwlock import SCHEMA, Invalid
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    try:
        if path.name == "rwlock":
            SCHEMA(json.loads(path.read_bytes()))
        else:
            COMPILED_LOCKFILE_SCHEMA(read_yaml(path))
    except (MasksrError, ValueError, Invalid):
        return False
    # Cut YAML is mostly valid YAML, but hardly ever ends where a line does, as DVC's files do.
    return path.name == "rwlock" or path.read_bytes().endswith(b"\n")


def _dvc_works(root: Path) -> bool:
    """Return whether a DVC process is at work in this project."""
    import psutil

    for process in psutil.process_iter(["cmdline", "cwd"]):  # None for other users' processes
        words, folder = process.info["cmdline"] or [], process.info["cwd"] or ""
        if any(Path(word).name == "dvc" for word in words[:4]) and Path(folder).is_relative_to(root):
            return True
    return False
