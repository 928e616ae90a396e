"""The abstract of the page: what was claimed, run and found, how sure it is, what stays unknown.

Every number in these sentences is read from the results of the profile, from params.yaml or from data/paper.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from masksr.params import Params
from masksr.paths import Paths, training_folders
from masksr.report.inputs import read_json, read_table
from masksr.report.words import counted, listed, signed
from masksr.results import paper, scores

NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Findings:
    """The small results of a profile, as its stages wrote them, and the keys of its trainings."""

    params: Params
    quality: pd.DataFrame
    effects: pd.DataFrame  # evidence.csv
    controls: pd.DataFrame
    claims: pd.DataFrame
    metrics: dict[str, Any]
    argument: dict[str, Any]
    keys: list[str]  # of every training; equal ones share one

    @classmethod
    def read(cls, params: Params, paths: Paths) -> Findings:
        """Raises MasksrError where a result is missing or something else."""
        at, evidence = paths.results, ["model", "mask", "difference", "low", "high", "seeds", "verdict"]
        return cls(
            params,
            scores.read_quality([at / "quality.csv"]),
            read_table(at / "evidence.csv", evidence, "evidence"),
            read_table(at / "controls.csv", ["variant", "set", "difference", "verdict"], "evidence"),
            read_table(at / "claims.csv", ["claim", "verdict"], "evidence"),
            read_json(at / "metrics.json", "table1"),
            read_json(at / "argument.json", "argument"),
            [
                read_json(folder / "training.json", "train").get("key", "")
                for folder, *_ in training_folders(params, paths)
            ],
        )


def abstract(found: Findings) -> str:
    """Five short paragraphs, as markdown."""
    parts: dict[str, Callable[[Findings], str]] = {
        "Claimed": _claimed,
        "Run": _run,
        "Found": _found,
        "How sure": _how_sure,
        "Unknown": _unknown,
    }
    return "\n\n".join(f"**{title}.** {part(found)}" for title, part in parts.items())


def _claimed(found: Findings) -> str:
    table = paper.mask_effect()
    means = table[paper.sets()].mean(axis=1)
    changes = [
        f"{signed(mean, 3)} for {name.removesuffix('+Mask')}" for name, mean in zip(table.variant, means, strict=True)
    ]
    return (
        "Multiply what the discriminator of a super-resolution GAN sees by a mask that is high where the generator is "
        "wrong ([the idea](00_idea.ipynb)), and the pictures look better: the paper reports a change of its perceptual "
        f"index (PI, lower is better) of {listed(changes)}, in the mean over {counted(len(paper.sets()), 'test set')}."
    )


def _run(found: Findings) -> str:
    params, quality = found.params, found.quality
    table1, sweep = params.table1, params.sweep
    seeds = len(table1.seeds)
    variants = len(table1.models) * len(table1.masks) * seeds
    points = len(sweep.k) * len(sweep.b) * len(sweep.seeds)
    masks = [name for name in table1.masks if name != "none"]
    which = f"plain and with the mask{'s' * (len(masks) > 1)} {listed(masks)}" if masks else "without a mask"
    if masks == ["paper"]:
        which = "with and without the mask"
    distinct = len(set(found.keys))
    images, sets = len(quality[["set", "image"]].drop_duplicates()), quality["set"].nunique()
    shared = f" ({distinct} different ones: equal trainings are done once)" if distinct < len(found.keys) else ""
    return (
        f"In the profile **{params.profile}**: {counted(variants, 'training')} of [Table 1](10_table1.ipynb) "
        f"({counted(len(table1.models), 'model')} {which}, {counted(seeds, 'seed')}) and {points} of "
        f"[Figure 5](15_figure5.ipynb), from {counted(len(table1.models) * seeds, 'start')} "
        f"without a mask, on the same patches; {len(found.keys)} trainings in all{shared}. Table 1 rests on "
        f"{len(quality)} scores: each variant on {counted(images, 'image')} of {counted(sets, 'test set')}."
    )


def _found(found: Findings) -> str:
    label = scores.pi_label(found.quality)
    masks, sentences = [mask for mask in found.params.table1.masks if mask != "none"], []
    for mask in masks:
        name = "the mask" if masks == ["paper"] else f"the mask *{mask}*"
        means = listed(_means(found, model, mask, label) for model in found.params.table1.models)
        cells = found.effects[found.effects["mask"] == mask]
        sentences.append(
            f"Mean {label}, plain → {name.removeprefix('the ')}: {means}. "
            f"Of {counted(len(cells), 'cell')} of Table 1, {name} minus plain: {_verdicts(cells.verdict)}."
            if masks == ["paper"]
            else f"{name[0].upper()}{name[1:]}: {means}; {_verdicts(cells.verdict)}."
        )
    if sentences and masks != ["paper"]:
        sentences.insert(0, f"Mean {label}, plain → masked, and the verdicts on the cells of Table 1.")
    if len(found.controls):
        decided = found.controls[found.controls.verdict.isin(["better", "worse"])]
        which = [f"{row.variant} on {row.set} {signed(row.difference)}" for row in decided.itertuples()]
        sentences.append(
            f"Masks that differ in [one setting](11_evidence.ipynb), such as a mask and its control, were held against "
            f"each other in {counted(len(found.controls), 'cell')}: {_verdicts(found.controls.verdict)}"
            + (f" ({'; '.join(which)})." if which else ".")
        )
    if "excess" in found.argument:
        sentences.append(
            f"In [a world whose classes are known](30_argument.ipynb) the expected squared error ends "
            f"{found.argument['excess']:.1%} above the variance it should estimate."
        )
    sentences.append(f"Of the paper's {counted(len(found.claims), 'claim')}: {_verdicts(found.claims.verdict)}.")
    return " ".join(sentences)


def _how_sure(found: Findings) -> str:
    half = ((found.effects.high - found.effects.low) / 2).dropna()
    if found.effects.empty:
        return "No mask was trained in Table 1, so nothing was compared."
    largest = paper.mask_effect()[paper.sets()].abs().max().max()
    sentences = []
    if len(half):
        sentences.append(
            f"The [intervals](11_evidence.ipynb) of mask minus plain hold together with 95 %; half their length is "
            f"{half.median():.2g} in the median, {half.min():.2g} at best, and the largest change that the paper "
            f"reports is {largest:.2f}."
        )
    if len(found.params.table1.seeds) == 1:
        sentences.append(
            "They are over images alone: **one seed says nothing of another training**, so no cell has a verdict."
        )
    else:
        sentences.append(
            f"They allow for other images and for other seeds, of which {len(found.params.table1.seeds)} were run."
        )
    return " ".join(sentences)


def _unknown(found: Findings) -> str:
    cuts = paper.cuts(found.params)
    other = int((cuts["note"] != "same").sum())
    undecided = found.claims[found.claims.verdict.str.startswith("undecided")]
    not_run = found.claims[found.claims.verdict == "not run"]
    sentences = []
    if len(undecided):
        sentences.append(f"Undecided: {counted(len(undecided), 'claim')}.")
    if len(not_run):
        sentences.append(f"Not run: {'; '.join(f'“{claim}”' for claim in not_run.claim)}.")
    sentences.append(
        f"{other} of {len(cuts)} settings of the paper's section 3.1 have another value here, and it leaves "
        f"{counted(len(paper.open_questions()), 'question')} [open](20_questions.ipynb), listed with the values used."
    )
    return " ".join(sentences)


def _means(found: Findings, model: str, mask: str, label: str) -> str:
    title = found.params.models[model].title
    plain, masked = (_mean(found.metrics, f"{model}-{name}", label) for name in ("none", mask))
    if plain is None or masked is None:
        return f"could not be measured for {title}"
    change = signed(round(masked, 2) - round(plain, 2))  # as a reader would subtract what is printed
    return f"{title} {plain:.2f}{NBSP}→{NBSP}{masked:.2f}{NBSP}({change})"


def _verdicts(verdicts: pd.Series) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in verdicts.value_counts().items())


def _mean(metrics: dict[str, Any], variant: str, label: str) -> float | None:
    mean = metrics.get(variant, {}).get(label, {}).get("mean")
    return float(mean) if isinstance(mean, int | float) else None
