"""YAML and JSON files, read with one clear error where they cannot be.

YAML is read by the parser that DVC uses: what is checked here is what DVC puts into commands. It refuses a
key that is there twice, and reads YAML 1.2: ``1e-4`` is a number and ``no`` a text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from masksr.errors import MasksrError


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises MasksrError where it cannot be read or is no YAML."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise MasksrError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse_yaml(text: str, origin: str) -> Any:
    """Parse one YAML document. Raises MasksrError, which begins with ``origin``, where it is none."""
    from ruamel.yaml import YAML, YAMLError  # here, because it takes time

    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise MasksrError(f"{origin}: not valid YAML: {problem}{where}") from None


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises MasksrError where it is no JSON, and FileNotFoundError where it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise MasksrError(f"{path}: cannot be read ({error})") from None
