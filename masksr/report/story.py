"""Which notebooks the report of a profile holds, in which order, and what stands above them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

from masksr import provenance
from masksr.files import write_atomic
from masksr.params import Params
from masksr.paths import Paths
from masksr.plots.crops import load as load_crops
from masksr.report import effort, origins, prose, sliders, summary
from masksr.report.notebooks import Section
from masksr.report.page import build_report
from masksr.results import paper, scores, tables

TITLE = "An image mask for GAN super-resolution"
SUBTITLE = """
A reproduction of Jiang et al., *Optimising GAN-based image super-resolution models with an image mask*, Journal of
Chongqing University 46(5), 2023,
[doi 10.11835/j.issn.1000-582X.2023.05.010](https://doi.org/10.11835/j.issn.1000-582X.2023.05.010)
""".strip()


def write_report(params: Params, paths: Paths) -> Path:
    """Write ``results/<profile>/report.html`` from the executed notebooks; returns its path.

    Beside it: provenance.json, what everything was made from, and report.json, with what and in what time.
    Raises MasksrError where a notebook is missing.
    """
    output, notebooks = paths.results / "report.html", _sections(params, paths)
    content = provenance.write_provenance(params, paths)
    made = content["made_with"]
    found, efforts = summary.Findings.read(params, paths), effort.efforts(params, paths, notebooks)
    provenance_text = origins.section(paths, content, efforts)
    build_report(
        _with_prose(notebooks, found, paths, provenance_text),
        output,
        title=TITLE,
        subtitle=SUBTITLE,
        facts={"Profile": params.profile, "masksr": made["masksr"], "Commit": made["commit"] or "unknown"},
        abstract=summary.abstract(found),
        notice=_notice(params, paths),
    )
    facts = {"made_with": made, "times": effort.as_json(efforts)}
    write_atomic(paths.results / "report.json", json.dumps(facts, indent=2).encode() + b"\n")
    return output


def _notice(params: Params, paths: Paths) -> str:
    """What nobody should overlook: stand-ins among the weights, and a profile that is not the paper's."""
    label = scores.pi_label(scores.read_quality([paths.results / "quality.csv"]))
    lines = []
    if set(paper.cuts(params)["note"]) != {"same"}:
        lines.append(
            f"The profile **{params.profile}** is not the paper's setting ([what was changed](20_questions.ipynb))."
        )
    if label != "PI":
        lines.append(f"The metric is **{label}**: weights fitted here in place of the published ones.")
    if params.weights.vgg == "random":
        lines.append("VGG19 has **random weights**, so the perceptual loss is a stand-in too.")
    if label != "PI" or params.weights.vgg == "random":
        lines.append("It shows that everything runs and how; it is **no evidence for or against the paper**.")
    return " ".join(lines)


def _with_prose(notebooks: list[Section], found: summary.Findings, paths: Paths, provenance_text: str) -> list[Section]:
    """``notebooks`` with what no notebook says, each where a paper would have it."""
    sections = {section.anchor: section for section in notebooks}
    details = load_crops(paths.runs / "figure4")
    after = {
        "30_argument": [_text("method", prose.method(found.params))],
        "14_figure4": [_text("before_and_after", sliders.text(details), sliders.html(details))] if details else [],
        "20_questions": [
            _text("limits", prose.limits(found)),
            _text("how_to_run", prose.how_to_run(found.params, paths)),
            _text("how_to_cite", prose.how_to_cite(paths)),
            _text("provenance", provenance_text),
        ],
    }
    return [part for name, section in sections.items() for part in (section, *after.get(name, ()))]


def _text(name: str, text: str, html: str = "") -> Section:
    return Section(Path(name), anchor=name, text=text, html=html)


def _sections(params: Params, paths: Paths) -> list[Section]:
    runs, results, table1 = paths.runs, paths.results, params.table1
    main = [
        Section(results / "idea.ipynb", anchor="00_idea", stage="idea"),
        Section(results / "argument.ipynb", anchor="30_argument", stage="argument"),
        Section(results / "table1.ipynb", anchor="10_table1", stage="table1"),
        Section(results / "evidence.ipynb", anchor="11_evidence", stage="evidence"),
        Section(results / "figure4.ipynb", anchor="14_figure4", stage="figure4"),
        Section(results / "figure5.ipynb", anchor="15_figure5", stage="figure5"),
        Section(results / "mask.ipynb", anchor="31_mask", stage="mask"),
        Section(results / "questions.ipynb", anchor="20_questions", stage="questions"),
        Section(runs / "05_test_sets.ipynb", anchor="05_test_sets", stage="test_sets"),
        Section(runs / "02_weights.ipynb", anchor="02_weights", stage="weights"),
    ]
    sets = [params.data.train, params.data.validation, *params.data.test]
    data = [_folded(runs / "data" / f"{name}.ipynb", name, "Photographs", "data") for name in sets]
    starts = [
        _folded(
            paths.start(model, seed) / "start.ipynb", f"{params.models[model].title}, seed {seed}", "Starts", "start"
        )
        for model, seed in product(table1.models, table1.seeds)
    ]
    trainings, evaluations = [], []
    for model, mask, seed in product(table1.models, table1.masks, table1.seeds):
        title = f"{tables.variant_title(params, model, mask)}, seed {seed}"
        folder = paths.variant(model, mask, seed)
        trainings.append(_folded(folder / "train.ipynb", title, "Trainings of Table 1", "train"))
        evaluations.append(_folded(folder / "evaluate.ipynb", title, "Evaluations", "evaluate"))
    points, sweep = [], params.sweep
    for k, b, seed in product(sweep.k, sweep.b, sweep.seeds):
        title, folder = f"k = {k}, b = {b}, seed {seed}", paths.sweep_point(k, b, seed)
        points.append(_folded(folder / "train.ipynb", title, "Trainings of Figure 5", "sweep"))
        evaluations.append(_folded(folder / "evaluate.ipynb", title, "Evaluations", "evaluate_sweep"))
    ends = [_folded(paths.ends / "ends.ipynb", "The ends of the scale", "Evaluations", "ends")]
    return [*main, *data, *starts, *trainings, *points, *ends, *evaluations]


def _folded(notebook: Path, title: str, group: str, stage: str) -> Section:
    anchor = f"{group}-{title}"
    return Section(notebook, title=title, group=group, anchor=anchor, open=False, stage=stage)
