"""Which notebooks the page of a profile holds, in which order, and what it says of their origin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from masksr import provenance
from masksr.notebook import read_seconds
from masksr.params import Params
from masksr.paths import Paths
from masksr.plots.crops import load as load_crops
from masksr.report.page import Section, build_report

TITLE = "An image mask for GAN super-resolution"
SUBTITLE = """
A reproduction of Jiang et al.,
<cite>Optimising GAN-based image super-resolution models with an image mask</cite>,
Journal of Chongqing University 46(5), 2023,
<a href="https://doi.org/10.11835/j.issn.1000-582X.2023.05.010">doi 10.11835/j.issn.1000-582X.2023.05.010</a>
"""
RESULTS = ["summary", "idea", "argument", "method", "table1", "evidence", "figure4", "figure5", "mask"]
RESULTS += ["questions"]


def write_report(params: Params, paths: Paths) -> Path:
    """Write ``results/<profile>/report.html`` from the executed notebooks; returns its path.

    Beside it: provenance.json, what everything was made from. Raises MasksrError where a notebook is missing.
    """
    sections, output = list_sections(params, paths), paths.results / "report.html"
    origin = provenance.write_provenance(params, paths)
    facts = {"profile": params.profile} | origin["made_with"]
    outs = [out for stage in origin["stages"].values() for out in stage["outs"].items()]
    digests = {path: md5 for path, md5 in outs if path.startswith("data/") or path.endswith(".safetensors")}
    times = sum_times(sections, paths.root)
    build_report(sections, output, title=TITLE, subtitle=SUBTITLE, facts=facts, digests=digests, times=times)
    return output


def list_sections(params: Params, paths: Paths) -> list[Section]:
    """The notebooks in reading order: results, then what was done to get them, in folded groups."""
    runs, table1, sweep = paths.runs, params.table1, params.sweep
    sections = [Section(paths.results / f"{name}.ipynb", name, name) for name in RESULTS]
    crops = tuple(list(zip(*detail, strict=True)) for detail in load_crops(runs / "figure4"))
    figure4 = RESULTS.index("figure4")
    sections[figure4] = replace(sections[figure4], crops=crops)
    sections.append(Section(runs / "05_test_sets.ipynb", "test_sets", "test_sets"))
    sections.append(Section(runs / "02_weights.ipynb", "weights", "weights"))

    def fold(group: str, title: str, notebook: Path, stage: str) -> None:
        anchor = re.sub(r"[^\w.]+", "-", f"{stage}-{title}")
        sections.append(Section(notebook, anchor, stage, title, group))

    for name in (params.data.train, params.data.validation, *params.data.test):
        stage = "test_data" if name in params.data.test else "data"
        fold("Photographs", name, runs / f"data/{name}.ipynb", stage)
    for model, seed in product(table1.models, table1.seeds):
        title = f"{params.models[model].title}, seed {seed}"
        fold("Before the GAN", title, paths.start(model, seed) / "start.ipynb", "start")
    variants, points = {}, {}
    for model, mask, seed in product(table1.models, table1.masks, table1.seeds):
        which = "no mask" if mask == "none" else f"mask {mask}"
        variants[f"{params.models[model].title}, {which}, seed {seed}"] = paths.variant(model, mask, seed)
    for k, b, seed in product(sweep.k, sweep.b, sweep.seeds):
        points[f"k = {k}, b = {b}, seed {seed}"] = paths.sweep_point(k, b, seed)
    for title, folder in variants.items():
        fold("Trainings of Table 1", title, folder / "train.ipynb", "train")
    for title, folder in points.items():
        fold("Trainings of Figure 5", title, folder / "train.ipynb", "sweep")
    fold("Evaluations", "The ends of the scale", paths.ends / "ends.ipynb", "ends")
    for title, folder in variants.items():
        fold("Evaluations", title, folder / "evaluate.ipynb", "evaluate")
    for title, folder in points.items():
        fold("Evaluations", title, folder / "evaluate.ipynb", "evaluate_sweep")
    return sections


def sum_times(sections: Iterable[Section], root: Path) -> list[dict[str, Any]]:
    """Count the notebooks of each stage, those that left a time on this machine, and their minutes."""
    rows: dict[str, dict[str, Any]] = {}
    for section in sections:
        start = {"stage": section.stage, "notebooks": 0, "timed": 0, "minutes": 0.0}
        row = rows.setdefault(section.stage, start)
        row["notebooks"] += 1
        if seconds := read_seconds(section.notebook, root):
            row["timed"] += 1
            row["minutes"] += seconds / 60
    return list(rows.values())
