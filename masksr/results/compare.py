"""``masksr compare``: two runs side by side: what was asked, what came out, how sure the difference is.

A run is a quality.csv, here or in a commit, with what provenance.json beside it tells; where there is none,
that is unknown, and said to be. Where both runs have measured the same pictures, the second minus the first
is taken image by image and seed by seed, and judged as ``results.evidence`` judges a mask: with one seed
nothing is decided. What was not measured alike is refused.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from masksr import params, project
from masksr.errors import MasksrError
from masksr.files import user_path
from masksr.provenance import dump_params
from masksr.quality.measures import lower_is_better
from masksr.results.evidence import COLUMNS, LEVEL, bonferroni, effects_table, judge
from masksr.results.scores import ENDS, KEYS, measure_titles, read_quality, weights_used
from masksr.results.typeset import to_markdown

HALVES = {"pi": ("niqe", "ma"), "niqe": ("niqe",), "ma": ("ma",)}  # what of a measure has weights
ALIKE = 1e-3  # of scores of one picture on two machines: rounding can turn a leaf of Ma's forests
# What a training reads, by the beginning of its path.
INPUTS = {"masksr/": "code", "data/sets/": "images", "data/weights/": "VGG19", "runs/": "start"}
Cells = dict[tuple[str, str, str], pd.DataFrame]  # (model, mask, test set) -> (seeds, images)


@dataclass(frozen=True)
class Run:
    name: str  # as the user has it
    quality: pd.DataFrame  # scores.COLUMNS
    parameters: dict[str, Any] = field(default_factory=dict)  # by dotted name; empty: unknown
    provenance: dict[str, Any] = field(default_factory=dict)  # of provenance.json; empty: unknown


# Where a run comes from


def open_run(text: str) -> Run:
    """Read a run.

    text: a profile (``mini``: its folder of ``results``); a folder with a quality.csv, or such a file; one of
    these in a commit, ``REV:results/mini`` or ``REV:mini``. Raises MasksrError where nothing was measured
    there.
    """
    path = user_path(text)
    if not path.exists() and ":" in text:
        return _open_commit(text)
    if not (path.is_file() or (path / "quality.csv").is_file()):
        path = project.root() / "results" / text
    file = path if path.is_file() else path / "quality.csv"
    if not file.is_file():
        known = sorted(path.parent.name for path in (project.root() / "results").glob("*/quality.csv"))
        raise MasksrError(
            f"{text!r} is no profile with results (there are: {', '.join(known) or 'none'}), no folder with a "
            "quality.csv, no such file, and no REV:results/PROFILE"
        )
    return _read(file, text)


def _open_commit(text: str) -> Run:
    """Read quality.csv and provenance.json out of git."""
    revision, _, inside = text.partition(":")
    inside = inside.removesuffix("quality.csv").rstrip("/")
    folder = inside if "/" in inside else f"results/{inside}"
    with tempfile.TemporaryDirectory(prefix="masksr-") as scratch:
        for name in ("quality.csv", "provenance.json"):
            # "./": from the project, which may lie deep in its repository
            what = f"{revision}:./{folder}/{name}"
            command = ["git", "-C", str(project.root()), "show", "--end-of-options", what]
            try:
                shown = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
            except OSError as error:
                raise MasksrError(f"{text}: git cannot be asked ({error})") from None
            if shown.returncode == 0:
                (Path(scratch) / name).write_bytes(shown.stdout)
        file = Path(scratch) / "quality.csv"
        if not file.is_file():
            raise MasksrError(
                f"{text}: there is no {folder}/quality.csv, or git knows no commit {revision!r} of this project"
            )
        try:
            return _read(file, text)
        except MasksrError as error:
            raise MasksrError(str(error).replace(scratch, f"{revision}:{folder}")) from None


def _read(file: Path, name: str) -> Run:
    quality, known = read_quality([file]), file.with_name("provenance.json")
    provenance = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    if "stages" in provenance:
        return Run(name, quality, _flatten(provenance["params"]), provenance)
    # Without a record, or with one of an earlier version, the profile as it is now has to do for the
    # parameters.
    profile = file.resolve().parents[2] / f"profiles/{file.parent.name}.yaml"
    return Run(name, quality, _flatten(dump_params(params.load(profile))) if profile.is_file() else {})


def _flatten(tree: Any, name: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names; a list of maps counts like a map from 0, 1 and so on."""
    if isinstance(tree, list) and any(isinstance(entry, dict) for entry in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {name: tree}
    parts = [_flatten(value, f"{name}.{key}" if name else str(key)) for key, value in tree.items()]
    return {key: value for part in parts for key, value in part.items()}


def _names(one: Run, other: Run) -> list[str]:
    """What the two are called in a table, where two columns of one name would be one."""
    return [one.name, other.name] if one.name != other.name else [f"{one.name} (a)", f"{other.name} (b)"]


# What was asked, and what was trained: each a table, and a note that belongs below it


def compare_parameters(one: Run, other: Run) -> tuple[pd.DataFrame, str]:
    """The parameters that differ, a row each; none where those of a run are unknown."""
    names, rows = _names(one, other), []
    keys = dict.fromkeys([*one.parameters, *other.parameters])
    for key in keys if one.parameters and other.parameters else ():
        values = [run.parameters.get(key, "—") for run in (one, other)]
        if values[0] != values[1]:
            rows.append([f"`{key}`", *map(str, values)])
    note = f"{len(rows)} of {len(keys)} parameters differ." if rows else "All parameters are the same."
    for name, run in zip(names, (one, other), strict=True):
        if not run.parameters:
            note = f"The parameters of {name} are not known: it has no provenance.json of this version."
        elif not run.provenance:
            note += f" {name} has no record of its parameters; these are of its profile as it is now."
    return pd.DataFrame(rows, columns=["parameter", *names]), note


def compare_trainings(one: Run, other: Run) -> tuple[pd.DataFrame, str]:
    """The trainings whose weights differ, or that only one run has, and because of what.

    The causes are what both records name: the code, images, VGG19's weights, the start, torch, the device,
    parameters.
    """
    names, trainings, rows = _names(one, other), [_trainings(run) for run in (one, other)], []
    for name, known in zip(names, trainings, strict=True):
        if not known:
            return pd.DataFrame(), f"Which weights are equal is not known: {name} has no record of trainings."
    for training in dict.fromkeys([*trainings[0], *trainings[1]]):
        first, second = (known.get(training) for known in trainings)
        if first is None or second is None:
            rows.append([training, f"only in {names[first is None]}", ""])
        elif _digests(first["outs"], ".safetensors") == _digests(second["outs"], ".safetensors"):
            rows.append([training, "equal", ""])
        else:
            rows.append([training, "different", ", ".join(_causes(one, other, first, second))])
    table = pd.DataFrame(rows, columns=["training", "weights", "because of"])
    counts = [f"{count} {state}" for state, count in table["weights"].value_counts(sort=False).items()]
    return table[table["weights"] != "equal"], f"Weights of the trainings: {', '.join(counts)}."


def _trainings(run: Run) -> dict[str, dict[str, Any]]:
    """The stages of trainings by their place in the runs, such as ``variants/esrgan-paper-s0``."""
    begin, end = f"runs/{run.provenance.get('profile')}/", "/generator.safetensors"
    stages = run.provenance.get("stages", {}).values()
    files = {file: stage for stage in stages for file in stage["outs"] if file.endswith(end)}
    return {file.removesuffix(end).removeprefix(begin): stage for file, stage in files.items()}


def _causes(one: Run, other: Run, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    causes = []
    for begin, cause in INPUTS.items():
        if _digests(first["deps"], begin=begin) != _digests(second["deps"], begin=begin):
            causes.append(cause)
    made_with = [run.provenance.get("made_with", {}) for run in (one, other)]
    causes += [key for key in ("torch", "device") if made_with[0].get(key) != made_with[1].get(key)]
    return causes or (["parameters"] if one.parameters != other.parameters else ["nothing that is recorded"])


def _digests(files: dict[str, str], end: str = "", begin: str = "") -> list[str]:
    """The digests of the files whose names begin and end so; their folders hold the profile's name."""
    return sorted(digest for name, digest in files.items() if name.startswith(begin) and name.endswith(end))


# What came out


def differences(one: Run, other: Run, measure: str = "pi", sets: Sequence[str] = ()) -> Cells:
    """For each model, mask and test set the second run minus the first, where both have scores."""
    if why_not(one, other, measure):
        return {}
    first, second = (_select(run, sets) for run in (one, other))
    variants = [table[["model", "mask"]].drop_duplicates() for table in (first, second)]
    if len(variants[0]) == len(variants[1]) == 1:  # such as two folders of pictures, whatever they are called
        second = second.assign(**variants[0].iloc[0])
    return _subtract(second, first, measure, KEYS)


def mask_minus_plain(run: Run, measure: str = "pi", sets: Sequence[str] = ()) -> pd.DataFrame:
    """What each mask changes within one run, as in ``evidence.compare``, for whatever was measured there."""
    table = _select(run, sets)
    masked, baseline = table[~table["mask"].isin(["none", "start"])], table[table["mask"] == "none"]
    return _judge(_subtract(masked, baseline, measure, ["model", "seed", "set", "image"]), run, measure)


def compare_scores(
    one: Run, other: Run, measure: str = "pi", sets: Sequence[str] = ()
) -> tuple[pd.DataFrame, str]:
    """The second run minus the first, with ``evidence.COLUMNS``, and a note that belongs below it.

    The intervals of all rows hold together with 95 %. Where no score differs the verdict is ``the same``: no
    interval is needed there, and none of the 5 % is spent. The note says which sign is good and what was left
    out, or why there are no rows.
    """
    titles, (a, b) = measure_titles(one.quality), _names(one, other)
    cells = differences(one, other, measure, sets)
    table = _judge(cells, one, measure)
    if problem := why_not(one, other, measure):
        possible = [titles[m] for m in ("niqe", "psnr") if m != measure and differences(one, other, m, sets)]
        return table, problem + (f" Comparable: {' and '.join(possible)}." if possible else "")
    if not cells:
        note = (
            "Nothing was measured in both: no picture of the same test set with the same model, mask and seed."
        )
        return table, note
    sign = "negative" if lower_is_better(measure) else "positive"
    notes = [f"{b} minus {a}, picture by picture and seed by seed; {sign}: {b} is better."]
    same = int((table["verdict"] == "the same").sum())
    if same:
        notes.append(
            "All scores are the same." if same == len(table) else f"Not shown: {same} rows of equal scores."
        )
    alone = [len(_select(run, sets)) - sum(cell.size for cell in cells.values()) for run in (one, other)]
    if any(alone):
        notes.append(f"Left out, without a partner: {alone[0]} scores of {a}, {alone[1]} of {b}.")
    if any(name == "pictures" for *_, name in cells):
        notes.append("Pictures were paired by their names alone.")
    hr_measured = any("HR" in set(run.quality["model"]) for run in (one, other))
    if "stand-in" in titles[measure] and not hr_measured:
        notes.append("Whether the stand-in is the same in both cannot be told from these files.")
    return table, " ".join(notes)


def why_not(one: Run, other: Run, measure: str) -> str | None:
    """Why a measure cannot be compared, in a sentence; None where it can.

    NIQE and Ma are other measures with other weights: stand-ins are fitted on the photographs of a profile.
    HR itself tells: with the same weights the same picture has the same score.
    """
    title, halves = measure_titles(one.quality)[measure], HALVES.get(measure, ())
    for half in halves:
        labels = [measure_titles(run.quality)[half] for run in (one, other)]
        if labels[0] != labels[1]:
            return f"{title} cannot be compared: {' and '.join(labels)} are two different measures."
    # PSNR of HR is infinite, whatever the picture: official NIQE tells whether the pictures are the same.
    if halves or all(weights_used(run.quality)["niqe"] == "official" for run in (one, other)):
        hr = [run.quality[run.quality["model"] == "HR"].set_index(["set", "image"]) for run in (one, other)]
        first, second = (table[measure if halves else "niqe"] for table in hr)
        gap = (second - first).abs()
        if moved := list(gap[gap > ALIKE].index.unique("set")):
            why = f"HR itself scores differently on {', '.join(moved)}; other pictures, or other weights?"
            return f"{title} cannot be compared: {why}"
    return None


def _select(run: Run, sets: Sequence[str]) -> pd.DataFrame:
    """The scores of trained models, on these test sets or on all."""
    quality = run.quality[~run.quality["model"].isin(ENDS)]
    return quality[quality["set"].isin(sets)] if sets else quality


def _subtract(one: pd.DataFrame, other: pd.DataFrame, measure: str, keys: list[str]) -> Cells:
    """One minus the other where they share the ``keys``; 0 where both are the same infinity."""
    both = one.merge(other[[*keys, measure]], on=keys, suffixes=("", " of other"))
    first, second = both[measure], both[f"{measure} of other"]
    both["difference"] = (first - second).mask(first == second, 0.0)
    groups = both.groupby(["model", "mask", "set"], sort=False)
    return {cell: group.pivot(index="seed", columns="image", values="difference") for cell, group in groups}


def _judge(cells: Cells, run: Run, measure: str) -> pd.DataFrame:
    same = {cell for cell, d in cells.items() if d.eq(0).all(axis=None)}
    level, rows = bonferroni(LEVEL, max(len(cells) - len(same), 1)), []
    for cell, d in cells.items():
        model, mask, name = cell
        variant = {"none": model, "start": f"{model} start"}.get(mask, f"{model}, mask {mask}")
        row = {"model": model, "mask": mask, "variant": variant, "set": name}
        row |= {"metric": measure_titles(run.quality)[measure]} | judge(d, measure, level)
        if cell in same:
            row |= {"verdict": "the same", "trainings": "the same"}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


# The command


def run(one: str, other: str, *, sets: Sequence[str] = (), measure: str = "pi") -> None:
    """``masksr compare``: print the three tables of two runs (see ``open_run``). Raises MasksrError."""
    a, b = open_run(one), open_run(other)
    measured = list(dict.fromkeys([*a.quality["set"], *b.quality["set"]]))
    if unknown := [name for name in sets if name not in measured]:
        known = ", ".join(measured)
        raise MasksrError(f"--set {', '.join(unknown)}: measured in neither; there are: {known}")
    scores, note = compare_scores(a, b, measure, sets)
    parts = {
        "Parameters": compare_parameters(a, b),
        "Trainings": compare_trainings(a, b),
        "Scores": (effects_table(scores[scores["verdict"] != "the same"]), note),
    }
    for title, (table, text) in parts.items():
        print(f"\n{title}\n\n{to_markdown(table)}\n{text}" if len(table) else f"\n{title}\n\n{text}")
