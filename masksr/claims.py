"""The paper's claims, one by one: what was run for each, what came out, and whether it holds here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from masksr import evidence, paper, questions
from masksr.params import Params
from masksr.quality_table import pi_label

COLUMNS = ["claim", "source", "what we ran", "what came out", "verdict", "notebook"]


def claims(
    effects: pd.DataFrame,
    points: pd.DataFrame,
    plain: pd.DataFrame,
    params: Params,
    quality: pd.DataFrame,
    argument: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Every claim of ``data/paper.yaml`` with what this profile has to say of it: a table with ``COLUMNS``.

    effects: of ``evidence.compare``. points, plain: of ``results.collect_sweep``. argument: of
    ``argument.errors.read``. verdict: supported, contradicted, undecided or not run; ``here`` is added where the
    profile is not the paper's setting or the metric not PI.
    """
    elsewhere = pi_label(quality) != "PI" or set(questions.cuts(params)["note"]) != {"same"}
    rows = []
    for claim in paper.claims():
        if claim["test"] == "mask_improves":
            ran, out, verdict = _mask_improves(effects, claim["model"], params)
        elif claim["test"] == "every_pair_improves":
            ran, out, verdict = _every_pair_improves(points, plain, params)
        elif claim["test"] == "error_reaches_variance":
            ran, out, verdict = _error_reaches_variance(argument, claim["tolerance"])
        else:
            ran, out, verdict = "—", claim["why"], "not run"
        if elsewhere and verdict in ("supported", "contradicted"):
            verdict += " here"
        rows.append([claim["claim"], claim["source"], ran, out, verdict, claim.get("notebook", "—")])
    return pd.DataFrame(rows, columns=COLUMNS)


def _mask_improves(effects: pd.DataFrame, model: str, params: Params) -> tuple[str, str, str]:
    if effects.empty or (rows := effects.query("model == @model and mask == 'paper'")).empty:
        return "—", "this model is not in Table 1 of the profile, with the mask and without", "not run"
    seeds = len(params.table1.seeds)
    images = _count(int(rows["images"].sum()), "image")
    ran = f"{_count(seeds, 'pair')} of trainings, {images} of {_count(len(rows), 'set')}"
    gone = ", ".join(f"{row.set} {row.difference:+.2f}" for row in rows.dropna(subset="difference").itertuples())
    counted = {word: int((rows["trainings"] == word).sum()) for word in ("better", "worse", "undecided")}
    out = f"{gone}; " + ", ".join(f"{word} on {number}" for word, number in counted.items() if number)
    if seeds < 2:
        return ran, f"{out} (these two trainings alone)", "undecided (one seed)"
    if counted["worse"]:
        return ran, out, "contradicted"
    return ran, out, "supported" if counted["better"] == len(rows) else "undecided"


def _every_pair_improves(points: pd.DataFrame, plain: pd.DataFrame, params: Params) -> tuple[str, str, str]:
    reference = plain.pivot(index="seed", columns="set", values="pi")
    pairs = {pair: rows.pivot(index="seed", columns="set", values="pi") for pair, rows in points.groupby(["k", "b"])}
    differences = {pair: (table - reference).dropna(axis="columns") for pair, table in pairs.items()}
    seeds = len(params.sweep.seeds)
    ran = f"{_count(len(pairs), 'pair')} of k and b, {_count(seeds, 'seed')}, {_count(reference.shape[1], 'set')}"
    below = sum(bool(len(d.columns)) and d.to_numpy().mean() < 0 for d in differences.values())
    out = f"{below} of {len(pairs)} have a lower mean than the plain model"
    if seeds < 2:
        return ran, out, "undecided (one seed)"
    level = 1 - (1 - evidence.LEVEL) / len(pairs)
    words = [evidence.direction(evidence.effect(d.to_numpy(), level)) for d in differences.values() if d.size]
    if "worse" in words:
        return ran, f"{out}; {words.count('worse')} surely not", "contradicted"
    return ran, out, "supported" if words.count("better") == len(pairs) else "undecided"


def _error_reaches_variance(found: Mapping[str, Any] | None, tolerance: float) -> tuple[str, str, str]:
    if found is None:
        return "—", "the notebook was not run", "not run"
    ran = f"a network of {found['weights']} weights on {found['classes']} classes of {found['members']} images in all"
    out = (
        f"its expected error ends {found['excess']:.1%} above the variance (before: {found['excess_before']:.0%}), its "
        f"answer {found['distance']:.1f} levels from the class mean (before: {found['distance_before']:.1f})"
    )
    if found["identity"] > 1e-9 or found["excess"] < 0:  # no answer can have a smaller error than the mean
        return ran, out, "contradicted"
    closer = found["distance"] < found["distance_before"]
    return ran, out, "supported" if closer and found["excess"] <= tolerance else "undecided"


def seeds_table(effects: pd.DataFrame, targets: Sequence[float] = (0.02, 0.1, 0.5)) -> pd.DataFrame:
    """How many seeds would find a true difference of this size, in one comparison, with a probability of 80 %.

    A row per cell of ``effects`` that has a spread over seeds; ``more images`` where no number of seeds is enough.
    """
    rows = []
    for _, cell in effects.dropna(subset=["sd_seeds"]).iterrows() if "sd_seeds" in effects else ():
        row: dict[str, Any] = {"variant": cell["variant"], "set": cell["set"]}
        row |= {"sd of seeds": cell["sd_seeds"], "sd of images": cell["sd_images"], "sd of rest": cell["sd_rest"]}
        for target in [*targets, *_papers(cell)]:
            name = f"seeds for {target:.2f}" if target in targets else "seeds for the paper's"
            row[name] = _needed(cell, target)
        rows.append(row)
    return pd.DataFrame(rows)


def _papers(cell: Mapping[str, Any]) -> list[float]:
    """What the paper's mask changed there, where it has that cell and anything changed."""
    name, table = paper.match_set(cell["set"]), paper.mask_effect().set_index("model")
    if cell["mask"] != "paper" or name is None or cell["model"] not in table.index:
        return []
    return [difference] if (difference := abs(float(table.loc[cell["model"], name]))) else []


def _needed(cell: pd.Series, target: float) -> str:
    found = evidence.seeds_needed(cell, target)
    return "more images" if found is None else str(found)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary(effects: pd.DataFrame) -> str:
    """The table of verdicts in one sentence, for the top of the page."""
    if effects.empty:
        return "No mask was compared with a plain model."
    of_paper = effects[effects["mask"] == "paper"]
    cells = of_paper if len(of_paper) else effects
    counted = cells["verdict"].value_counts()
    words = ", ".join(f"{word} in {number}" for word, number in counted.items())
    mean = cells["difference"].mean() if "difference" in cells else np.nan
    seeds = int(cells["seeds"].max())
    return (
        f"With the mask {cells['metric'].iloc[0]} changes by {mean:+.2f} on average over {_count(len(cells), 'cell')} "
        f"of Table 1 ({_count(seeds, 'seed')}): {words}."
    )
