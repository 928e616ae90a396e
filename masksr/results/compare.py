"""``masksr compare``: two runs side by side: parameters, scores, and how certain their differences are.

A run is a quality.csv, here or in a commit, with the parameters that dvc.lock records for its profile;
without a record they count as unknown. Where both runs have measured the same pictures, the second minus the
first is taken image by image and seed by seed, and judged as ``results.intervals`` judges a mask: with one
seed nothing is decided. What was not measured alike is refused.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from masksr.io import MasksrError, project_root, write_atomic
from masksr.paths import user_path
from masksr.provenance import recorded_params, recorded_stages
from masksr.quality.measures import lower_is_better
from masksr.results.intervals import effects_table, judge_cells
from masksr.results.scores import ENDS, KEYS, measure_titles, read_quality, weights_used
from masksr.results.typeset import to_markdown

HALVES = {"pi": ("niqe", "ma"), "niqe": ("niqe",), "ma": ("ma",)}  # parts of a measure that have weights
ALIKE = 1e-3  # how far scores of a picture may differ between machines: rounding can flip Ma's trees
Cells = dict[tuple[str, str, str], pd.DataFrame]  # (model, mask, test set) -> (seeds, images)


@dataclass(frozen=True)
class Run:
    name: str  # as the user wrote it
    quality: pd.DataFrame  # scores.COLUMNS
    parameters: dict[str, Any] = field(default_factory=dict)  # of dvc.lock, by dotted name; empty: unknown


# ---- Where a run comes from --------------------------------------------------------------------------------
def open_run(text: str) -> Run:
    """Open a run.

    text: a profile (``mini``: its folder in ``results``); a folder with a quality.csv, or such a file; one of
    these in a commit, ``REV:results/mini`` or ``REV:mini``. Raises MasksrError where there are no scores.
    """
    path = user_path(text)
    if not path.exists() and ":" in text:
        with tempfile.TemporaryDirectory(prefix="masksr-") as scratch:
            file, lock = _extract(text, Path(scratch))
            return _read(file, text, lock)
    if not (path.is_file() or (path / "quality.csv").is_file()):
        path = project_root() / "results" / text
    file = path if path.is_file() else path / "quality.csv"
    if not file.is_file():
        known = sorted(path.parent.name for path in (project_root() / "results").glob("*/quality.csv"))
        raise MasksrError(
            f"{text!r} is no profile with results (there are: {', '.join(known) or 'none'}), no folder with "
            "a quality.csv, no such file, and no REV:results/PROFILE"
        )
    lock = file.absolute().parent.parent.parent / "dvc.lock"
    return _read(file, text, lock.read_text(encoding="utf-8") if lock.is_file() else "")


def _extract(text: str, folder: Path) -> tuple[Path, str]:
    """Write a commit's quality.csv to a folder of the same name in ``folder``; return it and dvc.lock."""
    revision, _, inside = text.partition(":")
    inside = inside.removesuffix("quality.csv").rstrip("/")
    inside = inside if "/" in inside else f"results/{inside}"
    shown = {}
    for name in (f"{inside}/quality.csv", "dvc.lock"):
        # "./": relative to the project, which may be deep inside its repository
        what = f"{revision}:./{name}"
        command = ["git", "-C", str(project_root()), "show", "--end-of-options", what]
        done = subprocess.run(command, capture_output=True)
        if done.returncode and name != "dvc.lock":
            raise MasksrError(f"{text}: git has no {what} ({done.stderr.decode(errors='replace').strip()})")
        shown[name] = done.stdout
    file = folder / Path(inside).name / "quality.csv"
    write_atomic(file, shown[f"{inside}/quality.csv"])
    return file, shown["dvc.lock"].decode()


def _read(file: Path, name: str, lock: str) -> Run:
    stages = recorded_stages(file.absolute().parent.name, lock)
    return Run(name, read_quality([file]), _flatten(recorded_params(stages)))


