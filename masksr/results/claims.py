"""The paper's claims, one by one: what was run for each, what came out, and whether it holds here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from masksr.params import Params
from masksr.results import evidence, paper, questions
from masksr.results.scores import pi_label

COLUMNS = ["claim", "source", "what we ran", "what came out", "verdict", "notebook"]


def claims(
    effects: pd.DataFrame,
    points: Mapping[tuple[float, float], pd.DataFrame],
    params: Params,
    quality: pd.DataFrame,
    argument: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Every claim of ``data/paper.yaml`` with what this profile has to say of it: a table with ``COLUMNS``.

    effects: of ``evidence.compare``. points: of ``results.sweep_differences``. argument: of ``argument.errors.read``.
    verdict: supported, contradicted, mixed, undecided or not run; ``here`` is added where that model, or its mask, is
    not at the paper's setting, or the metric is not PI.
    """
    rows = []
    for claim in paper.claims():
        here = ""
        if claim["test"] in ("mask_improves", "every_pair_improves"):
            if claim["test"] == "mask_improves":
                ran, out, verdict = _mask_improves(effects, claim["model"], params)
            else:
                ran, out, verdict = _every_pair_improves(points, claim["model"], params)
            if pi_label(quality) != "PI" or _departs(claim["model"], params):
                here = " here"
        elif claim["test"] == "error_reaches_variance":
            ran, out, verdict = _error_reaches_variance(argument, claim["tolerance"])
            here = " in a toy world"
        else:
            ran, out, verdict = "—", claim["why"], "not run"
        verdict += here if verdict in ("supported", "contradicted", "mixed") else ""
        rows.append([claim["claim"], claim["source"], ran, out, verdict, claim.get("notebook", "—")])
    return pd.DataFrame(rows, columns=COLUMNS)


def _departs(model: str, params: Params) -> bool:
    """Whether what decides this model's results is another setting than the paper's, or another reading than ours."""
    cuts, title = questions.cuts(params), params.models[model].title if model in params.models else model
    of_model = cuts["model"].map(lambda named: named == "all" or title in named.split(", "))
    answers = questions.answers(params)
    of_mask = answers[answers["parameter"].str.startswith("masks.")]
    return bool((cuts[of_model]["note"] != "same").any() or (of_mask["status"] != "default").any())


def _mask_improves(effects: pd.DataFrame, model: str, params: Params) -> tuple[str, str, str]:
    if effects.empty or (rows := effects.query("model == @model and mask == 'paper'")).empty:
        return "—", "this model is not in Table 1 of the profile, with the mask and without", "not run"
    if params.masks["paper"].kind != "error":
        return "—", f"masks.paper is of kind {params.masks['paper'].kind}, not the paper's", "not run"
    seeds, left_out = len(params.table1.seeds), int(rows["without"].sum())
    images = _count(int(rows["images"].sum()), "image") + (f" ({left_out} more left out)" if left_out else "")
    ran = f"{_count(seeds, 'pair')} of trainings, {images} of {_count(len(rows), 'set')}"
    gone = ", ".join(f"{row.set} {row.difference:+.2f}" for row in rows.dropna(subset="difference").itertuples())
    counted = rows["verdict" if seeds > 1 else "trainings"].value_counts()
    out = f"{gone or 'nothing'}; " + ", ".join(f"{word} on {number}" for word, number in counted.items())
    if seeds < 2:
        return ran, f"{out} (these two trainings alone)", "undecided (one seed)"
    words = {("better",): "supported", ("worse",): "contradicted", ("better", "worse"): "mixed"}
    return ran, out, words.get(tuple(word for word in ("better", "worse") if word in counted), "undecided")


def _every_pair_improves(
    points: Mapping[tuple[float, float], pd.DataFrame], model: str, params: Params
) -> tuple[str, str, str]:
    """points: (k, b) -> mask minus plain, (seeds, images of all sets)."""
    sweep = params.sweep
    if sweep.model != model or params.masks[sweep.mask].kind != "error":
        return "—", f"the sweep of this profile is of {sweep.model} with masks.{sweep.mask}", "not run"
    whole = {pair: table.dropna(axis="columns") for pair, table in points.items()}
    measured = {pair: table.to_numpy() for pair, table in whole.items() if table.size}
    seeds = len(sweep.seeds)
    ran = f"{_count(len(points), 'pair')} of k and b, {_count(seeds, 'seed')}, {_count(len(params.data.test), 'set')}"
    out = f"{sum(d.mean() < 0 for d in measured.values())} of {len(points)} have a lower mean than the plain model"
    if seeds < 2:
        return ran, out, "undecided (one seed)"
    level = evidence.together(evidence.LEVEL, len(points))
    words = [evidence.verdict(evidence.effect(d, level)) for d in measured.values()]
    if "worse" in words:
        return ran, f"{out}; {words.count('worse')} surely not", "contradicted"
    if left_out := sum(points[pair].shape[1] - whole[pair].shape[1] for pair in points):
        return ran, f"{out}; {left_out} differences left out, where an image has no PI", "undecided"
    if len(points) < 2:  # that can fail the claim, and not bear it out
        return ran, f"{out}; {words[0]}, but a single pair is not every pair", "undecided"
    return ran, out, "supported" if words.count("better") == len(points) else "undecided"


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


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary(effects: pd.DataFrame) -> str:
    """The table of verdicts in one sentence, for the top of the page."""
    if effects.empty:
        return "No mask was compared with a plain model."
    of_paper = effects[effects["mask"] == "paper"]
    cells = of_paper if len(of_paper) else effects
    who = "the mask" if len(of_paper) else " or ".join(f"the mask {name}" for name in cells["mask"].unique())
    words = ", ".join(f"{word} in {number}" for word, number in cells["verdict"].value_counts().items())
    return (
        f"With {who} {cells['metric'].iloc[0]} changes by {cells['difference'].mean():+.2f} on average over "
        f"{_count(len(cells), 'cell')} of Table 1 ({_count(int(cells['seeds'].max()), 'seed')}):\n{words}."
    )
