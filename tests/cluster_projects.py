"""Pipelines of stages that touch files, and what the tests of ``masksr cluster`` look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml


def project(folder: Path, stages: dict) -> Path:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    return folder


def stage(cmd: str, *deps: str, out: str = "", matrix: dict | None = None) -> dict:
    return ({"matrix": matrix} if matrix else {}) | {"cmd": cmd, "deps": list(deps), "outs": [out]}


def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def alive(file: Path) -> bool:
    """Whether the process is there that wrote its number into ``file``."""
    return psutil.pid_exists(int(file.read_text())) and psutil.Process(int(file.read_text())).status() != "zombie"


def processes_of(word: str) -> list[str]:
    """The command lines with ``word`` in them."""
    lines = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if word in line]
