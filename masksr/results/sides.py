"""One side of a comparison: what was measured somewhere, with which parameters, and from what.

A side is a folder of ``results``, here or in a commit, or nothing but a quality.csv. Only quality.csv has to be there;
what provenance.json (``masksr.results.records``) would tell is otherwise unknown, and said to be.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from masksr import params, project
from masksr.errors import MasksrError
from masksr.files import user_path
from masksr.results import records
from masksr.results.scores import read_quality

FILES = ("quality.csv", "provenance.json")


@dataclass(frozen=True)
class Side:
    name: str  # as the user has it
    quality: pd.DataFrame  # scores.COLUMNS
    parameters: dict[str, Any] = field(default_factory=dict)  # by dotted name; empty: unknown
    parameters_from: str = ""  # the file they stand in, where it is not the record of this very run
    profile: str | None = None
    steps: dict[str, records.Record] = field(default_factory=dict)  # of provenance.json; empty: unknown


def opened(text: str) -> Side:
    """The side that is meant.

    text: a profile (``mini``: its folder of ``results``); a folder with a quality.csv, or such a file; one of these in
    a commit, ``REV:results/mini`` or ``REV:mini``. Raises MasksrError where nothing was measured there.
    """
    if (path := user_path(text)).is_file():
        return _read(path, path.with_name("provenance.json"), text)
    if (path / "quality.csv").is_file():
        return _read(path / "quality.csv", path / "provenance.json", text)
    revision, colon, inside = text.partition(":")
    if colon:
        return _at_revision(revision, inside, text)
    if path.is_dir():
        raise MasksrError(f"{text}: this folder holds no quality.csv")
    root = project.root()
    folder = root / "results" / text
    if text in _profiles(root):
        return _read(folder / "quality.csv", folder / "provenance.json", text, root / "profiles" / f"{text}.yaml")
    raise MasksrError(
        f"{text!r} is no profile with results (there are: {', '.join(_profiles(root)) or 'none'}), no folder with a "
        "quality.csv, no such file, and no REV:results/PROFILE"
    )


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names; a list of maps counts like a map from 0, 1 and so on."""
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        tree = {str(number): item for number, item in enumerate(tree)}
    if not isinstance(tree, dict):
        return {name: tree}
    parts = (flat(value, f"{name}.{key}" if name else str(key)) for key, value in tree.items())
    return {key: value for part in parts for key, value in part.items()}


def _profiles(root: Path) -> list[str]:
    return sorted(path.parent.name for path in (root / "results").glob("*/quality.csv"))


def _read(quality: Path, provenance: Path, name: str, settings: Path | None = None) -> Side:
    """settings: a parameter file to make do with where nothing was recorded."""
    table = read_quality([quality])
    if provenance.is_file():
        return Side(name, table, **_recorded(provenance))
    if settings is not None and settings.is_file():
        known = records.parameters(params.load(settings))
        return Side(name, table, flat(known), f"profiles/{settings.name} as it is now", known["profile"])
    return Side(name, table)


def _recorded(file: Path) -> dict[str, Any]:
    provenance = records.read(file)
    found, steps = provenance.get("params"), provenance.get("steps")
    if not isinstance(found, dict) or not isinstance(steps, dict):
        raise MasksrError(f"{file}: not a record of results; `dvc repro report` makes it anew")
    steps = {name: records.checked(step, file) for name, step in steps.items()}
    return {"parameters": flat(found), "profile": str(provenance.get("profile")), "steps": steps}


def _at_revision(revision: str, inside: str, text: str) -> Side:
    root = project.root()
    inside = inside.removesuffix("quality.csv").rstrip("/")
    places = [inside] if "/" in inside else [f"results/{inside}", inside]
    with tempfile.TemporaryDirectory(prefix="masksr-") as scratch:
        for place in places:
            for name, content in _blobs(root, revision, place):
                (Path(scratch) / name).write_bytes(content)
            if (quality := Path(scratch) / "quality.csv").is_file():
                try:
                    return _read(quality, Path(scratch) / "provenance.json", text)
                except MasksrError as error:
                    raise MasksrError(str(error).replace(scratch, f"{revision}:{place}")) from None
    raise MasksrError(f"{text}: there is no such file or folder, or git knows no commit {revision!r} of this project")


def _blobs(root: Path, revision: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of FILES in a folder of a commit, as far as they are there."""
    if revision.startswith("-"):  # an option, to git
        return
    for name in FILES:
        # "./": from the project, which may lie deep in its repository
        command = ["git", "--no-optional-locks", "-C", str(root), "cat-file", "blob", f"{revision}:./{folder}/{name}"]
        try:
            done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise MasksrError(f"{revision}:{folder}: git cannot be asked ({error})") from None
        if done.returncode == 0:
            yield name, done.stdout
