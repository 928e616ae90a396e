"""The expected error of an answer where the classes are known, and what it is made of (equations 4 to 7).

The toy world has a few LR patches and, for each, a few HR images that shrink to exactly it, all equally probable. Mean
and variance of a class are then plain sums, and so is the expected error of any answer: nothing has to be estimated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from masksr.argument.classes import EquivalenceClass
from masksr.files import write_atomic
from masksr.paths import Paths

FILE = "argument.json"


def expected_errors(classes: Sequence[EquivalenceClass], answers: NDArray[np.float64]) -> pd.DataFrame:
    """The expected squared error of one answer for each class (C, 4h, 4w, 3), and what it is made of; a row per class.

    error: the mean over the members, as it is defined. variance: of the class. to_mean, to_median: the squared distance
    of the answer from the mean and from the pixelwise median of the class. All in squared grey levels per number.
    """
    rows = []
    for number, (patch, answer) in enumerate(zip(classes, answers, strict=True)):
        members = patch.members.astype(np.float64)
        mean, median = members.mean(axis=0), np.median(members, axis=0)
        terms = {"error": members - answer, "variance": members - mean, "to_mean": answer - mean}
        terms["to_median"] = answer - median
        rows.append({"class": number} | {name: float(np.square(term).mean()) for name, term in terms.items()})
    return pd.DataFrame(rows)


def over_time(errors: pd.DataFrame) -> pd.DataFrame:
    """Error, variance and distances over the steps: the mean over the classes."""
    return errors.groupby("step").mean().drop(columns="class").reset_index()


def summary(classes: Sequence[EquivalenceClass], mse: pd.DataFrame, l1: pd.DataFrame, weights: int) -> dict[str, Any]:
    """What came out, in numbers: what ``argument.json`` holds and the claims are checked with.

    mse, l1: the errors of the two trainings. weights: how many numbers were trained.
    excess: by how much the expected error is above the variance, in parts of it. identity: the largest deviation of
    error from variance + to_mean in all steps and classes, in parts of the error. Distances: root mean square, levels.
    """
    first, last = (over_time(mse).iloc[at] for at in (0, -1))
    last_l1 = over_time(l1).iloc[-1]
    by_class = mse[mse["step"] == mse["step"].max()].eval("error / variance - 1")
    numbers = {
        "identity": float(((mse["error"] - mse["variance"] - mse["to_mean"]).abs() / mse["error"]).max()),
        "excess_before": first["error"] / first["variance"] - 1,
        "excess": last["error"] / last["variance"] - 1,
        "excess_least": by_class.min(),
        "excess_most": by_class.max(),
        "distance_before": np.sqrt(first["to_mean"]),
        "distance": np.sqrt(last["to_mean"]),
        "l1_to_median": np.sqrt(last_l1["to_median"]),
        "l1_to_mean": np.sqrt(last_l1["to_mean"]),
        "l1_excess": last_l1["error"] / last_l1["variance"] - 1,
    }
    sizes = {"classes": len(classes), "members": sum(len(patch.members) for patch in classes), "weights": weights}
    return sizes | {"steps": int(mse["step"].max())} | {name: float(f"{value:.4g}") for name, value in numbers.items()}


def in_words(found: dict[str, Any]) -> str:
    """``summary`` of the training with squared error, in sentences."""
    f = found
    return f"""{f["classes"]} classes, {f["members"]} members, a network of {f["weights"]} weights, {f["steps"]} steps.
Expected error above the variance: {f["excess_before"]:.1%} before training, {f["excess"]:.1%} after,
of single classes {f["excess_least"]:.0%} to {f["excess_most"]:.0%}.
From the answer to the class mean: {f["distance_before"]:.1f} grey levels before, {f["distance"]:.1f} after.
Error - variance - squared distance: at most {f["identity"]:.0e} of the error, in any class, at any step."""


def l1_in_words(found: dict[str, Any]) -> str:
    """``summary`` of the training with L1, in a sentence."""
    f = found
    return f"""With L1: {f["l1_to_median"]:.1f} levels from the class median, {f["l1_to_mean"]:.1f} from the mean;
its expected squared error is {f["l1_excess"]:.1%} above the variance."""


def read(paths: Paths) -> dict[str, Any] | None:
    """What argument.json holds; None where it does not exist."""
    file = paths.results / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def write(found: dict[str, Any], paths: Paths) -> None:
    """Write argument.json, and say where."""
    write_atomic(paths.results / FILE, (json.dumps(found, indent=2) + "\n").encode())
    print("wrote", (paths.results / FILE).relative_to(paths.root).as_posix())