def _flatten(tree: Any, name: str = "") -> dict[str, Any]:
    """Flatten nested parameters to dotted names; a list of maps counts as a map with keys 0, 1 and so on."""
    if isinstance(tree, list) and any(isinstance(entry, dict) for entry in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {name: tree}
    parts = [_flatten(value, f"{name}.{key}" if name else str(key)) for key, value in tree.items()]
    return {key: value for part in parts for key, value in part.items()}


# ---- What was asked: a table, and a note that belongs below it ---------------------------------------------
def compare_parameters(one: Run, other: Run) -> tuple[pd.DataFrame, str]:
    """List the parameters that differ, a row each; none where those of a run are unknown."""
    keys, rows = dict.fromkeys([*one.parameters, *other.parameters]), []
    for key in keys if one.parameters and other.parameters else ():
        first, second = (run.parameters.get(key, "—") for run in (one, other))
        if first != second:
            rows.append([f"`{key}`", str(first), str(second)])
    note = f"{len(rows)} of {len(keys)} parameters differ." if rows else "All parameters are the same."
    for run in (one, other):
        if not run.parameters:
            note = f"The parameters of {run.name} are not known: dvc.lock has no stage of its profile."
    return pd.DataFrame(rows, columns=["parameter", one.name, other.name]), note


# ---- What came out -----------------------------------------------------------------------------------------
def differences(one: Run, other: Run, measure: str = "pi", sets: Sequence[str] = ()) -> Cells:
    """Subtract the first run from the second, for each model, mask and test set, where both have scores."""
    if why_not(one, other, measure, sets):
        return {}
    first, second = (_select(run, sets) for run in (one, other))
    variants = [table[["model", "mask"]].drop_duplicates() for table in (first, second)]
    if len(variants[0]) == len(variants[1]) == 1:  # such as two folders of pictures, whatever they are called
        second = second.assign(**variants[0].iloc[0])
    return _subtract(second, first, measure, KEYS)


def mask_minus_plain(run: Run, measure: str = "pi", sets: Sequence[str] = ()) -> pd.DataFrame:
    """Judge what each mask changes within one run, like ``intervals.compare``, for whatever was measured."""
    table = _select(run, sets)
    masked, baseline = table[~table["mask"].isin(["none", "start"])], table[table["mask"] == "none"]
    return _judge(_subtract(masked, baseline, measure, ["model", "seed", "set", "image"]), run, measure)


def compare_scores(
    one: Run, other: Run, measure: str = "pi", sets: Sequence[str] = ()
) -> tuple[pd.DataFrame, str]:
    """Judge the second run minus the first by ``intervals.judge_cells``; returns the table and its note.

    The note says which sign is good and what was left out, or why there are no rows.
    """
    titles, cells = measure_titles(one.quality), differences(one, other, measure, sets)
    table = _judge(cells, one, measure)
    if problem := why_not(one, other, measure, sets):
        possible = [titles[m] for m in ("niqe", "psnr") if m != measure and differences(one, other, m, sets)]
        return table, problem + (f" Comparable: {' and '.join(possible)}." if possible else "")
    if not cells:
        nothing = "no picture of the same test set with the same model, mask and seed"
        return table, f"Nothing was measured in both: {nothing}."
    a, b, sign = one.name, other.name, "negative" if lower_is_better(measure) else "positive"
    text = f"{b} minus {a}, picture by picture and seed by seed; {sign}: {b} is better."
    if same := int((table["verdict"] == "the same").sum()):
        rows = f" Not shown: {same} rows of equal scores."
        text += " All scores are the same." if same == len(table) else rows
    paired = sum(cell.attrs["pairs"] for cell in cells.values())
    alone = [len(_select(run, sets)) - paired for run in (one, other)]
    if any(alone):
        text += f" Left out, without a partner: {alone[0]} scores of {a}, {alone[1]} of {b}."
    if any(name == "pictures" for *_, name in cells):
        text += " Pictures were paired by their names alone."
    if "stand-in" in titles[measure] and not any(len(_select(run, sets, hr=True)) for run in (one, other)):
        text += " Whether the stand-in is the same in both cannot be told from these files."
    return table, text


def why_not(one: Run, other: Run, measure: str, sets: Sequence[str] = ()) -> str | None:
    """Say in a sentence why a measure cannot be compared on these test sets, or on all; None where it can.

    With other weights, NIQE and Ma are other measures: stand-ins are fitted on the photographs of a profile.
    HR itself reveals other weights: with the same ones, the same picture has the same score.
    """
    title, halves = measure_titles(one.quality)[measure], HALVES.get(measure, ())
    for half in halves:
        labels = [measure_titles(run.quality)[half] for run in (one, other)]
        if labels[0] != labels[1]:
            return f"{title} cannot be compared: {' and '.join(labels)} are two different measures."
    # PSNR of HR is infinite, whatever the picture: official NIQE shows whether the pictures are the same.
    if halves or all(weights_used(run.quality)["niqe"] == "official" for run in (one, other)):
        hr = [_select(run, sets, hr=True).set_index(["set", "image"]) for run in (one, other)]
        first, second = (table[measure if halves else "niqe"] for table in hr)
        gap = (second - first).abs()
        if moved := list(gap[gap > ALIKE].index.unique("set")):
            why = f"HR itself scores differently on {', '.join(moved)}; other pictures, or other weights?"
            return f"{title} cannot be compared: {why}"
    return None


def _select(run: Run, sets: Sequence[str], *, hr: bool = False) -> pd.DataFrame:
    """Select the scores of trained models, or of HR, on these test sets or else on all."""
    model = run.quality["model"]
    quality = run.quality[model == "HR" if hr else ~model.isin(ENDS) | model.isin(ENDS).all()]
    return quality[quality["set"].isin(sets)] if sets else quality


def _subtract(one: pd.DataFrame, other: pd.DataFrame, measure: str, keys: list[str]) -> Cells:
    """Subtract ``other`` from ``one`` where they share the ``keys``; 0 where both are the same infinity."""
    both = one.merge(other[[*keys, measure]], on=keys, suffixes=("", " of other"))
    first, second = both[measure], both[f"{measure} of other"]
    both["difference"] = (first - second).mask(first == second, 0.0)
    cells = {}
    for cell, group in both.groupby(["model", "mask", "set"], sort=False):
        cells[cell] = group.pivot(index="seed", columns="image", values="difference")
        cells[cell].attrs["pairs"] = len(group)
    return cells


def _judge(cells: Cells, run: Run, measure: str) -> pd.DataFrame:
    by_title = {}
    for (model, mask, name), d in cells.items():
        title = {"none": model, "start": f"{model}, pretrained"}.get(mask, f"{model}, mask {mask}")
        by_title[model, mask, title, name] = d
    return judge_cells(by_title, measure_titles(run.quality)[measure], measure)


def run(one: str, other: str, *, sets: Sequence[str] = (), measure: str = "pi") -> None:
    """``masksr compare``: print the two tables of two runs (see ``open_run``). Raises MasksrError."""
    a, b = open_run(one), open_run(other)
    measured = list(dict.fromkeys([*a.quality["set"], *b.quality["set"]]))
    if unknown := [name for name in sets if name not in measured]:
        known = ", ".join(measured)
        raise MasksrError(f"--set {', '.join(unknown)}: measured in neither; there are: {known}")
    scores, note = compare_scores(a, b, measure, sets)
    shown = effects_table(scores[scores["verdict"] != "the same"])
    for title, (table, text) in {"Parameters": compare_parameters(a, b), "Scores": (shown, note)}.items():
        print(f"\n{title}\n\n{to_markdown(table)}\n{text}" if len(table) else f"\n{title}\n\n{text}")
