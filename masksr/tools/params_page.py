"""``docs/params.md``: every key of ``params.yaml``, made from the types and texts in ``masksr.params``."""

import re
from collections.abc import Iterator
from typing import Any

from masksr.params import Params
from masksr.results.paper import write_value

COMMAND = "python -m masksr params"
NAMED = {"models": "MODEL", "masks": "MASK", "cluster": "STAGE"}  # maps whose keys are names chosen by users
WHOLE, BOOLEAN = "a whole number", "`true`, `false`"
KINDS = {"integer": WHOLE, "number": "a number", "boolean": BOOLEAN, "null": "`null`", "string": "text"}
SIGNS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
SIGNS |= {"multipleOf": "a multiple of"}
SCHEMA = Params.model_json_schema()
HEAD = f"""\
# params.yaml, key by key

*Made by `{COMMAND} > docs/params.md` from the types in `masksr/params.py`; a test holds the two together.*

`params.yaml` is the only file to edit: change a value, run `dvc repro`, and what depends on it runs again.
Every key must be there, so that what a training did is readable in the file that started it; only a mask
of kind `none` leaves out all others, which are then as the table says. What keys demand of each other,
`python -m masksr check` says in one line. **MODEL**, **MASK** and **STAGE** are the names of entries. What
the paper sets and what it leaves open is in `data/paper.yaml` and in every report.
"""


def markdown() -> str:
    """Write the whole page."""
    parts = [HEAD]
    for path, section in list_sections(SCHEMA, ""):
        lines = ["| key | takes | meaning |", "| --- | --- | --- |"]
        for key, value in section["properties"].items():
            meaning, unit = re.fullmatch(r"(.*?)(?: \[(.+)\])?", join_lines(value["description"])).groups()
            takes = describe(value) + (f" [{unit}]" if unit else "")
            if "default" in value:
                takes += f"; left out: `{write_value(value['default'])}`"
            lines.append(f"| `{key}` | {takes} | {meaning} |")
        kind = section["properties"].get("architecture", {}).get("const")
        of_kind = f" with `architecture: {kind}`" if kind else ""
        parts.append(f"## `{path or 'params.yaml'}`{of_kind}")
        parts += [join_lines(section["description"]), "\n".join(lines)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def list_sections(section: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a section and those in it, with their paths as in the file, such as models.MODEL.loss."""
    yield path, section
    for key, value in section["properties"].items():
        for inner in find_sections(value):
            yield from list_sections(inner, ".".join(filter(None, [path, key, NAMED.get(key)])))


def find_sections(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Find the sections that a key leads to: itself, one of several, one for each name or list entry."""
    many = [value, *value.get("oneOf", []), *value.get("patternProperties", {}).values()]
    many += [value[key] for key in ("additionalProperties", "items") if isinstance(value.get(key), dict)]
    return [SCHEMA["$defs"][one["$ref"].rpartition("/")[2]] for one in many if "$ref" in one]


def describe(value: dict[str, Any]) -> str:
    """Say in words which values a key takes."""
    if find_sections(value):
        return "a list, each with its own keys" if value.get("type") == "array" else "its own keys"
    if "anyOf" in value:
        bound = {"ge": value["ge"]} if "ge" in value else {}
        return ", or ".join(describe(one | bound) for one in value["anyOf"])
    if choice := value.get("enum", [value["const"]] if "const" in value else []):
        return ", ".join(f"`{write_value(one)}`" for one in choice)
    if value["type"] == "array":
        return f"a list; each {describe(value['items'])}"
    bounds = [f"{sign} {write_value(value[key])}" for key, sign in SIGNS.items() if key in value]
    return f"{KINDS[value['type']]} {', '.join(bounds)}".strip()


def join_lines(text: str) -> str:
    return re.sub(r"`+", "`", " ".join(text.split()))
