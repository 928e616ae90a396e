"""``data/registry.yaml``: what each data set and weight file is, and where it is to be had."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from masksr import project
from masksr.documents import read_yaml
from masksr.errors import MasksrError
from masksr.fetch.entries import Crop, File, FolderSet, Layout, PackageSet, Photograph, SetSpec, Weights

__all__ = [
    "Crop",
    "File",
    "FolderSet",
    "Layout",
    "PackageSet",
    "Photograph",
    "Registry",
    "SetSpec",
    "Weights",
    "find_set",
    "find_weights",
    "load_registry",
    "named",
]

_SET: TypeAdapter[SetSpec] = TypeAdapter(Annotated[SetSpec, Field(discriminator="kind")])
_WEIGHTS = TypeAdapter(Weights)
_FILE = TypeAdapter(File)


@dataclass(frozen=True)
class Registry:
    sets: dict[str, SetSpec]
    weights: dict[str, Weights]


def load_registry(path: Path | str | None = None) -> Registry:
    """All data sets and weights by name, from ``data/registry.yaml`` of the project when no path is given.

    Raises MasksrError with one line that says what is wrong with the file.
    """
    path = Path(path) if path else project.root() / "data" / "registry.yaml"
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("sets"), dict):
        raise MasksrError(f"{path.name}: has no mapping named sets")
    if unknown := sorted(content.keys() - {"files", "sets", "weights"}):
        raise MasksrError(f"{path.name}: unknown key {unknown[0]}")
    if wrong := next((key for key in content if not isinstance(content[key], dict | None)), None):
        raise MasksrError(f"{path.name}: {wrong} must be a mapping")

    def section(name: str, adapter: TypeAdapter) -> dict[str, Any]:
        found = {}
        for key, value in (content.get(name) or {}).items():
            try:
                value = {"name": key, **_with_files(value, files)} if isinstance(value, dict) else value
                found[key] = adapter.validate_python(value)
            except ValidationError as error:
                first = error.errors()[0]
                # A union names its branch first, the registry does not.
                where = ".".join(map(str, [name, key, *first["loc"][adapter is _SET :]]))
                raise MasksrError(f"{path.name}: {where}: {first['msg']}") from None
            except (LookupError, TypeError) as error:  # no such file; a map in place of its name
                raise MasksrError(f"{path.name}: {name}.{key}.downloads: files has no {error}") from None
        return found

    files: dict[str, File] = {}
    files = section("files", _FILE)
    registry = Registry(section("sets", _SET), section("weights", _WEIGHTS))
    if twice := registry.sets.keys() & registry.weights.keys():
        raise MasksrError(f"{path.name}: {min(twice)} names a set and weights; one of them needs another name")
    return registry


def find_set(name: str, path: Path | str | None = None) -> SetSpec:
    """One data set by its name. Raises MasksrError that lists the names when there is no such set."""
    return named(name, load_registry(path).sets, "data set")


def find_weights(name: str, path: Path | str | None = None) -> Weights:
    """Published weights by their name. Raises MasksrError that lists the names when there are none of that name."""
    return named(name, load_registry(path).weights, "entry of weights")


def named(name: str, specs: dict[str, Any], what: str) -> Any:
    """One of ``specs``. Raises MasksrError that lists the names, and the nearest, when there is none of that name."""
    if name not in specs:
        close = difflib.get_close_matches(name, specs, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MasksrError(f"there is no {what} {name!r} in data/registry.yaml (there are: {', '.join(specs)}){hint}")
    return specs[name]


def _with_files(entry: dict[str, Any], files: dict[str, File]) -> dict[str, Any]:
    """The entry with each name of a file under ``downloads`` replaced by that file. Raises LookupError."""

    def resolved(names: Any) -> Any:
        return [resolved(name) for name in names] if isinstance(names, list) else files[names]

    return entry | {"downloads": resolved(entry["downloads"])} if "downloads" in entry else entry
