"""The paper's claims, one by one: what was run for each, what came out, and whether it holds here."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from masksr.params import Params
from masksr.results import intervals, paper
from masksr.results.scores import pi_label
from masksr.results.tables import mask_words

COLUMNS = ["claim", "source", "what we ran", "what came out", "verdict", "notebook"]
Outcome = tuple[str, str, str]  # what we ran, what came out, verdict
# (k, b) -> mask minus baseline, (seeds, images of all sets)
Points = Mapping[tuple[float, float], pd.DataFrame]


def claims(
    effects: pd.DataFrame,
    points: Points,
    params: Params,
    quality: pd.DataFrame,
    argument: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Every claim of ``data/paper.yaml`` with what this profile has to say of it: a table with ``COLUMNS``.

    effects: of ``intervals.compare``. points: of ``tables.sweep_differences``. argument: of argument.json.
    verdict: supported, contradicted, mixed, undecided or not run; ``here`` is added where that model, or its
    mask, is not at the paper's setting, or the metric is not PI.
    """
    rows = []
    for claim in paper.load()["claims"]:
        test, model = claim["test"], claim.get("model")
        if test == "mask_improves":
            outcome = _mask_improves(effects, model, params)
        elif test == "every_pair_improves":
            outcome = _every_pair_improves(points, model, params)
        elif test == "error_reaches_variance":
            outcome = _error_reaches_variance(argument, claim["tolerance"])
        else:
            outcome = "—", claim["why"], "not run"
        ran, out, verdict = outcome
        if verdict in ("supported", "contradicted", "mixed"):
            if not model:
                verdict += " in a toy world"
            elif pi_label(quality) != "PI" or _departs(model, params):
                verdict += " here"
        rows.append([claim["claim"], claim["source"], ran, out, verdict, claim.get("notebook", "—")])
    return pd.DataFrame(rows, columns=COLUMNS)


def _departs(model: str, params: Params) -> bool:
    """Whether what decides this model's results is set otherwise than in the paper, or read otherwise."""
    cuts = paper.cuts(params)
    title = params.models[model].title if model in params.models else model
    of_model = [names == "all" or title in names.split(", ") for names in cuts["model"]]
    answers = paper.answers(params)
    of_mask = answers["parameter"].str.startswith("masks.")
    return bool((cuts[of_model]["note"] != "same").any() or (answers[of_mask]["status"] != "default").any())


def _mask_improves(effects: pd.DataFrame, model: str, params: Params) -> Outcome:
    names = [name for name in params.table1.masks if params.masks[name].kind == "error"]
    name = "paper" if "paper" in params.table1.masks else next(iter(names), "paper")
    rows = effects[(effects["model"] == model) & (effects["mask"] == name)]
    if rows.empty:
        return "—", "this model is not in Table 1 of the profile, with the mask and without", "not run"
    if name not in names:
        return "—", f"masks.{name} is of kind {params.masks[name].kind}, not the paper's", "not run"
    seeds, without = len(params.table1.seeds), int(rows["without"].sum())
    ran = f"{_count(seeds, 'pair')} of trainings, {_count(int(rows['images'].sum()), 'image')}"
    ran += (f" ({without} more left out)" if without else "") + f" of {_count(len(rows), 'set')}"
    ran += f", mask {mask_words(params, name)}" if name != "paper" else ""
    known = rows.dropna(subset="difference")
    signed = [f"{change:+.2f}".replace("-", "\N{MINUS SIGN}") for change in known["difference"]]
    changes = [f"{name} {change}" for name, change in zip(known["set"], signed, strict=True)]
    counts = rows["verdict" if seeds > 1 else "trainings"].value_counts()
    out = ", ".join(changes) or "nothing"
    out += "; " + ", ".join(f"{word} on {number}" for word, number in counts.items())
    if seeds < 2:
        return ran, f"{out} (these two trainings alone)", "undecided (one seed)"
    words = {(True, False): "supported", (False, True): "contradicted", (True, True): "mixed"}
    return ran, out, words.get(("better" in counts, "worse" in counts), "undecided")


def _every_pair_improves(points: Points, model: str, params: Params) -> Outcome:
    sweep, seeds = params.sweep, len(params.sweep.seeds)
    if sweep.model != model or params.masks[sweep.mask].kind != "error":
        return "—", f"the sweep of this profile is of {sweep.model} with masks.{sweep.mask}", "not run"
    finite = [table.dropna(axis="columns").to_numpy() for table in points.values()]
    lower = sum(d.mean() < 0 for d in finite if d.size)
    sets = _count(len(params.data.test), "set")
    ran = f"{_count(len(points), 'pair')} of k and b, {_count(seeds, 'seed')}, {sets}"
    out = f"{lower} of {len(points)} have a lower mean than the baseline"
    if seeds < 2:
        return ran, out, "undecided (one seed)"
    level = intervals.bonferroni(intervals.LEVEL, len(points))
    words = [intervals.verdict(intervals.effect(d, level)) for d in finite if d.size]
    if "worse" in words:
        return ran, f"{out}; {words.count('worse')} surely not", "contradicted"
    if without := sum(table.shape[1] for table in points.values()) - sum(d.shape[1] for d in finite):
        return ran, f"{out}; {without} differences left out, where an image has no PI", "undecided"
    if len(points) < 2:  # that can fail the claim, and not bear it out
        return ran, f"{out}; {words[0]}, but a single pair is not every pair", "undecided"
    return ran, out, "supported" if set(words) == {"better"} else "undecided"


def _error_reaches_variance(found: Mapping[str, Any] | None, tolerance: float) -> Outcome:
    if found is None:
        return "—", "the notebook was not run", "not run"
    ran = "a network of {weights} weights on {classes} classes of {members} images in all".format(**found)
    out = (
        "its expected error ends {excess:.1%} above the variance (before: {excess_before:.0%}), its answer "
        "{distance:.1f} levels from the class mean (before: {distance_before:.1f})"
    ).format(**found)
    if found["identity"] > 1e-9 or found["excess"] < 0:  # no answer can have a smaller error than the mean
        return ran, out, "contradicted"
    closer = found["distance"] < found["distance_before"]
    return ran, out, "supported" if closer and found["excess"] <= tolerance else "undecided"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
