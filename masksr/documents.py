"""YAML and JSON that nobody has to trust: plain values of a bounded size, or one clear error.

A parser is no judge of what it reads. YAML's aliases can turn a kilobyte into gigabytes, its tags name other types,
of two equal keys the last one wins in silence, and deep nesting ends Python's stack; so none of these is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from masksr.errors import MasksrError

LARGEST_YAML = 1 << 18  # bytes; data/registry.yaml has 25 kB, and a megabyte of YAML takes half a minute
LARGEST_JSON = 1 << 28  # bytes; the manifest of 100 000 images has 50 MB
DEEPEST = 20  # levels of YAML; params.yaml has 6
LARGEST_INTEGER = 1 << 63


def read_yaml(path: Path) -> Any:
    """What ``parse_yaml`` makes of a file. Raises MasksrError, also where it cannot be read."""
    try:
        text = _read(path, LARGEST_YAML)
    except (OSError, UnicodeDecodeError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return parse_yaml(text, path.name)


def parse_yaml(text: str, origin: str) -> Any:
    """One document of YAML 1.1 as maps with text for keys, lists, text, numbers, booleans and None.

    An alias may stand for a text or a number, not for a list or a map. Raises MasksrError, which begins with
    ``origin``, for anything else, a key that is there twice, and whole numbers beyond 64 bits.
    """
    try:
        content = yaml.load(text, Loader=_PlainLoader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # int() and date() raise ValueErrors
        raise MasksrError(f"{origin}: not valid YAML: {' '.join(str(error).split())[:500]}") from None
    if problem := _not_plain(content):
        raise MasksrError(f"{origin}: {problem}")
    return content


def check_dvc_reads_the_same(path: Path) -> None:
    """Raises MasksrError where a YAML file means another thing to DVC, which reads YAML 1.2: what is checked here would
    not be what stands in its commands.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml as parse_as_dvc

    ours = read_yaml(path)
    try:
        theirs = parse_as_dvc(_read(path, LARGEST_YAML), str(path))
    except (DvcException, ValueError, RecursionError) as error:
        raise MasksrError(f"{path.name}: DVC cannot read it: {' '.join(str(error).split())[:500]}") from None
    if (where := _difference(ours, theirs, "")) is not None:
        raise MasksrError(
            f"{path.name}: {where.strip('.') or 'all of it'} means another thing to DVC (YAML 1.2) than here (1.1); "
            "write plain decimal numbers, true and false, and all text that is more than letters in quotes"
        )


def _difference(ours: Any, theirs: Any, where: str) -> str | None:
    """The place of the first difference between two documents; None where there is none."""
    if type(ours) is not type(theirs):
        return where
    if isinstance(ours, list | dict):
        keys = list(ours) if isinstance(ours, dict) else range(len(ours))
        if len(ours) != len(theirs) or (isinstance(ours, dict) and ours.keys() != theirs.keys()):
            return where
        found = (_difference(ours[key], theirs[key], f"{where}.{key}") for key in keys)
        return next((place for place in found if place is not None), None)
    return None if ours == theirs else where


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises MasksrError, with the reason, where it cannot be read or is not JSON;
    FileNotFoundError where there is no such file, which many a caller has its own words for.
    """
    try:
        return json.loads(_read(path, LARGEST_JSON))
    except FileNotFoundError:
        raise
    except RecursionError:
        raise MasksrError(f"{path}: cannot be read (nested too deeply)") from None
    except (OSError, ValueError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _read(path: Path, limit: int) -> str:
    """The text of a file. Raises OSError, ValueError."""
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(0, f"more than {limit} bytes")
    return content.decode("utf-8")


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader that refuses what files for people need not hold."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(event, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            problem = f"*{event.anchor} stands for a list or a map; write it out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="<< is not read; write the keys", problem_mark=key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} is there twice; remove one"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _not_plain(value: Any) -> str | None:
    """In words, what of a document no parameter can be; None where all of it is plain."""
    if isinstance(value, dict):
        for key, inner in value.items():
            problem = None if isinstance(key, str) else f"a key is a {type(key).__name__}; write it in quotes"
            if problem := problem or _not_plain(key) or _not_plain(inner):
                return problem
        return None
    if isinstance(value, list):
        return next(filter(None, map(_not_plain, value)), None)
    if isinstance(value, str):
        surrogate = re.search("[\ud800-\udfff]", value)  # half a character, which cannot be written to a file
        return f"{value!a:.80} holds half a character" if surrogate else None
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        return "a whole number has more than 64 bits"
    if value is None or isinstance(value, bool | int | float):
        return None
    return f"a value is a {type(value).__name__}; write it in quotes to have it read as text"
