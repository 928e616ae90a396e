"""Results of other stages that the page speaks of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from masksr.errors import MasksrError


def read_table(file: Path, columns: list[str], stage: str) -> pd.DataFrame:
    """Raises MasksrError, which names the ``stage`` that makes the file, where it is missing or lacks a column."""
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise MasksrError(f"{file}: cannot be read ({error}); `dvc repro {stage}` makes it") from None
    if missing := sorted(set(columns) - set(table)):
        raise MasksrError(f"{file}: has no column {', '.join(missing)}; `dvc repro {stage}` makes it anew")
    return table


def read_json(file: Path, stage: str) -> dict[str, Any]:
    """Raises MasksrError, which names the ``stage`` that makes the file, where it is missing or no mapping."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MasksrError(f"{file}: cannot be read ({error}); `dvc repro {stage}` makes it") from None
    if not isinstance(content, dict):
        raise MasksrError(f"{file}: not what `dvc repro {stage}` writes; make it anew")
    return content
