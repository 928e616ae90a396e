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
def cuts(params: Params) -> pd.DataFrame:
    """List section 3.1's settings beside those used: columns setting, model, paper, here, note, parameter.

    note: ``same``, ``cut`` (smaller than the paper's) or ``differs``.
    """
    titles, rows = name_titles(params), []
    for setting in load()["settings"]:
        used, wanted, notes = beside(params, setting)
        for name, note in notes.items():
            texts = [write_value(values[name], setting.get("written")) for values in (wanted, used)]
            rows.append([setting["setting"], titles.get(name, name), *texts, note, setting["parameter"]])
    table = pd.DataFrame(rows, columns=["setting", "model", "paper", "here", "note", "parameter"])
    shared = ["setting", "paper", "here", "note", "parameter"]  # models that agree share a row
    return table.groupby(shared, sort=False)["model"].agg(", ".join).reset_index()[list(table.columns)]


def departures(params: Params, model: str, mask: str | None) -> list[str]:
    """List what of ``model`` with ``mask`` is set, or read where the text is open, not as in the paper.

    In the words of ``data/paper.yaml``; without Figure 5's values, and PI's weights, which its label names.
    """
    found, counted = [], {"k", "b", "quality"}
    for entry in load()["settings"] + load()["open_questions"]:
        rest = (entry["parameter"] or "").split(".", 2)[-1]  # what both have counts once
        notes = {name: note for name, note in beside(params, entry)[2].items() if name in ("", model, mask)}
        odd = {"cut", "differs", MISSING} if "setting" in entry else {"cut", "differs"}
        if not odd.isdisjoint(notes.values()) and ("setting" in entry or rest not in counted):
            found.append(entry.get("setting") or entry["question"])
        counted.add(rest)
    return found


def beside(params: Params, entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Return the values used, by model or mask, those of an entry of paper.yaml, and the note on each."""
    path, value = entry["parameter"], entry.get("paper", entry.get("default", MISSING))
    used = used_values(params, path) if path else {"": value}
    wanted = {name: value.get(name, MISSING) if isinstance(value, dict) else value for name in used}
    return used, wanted, {name: _compare(used[name], wanted[name], entry, name) for name in used}


def _compare(here: Any, wanted: Any, entry: dict[str, Any], name: str) -> str:
    """Return ``same``, ``cut``, ``differs``, or a dash if nothing can be compared. entry: of paper.yaml."""
    if entry.get("sets"):
        here, wanted = sorted(match_set(of_ours) or of_ours for of_ours in here), sorted(wanted)
    if wanted == MISSING:
        return MISSING
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

    ``{"": value}`` for a path that has neither. A model's ``steps_per_epoch`` is the one in force.
    """
    tree = params.model_dump()
    for name, model in tree["models"].items():
        model["steps_per_epoch"] = params.train_of(name).steps_per_epoch
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


def write_value(value: Any, words: dict[Any, str] | None = None) -> str:
    """Write a value as params.yaml does, or null in ``words`` if given."""
    if words and value is None:
        return words[None]
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def name_titles(params: Params) -> dict[str, str]:
    """Return what tables call models and masks."""
    names = {"": "all"} | {name: f"mask {name}" for name in params.masks}
    return names | {name: model.title for name, model in params.models.items()}
