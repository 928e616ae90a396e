"""``docs/params.md``: every key of ``params.yaml``, made from the types that check it.

Nothing in the page is typed there: meanings and units stand under the keys in ``masksr.params``, what a key takes is
its type, the paper's values and what it leaves open are those of ``data/paper.yaml``, mini's those of its profile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from masksr import project
from masksr.documents import read_yaml
from masksr.params import Params
from masksr.results import paper

COMMAND = "python -m masksr params"
PROFILE = "mini"
_NAMED = {"models": "MODEL", "masks": "MASK", "cluster": "STAGE"}  # maps by names that the reader chooses
_NAME = Params.model_json_schema()["properties"]["profile"]["pattern"]
_HEAD = f"""\
# params.yaml, key by key

*Made by `{COMMAND} > docs/params.md` from the types in `masksr/params.py`; a test holds the two together.*

`params.yaml` is the only knob: change a value, run `dvc repro`, and just what depends on it runs again. Every key must
be there, so that what a training did is readable in the file that started it; the exception is a mask of kind `none`,
whose table has a column for what the keys are that it leaves out. What keys demand of each other, `python -m masksr
check` says in one line. Numbers are written without quotes, and 1e-4 as `1.0e-4`. **MODEL**, **MASK** and **STAGE**
stand for the names of entries.

"Paper" is what the paper sets (section 3.1; k and b: Table 1). "Open" is what its text leaves to the reader, with our
answer; the reasons are in `data/paper.yaml` and in every report.
"""


class Table(NamedTuple):
    path: str  # of the section, such as models.MODEL.loss; "" for the whole file
    schema: dict[str, Any]
    only: str | None  # the architecture, of which a generator's keys are


def markdown() -> str:
    """The whole page. Raises MasksrError where the profile or ``data/paper.yaml`` cannot be read."""
    schema = Params.model_json_schema()
    profile = read_yaml(project.root() / f"profiles/{PROFILE}.yaml")
    titles = {name: model["title"] for name, model in profile["models"].items()}
    parts = [_HEAD]
    for table in _tables(schema, schema, ""):
        heading = f"## `{table.path or 'params.yaml'}`" + (f" with `architecture: {table.only}`" if table.only else "")
        parts += [heading, _plain(table.schema["description"]), _rows(table, schema, profile, titles)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _tables(section: dict[str, Any], schema: dict[str, Any], path: str, only: str | None = None) -> Iterator[Table]:
    """The section and those in it, in the order of the file."""
    yield Table(path, section, only)
    for key, value in section["properties"].items():
        for inner in _sections(value, schema):
            name = f".{_NAMED[key]}" if key in _NAMED else ""
            kind = inner["properties"]["architecture"]["const"] if "oneOf" in value else None
            yield from _tables(inner, schema, f"{path}.{key}{name}".strip("."), kind)


def _sections(value: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections that a key leads to: itself, one of several, one for each name or for each entry of a list."""
    many = [*value.get("oneOf", []), *value.get("patternProperties", {}).values()]
    many += [value[key] for key in ("additionalProperties", "items") if isinstance(value.get(key), dict)]
    return [schema["$defs"][one["$ref"].rpartition("/")[2]] for one in [value, *many] if "$ref" in one]


def _rows(table: Table, schema: dict[str, Any], profile: dict[str, Any], titles: dict[str, str]) -> str:
    properties = table.schema["properties"]
    optional = any("default" in value for value in properties.values())
    head = ["key", "takes", *(["left out"] if optional else []), "meaning", "paper", PROFILE]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for key, value in properties.items():
        path = f"{table.path}.{key}".strip(".")
        meaning, unit = re.fullmatch(r"(.*?)(?: \[(.+)\])?", _plain(value["description"])).groups()
        leads = _sections(value, schema)
        takes = f"[its own keys](#{_anchor(path, key, leads)})" if leads else _takes(value)
        if value.get("type") == "array" and leads:
            takes = f"a list; {takes} in each"
        cells = [f"`{key}`", takes + (f" [{unit}]" if unit else "")]
        if optional:
            cells.append(f"`{paper.write_value(value['default'])}`" if "default" in value else "—")
        here = "—" if leads else paper.write_by_name(_values(profile, path, table.only), titles)
        cells += [meaning, _paper(path, titles), here]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _takes(value: dict[str, Any]) -> str:
    """What a key may be, in words."""
    if "anyOf" in value:
        kinds = {one.get("type"): one | ({"minimum": value["ge"]} if "ge" in value else {}) for one in value["anyOf"]}
        if {"integer", "number"} <= kinds.keys():
            del kinds["integer"]  # a number as well
        return ", or ".join(map(_takes, kinds.values()))
    if choice := value.get("enum", [value["const"]] if "const" in value else []):
        return ", ".join(f"`{paper.write_value(one)}`" for one in choice)
    if value["type"] == "array":
        least = ", at least one" if value.get("minItems") else ""
        return f"a list{least}; each {_takes(value['items'])}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "`true`, `false`", "null": "`null`"}
    kind = kinds.get(value["type"]) or ("a name" if value.get("pattern") == _NAME else "text")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {paper.write_value(value[key])}" for key, sign in signs.items() if key in value]
    bounds += [f"a multiple of {value['multipleOf']}"] if "multipleOf" in value else []
    bounds += [f"of at most {value['maxLength']} characters"] if "maxLength" in value and kind == "text" else []
    return f"{kind} {', '.join(bounds)}".strip()


def _paper(path: str, titles: dict[str, str]) -> str:
    """What the paper says of a key, or what we answer where it leaves that open."""
    for setting in paper.settings():
        if _same(setting["parameter"], path):
            return paper.write_by_name(setting["paper"], titles, setting.get("written"))
    for question in paper.open_questions():
        if question["parameter"] and _same(question["parameter"], path):
            if "default" not in question:
                return "open"
            return f"open; ours: {paper.write_by_name(question['default'], titles, question.get('written'))}"
    return "—"


def _same(parameter: str, path: str) -> bool:
    """Whether a dotted path of data/paper.yaml, where ``*`` is any name, is that of this key."""
    pattern = re.escape(parameter.replace(".phases.*", ".phases")).replace(r"\*", "[A-Z]+")
    return re.fullmatch(pattern, path) is not None


def _values(profile: dict[str, Any], path: str, only: str | None) -> Any:
    """What the profile has at a path: a value, or values by the name that stands for MODEL, MASK or STAGE."""
    if only:
        models = profile["models"].items()
        profile = {"models": {name: model for name, model in models if model["generator"]["architecture"] == only}}
    path = ".".join("*" if key in _NAMED.values() else key for key in path.split("."))
    return paper.value_at(profile, path)


def _plain(text: str) -> str:
    return re.sub(r"`+", "`", " ".join(text.split()))


def _anchor(path: str, key: str, leads: list[dict[str, Any]]) -> str:
    """As GitHub makes it of a heading."""
    name = f".{_NAMED[key]}" if key in _NAMED else ""
    kind = f" with architecture: {leads[0]['properties']['architecture']['const']}" if len(leads) > 1 else ""
    return re.sub(r"[^\w -]", "", f"{path}{name}{kind}".lower()).replace(" ", "-")
