"""What the paper measured, set, claims and leaves open, beside the values of this profile.

Nothing in ``data/paper.yaml`` was computed by us; every table that shows one of its numbers says so.
"""

import json
import math
from functools import cache
from typing import Any

import pandas as pd

from masksr.io import project_root, read_yaml
from masksr.params import Params

_read = cache(read_yaml)
MISSING = "—"  # nothing to compare with: neither the paper nor we have a value for the model


def load() -> dict[str, Any]:
    """Read ``data/paper.yaml``, whose comments explain its parts."""
    return _read(project_root() / "data/paper.yaml")


# ---- Table 1 as printed ------------------------------------------------------------------------------------
def sets() -> list[str]:
    """List the test sets in the paper's order."""
    return list(load()["table1"]["sets"])


def match_set(name: str) -> str | None:
    """Return the paper's name for the test set that we call ``name``, or None if it is not the paper's."""
    for own, others in load()["table1"]["sets"].items():
        if name.casefold() in (known.casefold() for known in [own, *others]):
            return own
    return None


def printed_table1() -> pd.DataFrame:
    """Return Table 1 as printed: columns variant, model, mask and a column of PI per test set."""
    return pd.DataFrame(load()["table1"]["rows"])


def mask_effect() -> pd.DataFrame:
    """Return what the mask changed in Table 1, PI with minus without: a row per model, negative is better."""
    table, columns = printed_table1().set_index("model"), sets()
    with_mask, baseline = (table.loc[table["mask"] == kind, columns] for kind in ("paper", "none"))
    effect = (with_mask - baseline.loc[with_mask.index]).round(2)  # to the printed digits
    effect.insert(0, "variant", table.loc[table["mask"] == "paper", "variant"])
    return effect.reset_index()


# ---- What it leaves open, and what this profile sets otherwise ---------------------------------------------
def answers(params: Params) -> pd.DataFrame:
    """List every open question of ``data/paper.yaml``, whose keys are columns, with the answer in force.

    used: values by model or mask, as in ``used_values``. default: likewise, where there are any. status:
    ``default``; ``differs`` or ``cut`` (smaller than the default) for any model or mask; ``fixed`` where the
    code decides; ``chosen`` where there is no default.
    """
    rows = []
    for question in load()["open_questions"]:
        default, path = question.get("default", MISSING), question["parameter"] or ""
        used = used_values(params, path) if path else {"": default}
        defaults = {name: default_for(default, name) for name in used}
        known = {name: value for name, value in defaults.items() if value != MISSING}
        notes = [_compare(used[name], defaults[name], question, name) for name in used]
        departs = ", ".join(kind for kind in ("differs", "cut") if kind in notes)
        status = departs or ("default" if "same" in notes else "chosen")
        row = {"parameter": path, "used": used, "default": known, "status": status if path else "fixed"}
        rows.append({"written": None} | question | row)
    return pd.DataFrame(rows)


def cuts(params: Params) -> pd.DataFrame:
    """List section 3.1's settings beside those used: columns setting, model, paper, here, note, parameter.

    note: ``same``, ``cut`` (smaller than the paper's) or ``differs``.
    """
    titles, rows = name_titles(params), []
    for setting in load()["settings"]:
        path, words = setting["parameter"], setting.get("written")
        for name, here in used_values(params, path).items():
            wanted = default_for(setting["paper"], name)
            texts = [write_value(value, words) for value in (wanted, here)]
            note = _compare(here, wanted, setting, name)
            rows.append([setting["setting"], titles.get(name, name), *texts, note, path])
    table = pd.DataFrame(rows, columns=["setting", "model", "paper", "here", "note", "parameter"])
    shared = ["setting", "paper", "here", "note", "parameter"]  # models that agree share a row
    return table.groupby(shared, sort=False)["model"].agg(", ".join).reset_index()[list(table.columns)]


def _compare(here: Any, wanted: Any, entry: dict[str, Any], name: str) -> str:
    """Return ``same``, ``cut``, ``differs``, or a dash if nothing can be compared. entry: of paper.yaml."""
    if entry.get("sets"):
        here, wanted = sorted(match_set(of_ours) or of_ours for of_ours in here), sorted(wanted)
    if wanted == MISSING:
        return "—"
    if here == wanted or (name in entry.get("any_value", []) and here is not None):
        return "same"
    return "cut" if entry.get("size") and _size(here) < _size(wanted) else "differs"


def _size(value: Any) -> float:
    """Return how large a setting is: for a list or a network the sum, for null (no limit) infinity."""
    if isinstance(value, dict):
        value = [number for number in value.values() if isinstance(number, int | float)]
    if value is None:
        return math.inf
    return sum(value) if isinstance(value, list) else value


# ---- Values of params.yaml by dotted paths, as text --------------------------------------------------------
def used_values(params: Params, path: str) -> dict[str, Any]:
    """Return the values at a path of params.yaml, by model or mask that Table 1 or Figure 5 trains with.

    ``{"": value}`` for a path that has neither.
    """
    tree = params.model_dump()
    if not path.startswith(("models.", "masks.")):
        return {"": value_at(tree, path)}
    section, name, rest = path.split(".", 2)
    models = [*params.table1.models, params.sweep.model]
    masks = [mask for mask in [*params.table1.masks, params.sweep.mask] if params.masks[mask].kind != "none"]
    names = dict.fromkeys({"models": models, "masks": masks}[section])
    return {each: value_at(tree[section][each], rest) for each in names if name in ("*", each)}


def value_at(tree: Any, path: str) -> Any:
    """Return what nested parameters hold at a dotted path, where ``*`` is every entry of a list."""
    for position, key in enumerate(keys := path.split(".")):
        if key == "*":
            return [value_at(entry, ".".join(keys[position + 1 :])) for entry in tree]
        tree = tree[key]
    return tree


def default_for(value: Any, name: str) -> Any:
    """Return the default, or the paper's value, for one model; the same for all unless given per model."""
    return value.get(name, MISSING) if isinstance(value, dict) else value


def write_value(value: Any, words: dict[Any, str] | None = None) -> str:
    """Write a value as params.yaml does, or null in ``words`` if given."""
    if words and value is None:
        return words[None]
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def name_titles(params: Params) -> dict[str, str]:
    """Return what tables call models and masks."""
    titles = {name: model.title for name, model in params.models.items()}
    return {"": "all"} | {name: f"mask {name}" for name in params.masks} | titles
