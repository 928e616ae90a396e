"""With what a page was made: the code's commit, the versions of packages, the hardware.

No import of torch or pyiqa: versions come from the installed packages' metadata. A process that has torch loaded
already also names its GPU.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from masksr import __version__, project
from masksr.errors import MasksrError

PACKAGES = ("torch", "torchvision", "numpy", "pyiqa")
_SOURCE = ("masksr", "notebooks", "params.yaml", "dvc.yaml", "data/registry.yaml")  # what makes a result, beside data


def made_with() -> dict[str, Any]:
    """What differs between machines and commits, ready for JSON. Works without git."""
    return {
        "masksr": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "hardware": hardware(),
    }


def in_words(made: dict[str, Any]) -> dict[str, str]:
    """The same for readers, such as the footer of the report."""
    return {
        "masksr": made["masksr"],
        "Commit": made["commit"] or "not under version control",
        "Python": made["python"],
        "Packages": ", ".join(f"{name} {number}" for name, number in made["packages"].items() if number),
        "Hardware": f"{made['hardware']} ({made['system']})",
    }


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
    return f"{_processor()}, {threads()} threads"


def threads() -> int:
    """How many threads the processor offers to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
