"""The results as JSON, with every single measurement, and as tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.timing import Spread
from masksr.errors import MasksrError

FORMAT = 1  # of the JSON file; raise it when a reader of older files would misread newer ones
Cell = str | int | float | bool | Spread | None


@dataclass(frozen=True)
class Row:
    """Named cells in the order of the columns, and the seconds of each round behind them."""

    cells: dict[str, Cell]
    seconds: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    title: str
    note: str  # what the columns mean; why something is missing
    rows: Sequence[Row] = ()


def met(value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool | None:
    """Whether a target is met; None where there is none."""
    if at_least is None and at_most is None:
        return None
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


def document(command: str, machine: dict[str, Any], tables: Sequence[Table]) -> dict[str, Any]:
    """Everything that was found out, of plain types."""

    def plain(cell: Cell) -> Any:
        return {"median": cell.median, "quartiles": [cell.low, cell.high]} if isinstance(cell, Spread) else cell

    return {
        "format": FORMAT,
        "command": command,
        "machine": machine,
        "tables": [
            {
                "title": table.title,
                "note": table.note,
                "rows": [
                    {"cells": {name: plain(cell) for name, cell in row.cells.items()}, "seconds": row.seconds}
                    for row in table.rows
                ],
            }
            for table in tables
        ],
    }


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``old`` with those tables of ``new`` in the place of its own, and with those it had not.

    Raises MasksrError where they come from different machines, or packages: their numbers belong to different tables.
    """
    measured = ("peak GFLOP/s", "minutes")
    here, there = ({k: v for k, v in found["machine"].items() if k not in measured} for found in (new, old))
    if here != there or old["format"] != FORMAT:
        other = next((name for name in here if here[name] != there.get(name)), "format")
        raise MasksrError(f"the results that are there were measured with another {other}; name other ones with -o")
    tables = {table["title"]: table for table in old["tables"]} | {table["title"]: table for table in new["tables"]}
    return old | {"tables": list(tables.values())}


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(found: dict[str, Any]) -> str:
    """The tables of a document, with the machine above them."""
    about = [f"{name} {_text(value)}" for name, value in _flat(found["machine"]) if value is not None]
    parts = [f"`{found['command']}`\n\n{'; '.join(about)}\n"]
    for table in found["tables"]:
        rows = [row["cells"] for row in table["rows"]]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
        parts.append(f"### {table['title']}\n")
        if shown:
            ruler = [":--" if any(isinstance(row.get(name), str) for row in rows) else "--:" for name in shown]
            lines = [shown, ruler, *([_text(row.get(name)) for name in shown] for row in rows)]
            parts.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
        parts.append(f"{table['note']}\n")
    return "\n".join(parts)


def _flat(machine: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in machine.items():
        pairs += _flat(value, f"{before}{name} ") if isinstance(value, dict) else [(f"{before}{name}", value)]
    return pairs


def _text(cell: Any) -> str:
    """Three digits that count; nothing for what is not there."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "**no**"
        case {"median": median, "quartiles": [low, high]}:
            return f"{_text(median)} ({_text(low)} – {_text(high)})"  # noqa: RUF001
        case int():
            return f"{cell:,}"
        case float():
            return f"{float(f'{cell:.3g}'):,.10g}"
    return str(cell)
