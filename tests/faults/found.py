"""What a fault left, and the comparisons that all faults share."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Found:
    """A row of the table: what was done, the line that the user sees, and what held afterwards."""

    done: str
    seen: str
    after: str
    kills: int = 0


Fault = Callable[[Path, Random], Found]


class NotHere(Exception):
    """This machine or account cannot produce the fault; the text says why."""


def many_kills(sent: Counter[str], how: str, seen: str, after: str) -> Found:
    """The row of a series of kills: how often each signal ended something, and the rest in words."""
    hits = ", ".join(f"{count} {name}" for name, count in sorted(sent.items()))
    return Found(f"{sent.total()} kills ({hits}) {how}", seen, after, sent.total())


def line(text: str, pattern: str) -> str:
    """The line of ``text`` that ``pattern`` is found in: what the user sees. No traceback may stand beside it."""
    assert "Traceback" not in text, f"a traceback:\n{text[-3000:]}"
    found = next((candidate for candidate in text.splitlines() if re.search(pattern, candidate)), None)
    assert found, f"nothing like {pattern!r} in:\n{text[-3000:]}"
    return found.strip()


def same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """All files there, each with the bytes of the undisturbed run."""
    assert found.keys() == expected.keys(), f"{sorted(found)} instead of {sorted(expected)}"
    part_of(found, expected)


def part_of(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Nothing half-made: of the files of the undisturbed run, those that are there are whole."""
    for name, content in found.items():
        assert content == expected.get(name), f"{name} differs from that of the undisturbed run"


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def nothing_left_over(folder: Path) -> None:
    """No temporary file or folder; lock files have fixed names, so they do not pile up."""
    hidden = [path for path in folder.rglob(".*") if not path.name.endswith(".lock") and path.name != ".cache"]
    patterns = ("*.partial*", "*.unfinished*", "checkpoints", "*.damaged")
    others = [path for pattern in patterns for path in folder.rglob(pattern)]
    assert not hidden + others, f"left over: {[str(path.relative_to(folder)) for path in hidden + others]}"


def copy(folder: Path, to: str | Path) -> Path:
    """A copy of ``folder``, beside it where ``to`` is a name, in place of what is there. ``data`` is shared."""
    target = folder.with_name(to) if isinstance(to, str) else to
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=lambda where, _: ["data"] if where == str(folder) else [], symlinks=True)
    if (folder / "data").exists():
        (target / "data").symlink_to((folder / "data").resolve())
    return target
