"""A command as a stage that DVC runs: it ends when DVC does, and what it depends on must not change under it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from masksr import project
from masksr.errors import MasksrError

SOURCES = ("params.yaml", "data/*.yaml", "notebooks/*.ipynb", "masksr/**/*")  # what people edit, of what stages read


@contextmanager
def as_stage() -> Iterator[None]:
    """Around the work of a command. Does nothing unless DVC has started it.

    DVC reads parameters and files again *after* the command and records those values. So an edit while a stage runs
    would be recorded as what its result was made from, and never run. Raises MasksrError at the end where something
    that the stage depends on is no longer what it was at the beginning: DVC then records nothing.
    """
    name = os.environ.get("DVC_STAGE")
    if not name:
        yield
        return
    _end_with_parent()
    root = project.root()
    before = _content(root)
    yield
    if edited := _edited(name, root, before, _content(root)):
        raise MasksrError(
            f"{' and '.join(edited)} changed while {name} ran. Its result belongs to the state before, so it does not "
            "count; run dvc repro again. What was trained is kept, and taken if you take the change back"
        )


def _end_with_parent() -> None:
    """Terminate when DVC ends: when killed, it does not take its running stage along."""
    parents, main_thread = _parents(), threading.main_thread().ident

    def watch() -> None:
        while _parents() == parents:
            time.sleep(0.5)
        signal.pthread_kill(main_thread, signal.SIGTERM)

    if hasattr(signal, "pthread_kill"):
        threading.Thread(target=watch, daemon=True).start()


def _parents() -> tuple[int, ...]:
    """The parent and, where that is a shell, its parent. DVC starts stages through ``sh -c``: some shells become the
    command, others (dash) wait for it and outlive DVC.
    """
    parent = os.getppid()
    try:
        name, _, numbers = Path(f"/proc/{parent}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:  # not on Linux, or it ended just now
        return (parent,)
    return (parent, int(numbers.split()[1])) if name.endswith("sh") else (parent,)


def _content(root: Path) -> dict[Path, bytes]:
    found = {}
    for path in (path for pattern in SOURCES for path in root.glob(pattern)):
        parts = path.relative_to(root).parts
        if "__pycache__" in parts or any(part.startswith(".") for part in parts):  # as in .dvcignore
            continue
        with suppress(FileNotFoundError, IsADirectoryError):  # an editor replaces files: for a moment there is none
            found[path] = path.read_bytes()
    return found


def _edited(name: str, root: Path, before: dict[Path, bytes], after: dict[Path, bytes]) -> list[str]:
    """What stage ``name`` depends on and differs, in words."""
    differ = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    if not differ:
        return []
    from dvc.dependency import ParamsDependency  # slow, and nearly never wanted
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        stage = Repo(root).stage.load_one(name=name.rpartition(":")[2])
    except DvcException:  # params.yaml has no such stage any more, or is no longer valid
        return [f"what {name} is (params.yaml)"]
    edited = []
    for dependency in stage.deps:
        path = Path(dependency.fs_path)
        if not isinstance(dependency, ParamsDependency):
            edited += [str(p.relative_to(root)) for p in differ if p == path or path in p.parents]
        elif path in differ:
            try:
                old, new = (_parsed(content, path) for content in (before, after))
            except MasksrError:  # no longer YAML that anybody would read
                edited.append(path.name)
                continue
            names = dependency.params
            edited += [f"{key} in {path.name}" for key in names if _value(old, key) != _value(new, key)]
    return sorted(set(edited))


def _parsed(content: dict[Path, bytes], path: Path) -> Any:
    from masksr.documents import parse_yaml  # here, because every command imports this module, and few need YAML

    return parse_yaml(content.get(path, b"").decode("utf-8", "replace"), path.name)


def _value(content: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content
