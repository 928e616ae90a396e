"""What differs between two runs before any picture is looked at: parameters, and the weights of trainings."""

from __future__ import annotations

from typing import Any

import pandas as pd

from masksr.results.sides import Side

# What a training reads, by the beginning of its path.
FOLDERS = {"masksr/": "code", "data/sets/": "images", "data/weights/": "VGG19", "runs/": "start"}


def parameter_changes(one: Side, other: Side) -> pd.DataFrame:
    """The parameters that differ, a row each, under the names of the sides; empty where those of a side are unknown."""
    rows, absent = [], object()
    known = one.parameters and other.parameters
    for key in dict.fromkeys([*one.parameters, *other.parameters]) if known else ():
        values = [side.parameters.get(key, absent) for side in (one, other)]
        if values[0] != values[1]:
            rows.append([f"`{key}`", *("—" if value is absent else str(value) for value in values)])
    return pd.DataFrame(rows, columns=["parameter", *names(one, other)])


def parameters_note(one: Side, other: Side) -> str:
    """How many parameters differ, or which side's are unknown; and where they were taken from."""
    unknown = [name for name, side in zip(names(one, other), (one, other), strict=True) if not side.parameters]
    if unknown:
        made = "was made" if len(unknown) == 1 else "were made"
        who = " and ".join(unknown)
        return f"With which parameters {who} {made} is not known: no provenance.json that can be read is there."
    keys = one.parameters.keys() | other.parameters.keys()
    count = len(parameter_changes(one, other))
    notes = [f"{count} of {len(keys)} parameters differ." if count else "All parameters are the same."]
    for side in (one, other):
        if side.parameters_from:
            notes.append(f"{side.name} has no record of its parameters; these are of {side.parameters_from}.")
    return " ".join(notes)


def trainings(one: Side, other: Side) -> pd.DataFrame:
    """A row for each training: whether both have it, whether its weights are the same bytes and, if not, why not.

    The causes are what both records name: the code, torch, the device, images, VGG19's weights, the start,
    parameters. Empty where one of the two has no records.
    """
    found = [_trainings(side) for side in (one, other)]
    rows = []
    for name in dict.fromkeys([*found[0], *found[1]]) if all(found) else ():
        first, second = (stages.get(name) for stages in found)
        if first is None or second is None:
            rows.append([name, f"only in {names(one, other)[first is None]}", ""])
        elif _weights(first) == _weights(second):
            rows.append([name, "equal", ""])
        else:
            rows.append([name, "different", ", ".join(_causes(first, second, one, other))])
    return pd.DataFrame(rows, columns=["training", "weights", "because of"])


def changed(one: Side, other: Side) -> pd.DataFrame:
    """``trainings`` without those whose weights are equal."""
    table = trainings(one, other)
    return table[table["weights"] != "equal"]


def trainings_note(one: Side, other: Side) -> str:
    """In a line, what ``trainings`` says."""
    table = trainings(one, other)
    if table.empty:
        unknown = [name for name, side in zip(names(one, other), (one, other), strict=True) if not _trainings(side)]
        have = "has" if len(unknown) == 1 else "have"
        who = " and ".join(unknown)
        return f"Which trainings have equal weights is not known: {who} {have} no provenance.json that names any."
    counts = table["weights"].value_counts(sort=False)
    return "Weights of the trainings: " + ", ".join(f"{n} {what}" for what, n in counts.items()) + "."


def names(one: Side, other: Side) -> list[str]:
    """What the two are called in a table, where two columns of one name would be one."""
    same = one.name == other.name
    return [f"{one.name} (a)", f"{other.name} (b)"] if same else [one.name, other.name]


def _causes(first: dict[str, Any], second: dict[str, Any], one: Side, other: Side) -> list[str]:
    causes = []
    for folder, what in FOLDERS.items():
        theirs = [_below(stage["deps"], folder) for stage in (first, second)]
        if theirs[0] != theirs[1]:
            causes.append(what)
    causes += [key for key in ("torch", "device") if one.made_with.get(key) != other.made_with.get(key)]
    if not causes and one.parameters == other.parameters:
        return ["nothing that is recorded"]
    return causes or ["parameters"]


def _trainings(side: Side) -> dict[str, dict[str, Any]]:
    """The stages of trainings by their place in the runs, such as ``variants/esrgan-paper-s0``."""
    ending, before = "/generator.safetensors", f"runs/{side.profile}/"
    return {
        name.removesuffix(ending).removeprefix(before): stage
        for stage in side.stages.values()
        for name in stage["outs"]
        if name.endswith(ending)
    }


def _below(files: dict[str, str], folder: str) -> list[str]:
    """The digests of the files in a folder; names hold the profile's, and are nothing to go by."""
    return sorted(digest for name, digest in files.items() if name.startswith(folder))


def _weights(stage: dict[str, Any]) -> list[str]:
    """Not its history, which holds speeds."""
    return sorted(digest for name, digest in stage["outs"].items() if name.endswith(".safetensors"))
