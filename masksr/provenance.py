"""What a result was made from: versions, hardware, and the hash of every input.

No import of torch or pyiqa: versions come from the installed packages' metadata. A process that has torch loaded
already also names its GPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from masksr import __version__, project
from masksr.errors import MasksrError
from masksr.files import file_digest, write_atomic

PACKAGES = ("torch", "torchvision", "numpy", "pyiqa")
_SOURCE = ("masksr", "notebooks", "params.yaml", "dvc.yaml", "data/registry.yaml")  # what makes a result, beside data
_IGNORED = {".gitignore", ".DS_Store", "__pycache__", ".ipynb_checkpoints"}


def record(inputs: Mapping[str, Path], params_used: Mapping[str, Any]) -> dict[str, Any]:
    """What the result at hand is made from, ready for ``write_json``.

    inputs: name -> file or folder; recorded as SHA-256, without the path, which differs between machines.
    params_used: the part of ``params.yaml`` that mattered (a pydantic model is taken apart).
    Raises MasksrError for an input that does not exist. Works without git.
    """
    return {
        "masksr": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "hardware": hardware(),
        "inputs": {name: sha256(path) for name, path in sorted(inputs.items())},
        "params": _plain(params_used),
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, the same record always as the same bytes; a reader never sees half of it."""
    text = json.dumps(_plain(record), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text.encode())


def footer_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """A record in words, for the footer of the report."""
    facts = {
        "masksr": record["masksr"],
        "Commit": record["commit"] or "not under version control",
        "Python": record["python"],
        "Packages": ", ".join(f"{name} {number}" for name, number in record["packages"].items() if number),
        "Hardware": f"{record['hardware']} ({record['system']})",
    }
    return facts | {f"{name}, SHA-256": digest for name, digest in record["inputs"].items()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of a folder: of the relative names and contents of all files below it.

    Raises MasksrError when there is nothing at ``path``.
    """
    path = Path(path)
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise MasksrError(f"{path}: this input does not exist; run `dvc repro` to make what it depends on")
    files = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    digest = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.as_posix()):
        if not _IGNORED & set(name.parts):
            digest.update(f"{sha256(files[name])}  {name.as_posix()}\n".encode())
    return digest.hexdigest()


def commit() -> str | None:
    """The project's git commit, marked where the source was changed since; None without git or outside a repository."""
    try:
        root = project.root().resolve()
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != root:  # an unpacked archive inside somebody's repository: its commits are not ours
            return None
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *(name for name in _SOURCE if (root / name).exists()))
    except (MasksrError, OSError, ValueError, subprocess.SubprocessError):
        return None
    return f"{head} with local changes" if changed else head


def _git(root: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *arguments],
        capture_output=True,
        check=True,
        env=environment | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=5,
    )
    return done.stdout.strip()


def hardware() -> str:
    """``NVIDIA H200`` where torch is loaded and sees a GPU, else the processor and how many threads it offers."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ", ".join(
            f"{names.count(name)}x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
        )
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {threads} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "CPU"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """As JSON takes it: pydantic models, paths and tuples as dictionaries, text and lists."""
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value.as_posix() if isinstance(value, Path) else value
