"""The typed parameters of a notebook: its cell tagged ``parameters`` says which there are and what type they have."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from masksr.documents import parse_yaml, read_json
from masksr.errors import MasksrError

TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a map",
    type(None): "null",
}
_NAMES = {"None": type(None)} | {kind.__name__: kind for kind in TYPES}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?e[-+]?\d+")


class Parameter(NamedTuple):
    default: Any
    types: frozenset[type]  # of the default, or as annotated (``k: float | None = None``); empty: any


def declared(source: Path) -> dict[str, Parameter]:
    """What the cell tagged ``parameters`` sets, by name; empty without such a cell.

    Raises MasksrError for a file that is no clean notebook, or a cell with more in it than ``name = literal`` lines.
    """
    cells = _cells(source)
    if any(cell.get("outputs") or "injected-parameters" in _tags(cell) for cell in cells):
        raise MasksrError(f"{source}: the source holds saved outputs; clear them with: nbstripout --keep-id '{source}'")
    tagged = [cell for cell in cells if "parameters" in _tags(cell)]
    if len(tagged) > 1:
        raise MasksrError(f"{source}: {len(tagged)} cells are tagged 'parameters'; keep one")
    try:
        return dict(_declaration(line) for line in ast.parse("".join(tagged[0]["source"])).body) if tagged else {}
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError):  # the last two: deep nesting
        raise MasksrError(f"{source}: the cell tagged 'parameters' may hold only lines like: name = 1") from None


def parsed(source: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """The values of ``name=value`` words from a command line. Text is taken as it stands where ``source`` wants text;
    everything else is YAML. Raises MasksrError.
    """
    known, values = declared(source), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise MasksrError(f"{assignment!r} is no parameter; write name=value")
        if name in values:
            raise MasksrError(f"parameter {name!r} is given twice")
        types = known[name].types if name in known else frozenset()
        try:
            values[name] = text if types == {str} else parse_yaml(text, name)
        except MasksrError as error:
            raise MasksrError(f"{assignment!r}: {error}") from None
        if float in types and isinstance(values[name], str) and _EXPONENT.fullmatch(text):
            values[name] = float(text)  # 3e-06, as DVC writes a small number, is text to YAML
    return values


def checked(source: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, each of the type that ``source`` declares; a whole number may stand for a float and becomes one.

    Raises MasksrError: an unknown name, a wrong type, a notebook that takes no parameters.
    """
    known, typed = declared(source), {}
    if values and not known:
        raise MasksrError(f"{source}: no cell is tagged 'parameters', so it cannot take {', '.join(values)}")
    for name, value in values.items():
        if name not in known:
            raise MasksrError(f"{source}: there is no parameter {name!r} (there are: {', '.join(known)})")
        types = known[name].types
        if type(value) is int and float in types and int not in types:
            value = float(value)
        if types and type(value) not in types:
            wanted = " or ".join(words for kind, words in TYPES.items() if kind in types)
            found = f"{value!r} ({type(value).__name__})"
            raise MasksrError(f"{source}: parameter {name!r} must be {wanted}, but is {found}")
        if not _is_literal(value):
            raise MasksrError(f"{source}: parameter {name!r} holds more than text, numbers, true, false, null and such")
        typed[name] = value
    return typed


def _cells(source: Path) -> list[dict[str, Any]]:
    try:
        cells = read_json(source)["cells"]
        if not all(isinstance(_tags(cell), list) for cell in cells):
            raise TypeError
    except FileNotFoundError:
        raise MasksrError(f"{source}: cannot be read (No such file)") from None
    except MasksrError as error:
        raise MasksrError(f"{error}; not a notebook (nbformat 4)") from None
    except (LookupError, TypeError, AttributeError):
        raise MasksrError(f"{source}: not a notebook (nbformat 4)") from None
    return cells


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return cell.get("metadata", {}).get("tags", [])


def _is_literal(value: Any) -> bool:
    """Whether papermill writes the value into the notebook as itself: of other types it takes the text for code."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_literal, value.values()))
    if isinstance(value, list):
        return all(map(_is_literal, value))
    return value is None or type(value) in (bool, int, float, str)


def _declaration(line: ast.stmt) -> tuple[str, Parameter]:
    match line:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = ast.literal_eval(value)
            return name, Parameter(default, frozenset() if default is None else frozenset({type(default)}))
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            words = {word.partition("[")[0].strip() for word in ast.unparse(annotation).split("|")}
            return name, Parameter(ast.literal_eval(value), frozenset(_NAMES[word] for word in words))
    raise ValueError(line)
