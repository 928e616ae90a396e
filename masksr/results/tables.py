"""From one row per image to the tables of the report: Table 1, fidelity, metrics.json.

A PI whose halves were not computed with the official weights is never called PI here, and an image whose PI could not
be computed is counted in every table that averages over the others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd

from masksr.errors import MasksrError
from masksr.params import Params
from masksr.results import paper
from masksr.results.scores import KEYS, label_note, measure_titles, pi_label, read_quality
from masksr.results.typeset import to_csv, to_latex, to_markdown

__all__ = [
    "beside_paper_note",
    "fidelity_table",
    "label_note",
    "metrics",
    "pi_label",
    "read_quality",
    "table1",
    "table1_beside_paper",
    "to_csv",
    "to_latex",
    "to_markdown",
    "variant_title",
]


class _Row(NamedTuple):
    """A row of the tables and the measurements it averages."""

    block: str  # "variants" or "ends"
    model: str
    mask: str
    title: str
    measured: pd.DataFrame


def variant_title(params: Params, model: str, mask: str) -> str:
    """``ESRGAN``, ``ESRGAN+Mask`` for the paper's mask, ``ESRGAN+Mask (constant)`` for others, ``ESRGAN start``."""
    if model not in params.models:  # HR, bicubic
        return model
    ending = {"none": "", "paper": "+Mask", "start": " start"}.get(mask, f"+Mask ({mask})")
    return params.models[model].title + ending


def table1(quality: pd.DataFrame, params: Params, measure: str = "pi") -> pd.DataFrame:
    """Table 1: the mean PI (or another measure) over the images of each test set, then over the seeds.

    Columns: block (``variants``, or ``ends`` of the scale for HR, bicubic and the starts), variant, metric, a column
    per test set, with several seeds ``<set> sd`` (standard deviation over them), seeds, images, without_pi (images
    whose PI failed: the means are over the others).
    """
    rows = []
    for row in _rows(quality, params):
        values = row.measured.set_index(["set", "seed"])[measure]
        counts = {"seeds": row.measured["seed"].nunique(), "images": len(values)}
        counts |= {f"without_{measure}": int(values.isna().sum())}
        names = {"block": row.block, "variant": row.title, "metric": measure_titles(quality)[measure]}
        rows.append(names | _by_set(values, params) | counts)
    return pd.DataFrame(rows)


def table1_beside_paper(quality: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Our Table 1 with the paper's figures beside it, each in a column that ends in ``(paper)``.

    A test set of the paper that we have stands next to ours; the others, measured on pictures that are not among ours,
    follow as the paper's own. A variant that the paper does not have is NaN there.
    """
    ours = table1(quality, params).query("block == 'variants'").drop(columns="block")
    rows = [(row.model, row.mask) for row in _rows(quality, params) if row.block == "variants"]
    published = paper.table1().set_index(["model", "mask"]).reindex(rows)
    left = paper.sets()
    for name in params.data.test:
        if (match := paper.match_set(name)) in left:
            last = max(ours.columns.get_loc(column) for column in (name, f"{name} sd") if column in ours)
            ours.insert(last + 1, f"{match} (paper)", published[match].to_numpy())
            left.remove(match)
    for name in left:
        ours.insert(ours.columns.get_loc("seeds"), f"{name} (paper)", published[name].to_numpy())
    return ours


def beside_paper_note(quality: pd.DataFrame, params: Params) -> str:
    """A sentence for the caption of ``table1_beside_paper``: what may be compared with what."""
    shared = [name for name in params.data.test if paper.match_set(name)]
    note = "Columns marked (paper) are the figures printed in the paper, not computed here"
    if not shared:
        return note + "; none of its test sets is among ours, so no column of theirs can be compared with one of ours."
    if pi_label(quality) != "PI":
        return note + f"; its test sets are shared ({', '.join(shared)}), but its metric is PI and ours is not."
    if params.data.limit:
        return note + f"; of its sets {', '.join(shared)} we measure {params.data.limit} images each."
    return note + f"; comparable set by set: {', '.join(shared)}."


def fidelity_table(quality: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Every measure of every variant: its mean over all test images and seeds, without the images where it failed.

    Columns: block, variant, PSNR-Y (dB), SSIM-Y, RMSE, NIQE, Ma and PI (each named a stand-in if it is one), images,
    without_pi.
    """
    rows = []
    for row in _rows(quality, params):
        means = {title: row.measured[measure].mean() for measure, title in measure_titles(quality).items()}
        counts = {"images": len(row.measured), "without_pi": int(row.measured["pi"].isna().sum())}
        rows.append({"block": row.block, "variant": row.title} | means | counts)
    return pd.DataFrame(rows)


def metrics(quality: pd.DataFrame, params: Params) -> dict[str, Any]:
    """For ``dvc metrics``: variant -> label of PI -> test set as in Table 1 or their ``mean``; other measures.

    Every value is a JSON number, or None where nothing could be measured (or PSNR is infinite, as for HR).
    """
    result: dict[str, Any] = {}
    for row, line in zip(_rows(quality, params), table1(quality, params).to_dict("records"), strict=True):
        name = row.model if row.model not in params.models else f"{row.model}-{row.mask}"
        pi = pd.Series({name: line[name] for name in params.data.test}, dtype=float)
        means = {title: _json(row.measured[m].mean()) for m, title in measure_titles(quality).items() if m != "pi"}
        result[name] = {pi_label(quality): {s: _json(v) for s, v in pi.items()} | {"mean": _json(pi.mean())}}
        result[name] |= means | {"images": line["images"], "without_pi": line["without_pi"]}
    return result


def _rows(quality: pd.DataFrame, params: Params) -> list[_Row]:
    """The variants in the order of ``table1`` in params.yaml, then HR, bicubic and the starts as far as measured."""
    quality = quality[quality["set"].isin(params.data.test)]
    rows = []
    for model in params.table1.models:
        for mask in params.table1.masks:
            part = quality[(quality["model"] == model) & (quality["mask"] == mask)]
            there = set(zip(part["set"], part["seed"], strict=True))
            for wanted in [(name, seed) for name in params.data.test for seed in params.table1.seeds]:
                if wanted not in there:
                    what = f"{model} with mask {mask}, seed {wanted[1]}, on {wanted[0]}"
                    raise MasksrError(f"the quality tables have nothing of {what}; run `dvc repro`")
            part = part[part["seed"].isin(params.table1.seeds)]
            rows.append(_Row("variants", model, mask, variant_title(params, model, mask), part))
    for model, mask in [("HR", "none"), ("bicubic", "none"), *((m, "start") for m in params.table1.models)]:
        part = quality[(quality["model"] == model) & (quality["mask"] == mask)]
        if len(part):
            rows.append(_Row("ends", model, mask, variant_title(params, model, mask), part))
    return [row._replace(measured=row.measured.sort_values(KEYS)) for row in rows]


def _by_set(pi: pd.Series, params: Params) -> dict[str, float]:
    """Mean over the images, then mean and standard deviation over the seeds. pi: indexed by set and seed."""
    by_seed = pi.groupby(level=["set", "seed"]).mean().unstack("seed").reindex(params.data.test)
    several = len(params.table1.seeds) > 1
    result = {}
    for name, values in by_seed.iterrows():
        result |= {name: values.mean()} | ({f"{name} sd": values.std()} if several else {})
    return result


def _json(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
