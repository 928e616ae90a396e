"""``masksr compare``: two runs side by side. What was asked of them, what came of it, and how sure the difference is.

Where both have measured the same pictures, the second minus the first is taken image by image and seed by seed, and
judged as ``results.evidence`` judges a mask: with one seed nothing is decided. What was not measured alike is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from masksr.errors import MasksrError
from masksr.quality.labels import half_label
from masksr.quality.measures import lower_is_better
from masksr.results import outputs as results
from masksr.results.changes import changed, names, parameter_changes, parameters_note, trainings, trainings_note
from masksr.results.evidence import COLUMNS, LEVEL, judged, together
from masksr.results.scores import measure_titles, weights_used
from masksr.results.sides import Side, opened
from masksr.results.summaries import ENDS
from masksr.results.typeset import to_markdown
from masksr.terminal import shown

__all__ = ["changed", "differences", "mask_minus_plain", "note", "opened", "paired", "parameter_changes",
           "parameters_note", "readable", "run", "trainings", "trainings_note", "why_not"]  # fmt: skip

HALVES = {"pi": ("niqe", "ma"), "niqe": ("niqe",), "ma": ("ma",)}  # what of a measure has weights
NAMES = {"niqe": "NIQE", "ma": "Ma"}
ALIKE = 1e-3  # scores of one picture on two machines: rounding can turn a leaf of Ma's forests
Cell = tuple[str, str, str]  # model, mask, test set
Cells = dict[Cell, pd.DataFrame]  # (seeds, images)


def differences(one: Side, other: Side, measure: str = "pi", sets: Sequence[str] = ()) -> Cells:
    """What ``paired`` judges: for each model, mask and test set the second minus the first, where both have it."""
    if why_not(one, other, measure):
        return {}
    first, second = _grids(one, other, measure, sets)
    found = {}
    for cell in [cell for cell in first if cell in second]:
        seeds = first[cell].index.intersection(second[cell].index)
        images = first[cell].columns.intersection(second[cell].columns)
        if len(seeds) and len(images):
            before, after = first[cell].loc[seeds, images], second[cell].loc[seeds, images]
            found[cell] = (after - before).mask(after == before, 0.0)  # also PSNR of equal pictures: infinite in both
    return found


def paired(one: Side, other: Side, measure: str = "pi", sets: Sequence[str] = ()) -> pd.DataFrame:
    """The second minus the first, a row for each of ``differences``, with ``evidence.COLUMNS``.

    The intervals of all rows hold together with 95 %. Where no score differs the verdict is ``the same``: no interval
    is needed there, and none of the 5 % is spent. ``note`` says what was left out, or why there are no rows.
    """
    return _table(differences(one, other, measure, sets), one, measure)


def mask_minus_plain(side: Side, measure: str = "pi", sets: Sequence[str] = ()) -> pd.DataFrame:
    """What each mask changes within one side, as ``evidence.compare`` has it, for whatever was measured there."""
    grids, found = _of(side, measure, sets), {}
    for (model, mask, name), grid in grids.items():
        plain = grids.get((model, "none", name))
        if mask not in ("none", "start") and plain is not None:
            seeds, images = grid.index.intersection(plain.index), grid.columns.intersection(plain.columns)
            if len(seeds) and len(images):
                found[model, mask, name] = grid.loc[seeds, images] - plain.loc[seeds, images]
    return _table(found, side, measure)


def why_not(one: Side, other: Side, measure: str) -> str | None:
    """Why a measure cannot be compared, in a sentence; None where it can.

    NIQE and Ma are other measures with other weights: stand-ins are fitted on the photographs of a profile.
    """
    title = measure_titles(one.quality)[measure]
    for half in HALVES.get(measure, ()):
        if _same_weights(one, other, half) is False:
            labels = [half_label(NAMES[half], weights_used(side.quality)[half]) for side in (one, other)]
            same = f"{labels[0]} has other weights in each, so it is"
            why = same if labels[0] == labels[1] else f"{' and '.join(labels)} are"
            return f"{title} cannot be compared: {why} two different measures."
    probe = measure if measure in HALVES else "niqe"  # what tells one picture from another of the same name
    if probe == measure or _same_weights(one, other, "niqe"):
        gap = _gap_of_hr(one, other, probe)
        if moved := list(gap[gap > ALIKE].index.unique("set")):
            return f"{title} cannot be compared: HR itself scores differently on {', '.join(moved)}; other pictures?"
    return None


def note(one: Side, other: Side, measure: str = "pi", sets: Sequence[str] = ()) -> str:
    """What belongs below ``paired``: which sign is good and what was left out; or why it is empty."""
    here, there = names(one, other)
    if problem := why_not(one, other, measure):
        possible = [m for m in ("niqe", "psnr") if m != measure and differences(one, other, m, sets)]
        titles = measure_titles(one.quality)
        return problem + (f" Comparable: {' and '.join(titles[m] for m in possible)}." if possible else "")
    cells, (first, second) = differences(one, other, measure, sets), _grids(one, other, measure, sets)
    if not cells:
        return (
            "Nothing was measured in both: no picture of the same test set with the same model, mask and seed. "
            f"{here} has {_coverage(first)}; {there} has {_coverage(second)}."
        )
    sign = "negative" if lower_is_better(measure) else "positive"
    notes = [f"{there} minus {here}, picture by picture and seed by seed; {sign}: {there} is better."]
    if same := sum(map(_same, cells.values())):
        notes.append("All scores are the same." if same == len(cells) else f"Not shown: {same} rows of equal scores.")
    alone = {name: len(grids.keys() - cells) for name, grids in ((here, first), (there, second))}
    if any(alone.values()):
        notes.append(f"Rows without a partner: {', '.join(f'{count} of {name}' for name, count in alone.items())}.")
    if any(first[cell].shape != d.shape or second[cell].shape != d.shape for cell, d in cells.items()):
        notes.append("Seeds and pictures that only one of them has are left out.")
    for half in HALVES.get(measure, ()):
        if _same_weights(one, other, half) is None and _gap_of_hr(one, other, measure).empty:
            notes.append(f"Whether {NAMES[half]} is the same stand-in in both cannot be told from these files.")
    if any(name == "pictures" for *_, name in cells):
        notes.append("Pictures were paired by their names alone.")
    return " ".join(notes)


def run(one: str, other: str, *, sets: Sequence[str] = (), measure: str = "pi") -> None:
    """``masksr compare``: print the three tables of two sides (see ``sides.opened``). Raises MasksrError."""
    a, b = opened(one), opened(other)
    measured = list(dict.fromkeys([*a.quality["set"], *b.quality["set"]]))
    if unknown := [name for name in sets if name not in measured]:
        raise MasksrError(f"--set {', '.join(unknown)}: measured in neither; there are: {', '.join(measured)}")
    parts = {
        "Parameters": (parameter_changes(a, b), parameters_note(a, b)),
        "Trainings": (changed(a, b), trainings_note(a, b)),
        "Scores": (readable(paired(a, b, measure, sets)), note(a, b, measure, sets)),
    }
    for title, (table, text) in parts.items():
        body = f"{to_markdown(table)}\n" if len(table) else ""
        print(shown(f"\n{title}\n\n{body}{text}", keep="\n"))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """``paired`` for reading, without the rows in which all scores are the same."""
    return results.effects_table(table[table["verdict"] != "the same"])


def _grids(one: Side, other: Side, measure: str, sets: Sequence[str]) -> tuple[Cells, Cells]:
    """What both have measured. Where each has a single variant, such as two folders of pictures, these are meant."""
    first, second = _of(one, measure, sets), _of(other, measure, sets)
    variants = [{cell[:2] for cell in grids} for grids in (first, second)]
    if len(variants[0]) == len(variants[1]) == 1:
        (of_first,) = variants[0]
        second = {(*of_first, name): grid for (_, _, name), grid in second.items()}
    return first, second


def _of(side: Side, measure: str, sets: Sequence[str]) -> Cells:
    part = side.quality[~side.quality["model"].isin(ENDS)]
    part = part[part["set"].isin(sets)] if sets else part
    groups = part.groupby(["model", "mask", "set"], sort=False)
    return {cell: group.pivot(index="seed", columns="image", values=measure) for cell, group in groups}


def _table(cells: Cells, side: Side, measure: str) -> pd.DataFrame:
    same = {cell for cell, d in cells.items() if _same(d)}
    level, rows = together(LEVEL, max(len(cells) - len(same), 1)), []
    for cell, d in cells.items():
        model, mask, name = cell
        variant = {"none": model, "start": f"{model} start"}.get(mask, f"{model}, mask {mask}")
        row: dict[str, Any] = {"model": model, "mask": mask, "variant": variant, "set": name}
        row |= {"metric": measure_titles(side.quality)[measure]} | judged(d, measure, level)
        rows.append(row | (dict.fromkeys(["verdict", "trainings"], "the same") if cell in same else {}))
    return pd.DataFrame(rows, columns=COLUMNS)


def _same(differences: pd.DataFrame) -> bool:
    return bool(differences.eq(0).all(axis=None))


def _same_weights(one: Side, other: Side, half: str) -> bool | None:
    """Whether NIQE or Ma had the same weights in both; None where neither labels nor records tell."""
    kinds = {weights_used(side.quality)[half] for side in (one, other)}
    digests = [_digest(side, half) for side in (one, other)]
    if len(kinds) > 1 or (all(digests) and digests[0] != digests[1]):
        return False
    return True if all(digests) or kinds == {"official"} else None


def _digest(side: Side, half: str) -> str | None:
    """The sha256 of the weights with which all of a side was measured, where its record has one."""
    place = f"data/weights/{side.profile}/quality/{half}.mat"
    found = {step["inputs"].get(place) for step in side.steps.values()} - {None}
    return found.pop() if len(found) == 1 else None


def _gap_of_hr(one: Side, other: Side, measure: str) -> pd.Series:
    """How far HR's own scores lie apart, by set and image, on the pictures that have one in both."""
    first, second = (
        side.quality[side.quality["model"] == "HR"].set_index(["set", "image"])[measure].dropna()
        for side in (one, other)
    )
    return (second - first).abs().dropna()


def _coverage(cells: Cells) -> str:
    models, sets = ({cell[place]: None for cell in cells} for place in (0, 2))
    return f"{', '.join(models)} on {', '.join(sets)}" if cells else "nothing of these test sets"
