"""What the paper leaves open and what this profile cuts, each with the value used right now.

``data/paper.yaml`` holds the paper's settings and our defaults, ``params.yaml`` the values; nothing is typed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from pydantic import BaseModel

from masksr.params import Params
from masksr.results import paper

MISSING = object()  # nothing to compare with: a model of which neither the paper nor we have an opinion


def answers(params: Params) -> pd.DataFrame:
    """Every open question with the answer in force: columns question, used, default, others, status, why, parameter.

    status: ``default``; ``differs`` or ``cut`` (smaller than the default), with the models or masks where only some
    are; ``fixed`` where the code decides; ``chosen`` where there is no default.
    """
    rows = []
    for question in paper.open_questions():
        path, default = question["parameter"], question.get("default", MISSING)
        used = values(params, path) if path else {"": default}
        defaults = {name: _expected(default, name) for name in used}
        write = _writer(question)
        rows.append(
            {
                "question": question["question"],
                "used": _written(used, write, params) if used else "— (not trained here)",
                "default": "—" if default is MISSING else _written(_all(default, defaults, path), write, params),
                "others": ", ".join(map(write, question["others"])),
                "status": "fixed" if not path else _status(used, defaults, question, params),
                "why": question["why"],
                "parameter": path or "",
            }
        )
    return pd.DataFrame(rows)


def in_brief(answers: pd.DataFrame) -> pd.DataFrame:
    """``answers`` in three columns for reading: question and parameter, the value used, why and what else there is."""
    rows = []
    for row in answers.itertuples():
        used = (
            row.used
            if row.status in ("default", "fixed", "chosen")
            else f"{row.used} ({row.status}; else {row.default})"
        )
        more = f" Or: {row.others}." if row.others else ""
        question = f"{row.question} `{row.parameter}`" if row.parameter else f"{row.question} (not a parameter)"
        rows.append({"question": question, "used here": used, "why, and what else is possible": row.why + more})
    return pd.DataFrame(rows)


def cuts(params: Params) -> pd.DataFrame:
    """Every setting of section 3.1 beside the one used: columns setting, model, paper, here, note, parameter.

    note: ``same``, ``cut`` (smaller than the paper's) or ``differs``. How many steps an epoch has is our reading.
    """
    reading = next(q["default"] for q in paper.open_questions() if q["parameter"] == "train.steps_per_epoch")
    rows = []
    for setting in paper.settings():
        for name, here in values(params, setting["parameter"]).items():
            wanted = _expected(setting["paper"], name)
            write = _writer(setting)
            texts = ["—" if wanted is MISSING else write(wanted), write(here)]
            if setting.get("epochs") and wanted is not MISSING:  # what counts is the number of steps
                texts = [_epochs(wanted, reading), _epochs(here, params.train.steps_per_epoch)]
                wanted, here = _total(wanted) * reading, _total(here) * params.train.steps_per_epoch
            note = _compare(here, wanted, setting)
            rows.append([setting["setting"], _title(name, params), *texts, note, setting["parameter"]])
    table = pd.DataFrame(rows, columns=["setting", "model", "paper", "here", "note", "parameter"])
    shared = ["setting", "paper", "here", "note", "parameter"]  # models that agree share a row
    return table.groupby(shared, sort=False)["model"].agg(", ".join).reset_index()[list(table.columns)]


def values(params: Params, path: str) -> dict[str, Any]:
    """The values at a dotted path, by name: ``models.*`` and ``masks.*`` are those used, ``*`` in a list every entry.

    ``{"": value}`` for a path without a name to tell apart, ``{}`` for a model or mask that the profile does not have.
    """
    first, _, rest = path.partition(".")
    section = getattr(params, first)
    if not isinstance(section, dict):
        return {"": _get(section, rest)}
    name, _, rest = rest.partition(".")
    names = _used(params, first) if name == "*" else [name]
    return {n: _get(section[n], rest) for n in names if n in section}


def _used(params: Params, section: str) -> list[str]:
    """The models or masks that Table 1 or Figure 5 trains with."""
    if section == "models":
        return list(dict.fromkeys([*params.table1.models, params.sweep.model]))
    names = dict.fromkeys([*params.table1.masks, params.sweep.mask])
    return [name for name in names if params.masks[name].kind != "none"]


def _get(value: Any, path: str) -> Any:
    first, _, rest = path.partition(".")
    if not first:
        return value.model_dump() if isinstance(value, BaseModel) else value
    if first == "*":
        return [_get(entry, rest) for entry in value]
    return _get(getattr(value, first), rest)


def _expected(value: Any, name: str) -> Any:
    """The default or the paper's value for one model; for all, where it is not given per model."""
    return value.get(name, MISSING) if isinstance(value, dict) else value


def _all(default: Any, defaults: dict[str, Any], path: str | None) -> dict[str, Any]:
    known = {name: value for name, value in defaults.items() if value is not MISSING}
    return known or {"": "—" if isinstance(default, dict) and path else default}


def _status(used: dict[str, Any], defaults: dict[str, Any], question: dict[str, Any], params: Params) -> str:
    notes = {}
    for name, value in used.items():
        if name in question.get("any_value", []):
            notes[name] = "default" if value is not None else "differs"
        else:
            note = _compare(value, defaults[name], question)
            notes[name] = {"same": "default", "—": "chosen"}.get(note, note)
    if set(notes.values()) == {"default", "chosen"}:  # a model of the user's own beside ours
        notes = {name: "default" for name in notes}
    if len(set(notes.values())) == 1:
        return next(iter(notes.values()))
    kinds = [kind for kind in ("differs", "cut") if kind in notes.values()]
    return "; ".join(f"{k} ({', '.join(_title(n, params) for n in notes if notes[n] == k)})" for k in kinds)


def _compare(here: Any, wanted: Any, entry: dict[str, Any]) -> str:
    if wanted is MISSING:
        return "—"
    if entry.get("sets"):
        here, wanted = {paper.match_set(name) or name for name in here}, set(wanted)
    if here == wanted:
        return "same"
    return "cut" if entry.get("size") and _smaller(here, wanted) else "differs"


def _smaller(here: Any, wanted: Any) -> bool:
    if isinstance(here, dict):
        same_kind = here.get("architecture") == wanted.get("architecture")
        return same_kind and any(here[key] < wanted[key] for key in here if key != "architecture")
    if isinstance(here, list):
        return sum(here) < sum(wanted)
    return wanted is None or here < wanted


def _writer(entry: dict[str, Any]) -> Callable[[Any], str]:
    written = entry.get("written", {})

    def write(value: Any) -> str:
        if isinstance(value, bool):  # before the look-up: True == 1
            return str(value).lower()
        if value is None or isinstance(value, str | int | float):
            if value in written:
                return written[value]
            if isinstance(value, float):
                return f"{value:g}".replace("e-0", "e-")
            return "—" if value is None else str(value)
        if isinstance(value, dict):
            sizes = ", ".join(f"{key} {write(v)}" for key, v in value.items() if key != "architecture")
            return f"{value['architecture']} ({sizes})"
        return ", ".join(map(write, value)) or "none"

    return write


def _written(by_name: dict[str, Any], write: Callable[[Any], str], params: Params) -> str:
    """One text for all names, or ``ESRGAN: l1; PESR, EDSR: mse``."""
    names: dict[str, list[str]] = {}
    for name, value in by_name.items():
        names.setdefault(write(value), []).append(_title(name, params))
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(titles)}: {text}" for text, titles in names.items())


def _title(name: str, params: Params) -> str:
    if not name:
        return "all"
    return params.models[name].title if name in params.models else f"mask {name}"


def _epochs(count: int | list[int], steps: int) -> str:
    counts = count if isinstance(count, list) else [count]
    return " + ".join(f"{n} epochs of {steps} steps" for n in counts) or "none"


def _total(count: int | list[int]) -> int:
    return sum(count) if isinstance(count, list) else count
