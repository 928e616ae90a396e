"""The sentences of the page: each changes when what it tells of changes. And what stages took."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from masksr import durations, params
from masksr.errors import MasksrError
from masksr.notebook import run_notebook
from masksr.paths import Paths
from masksr.plots.crops import load as load_crops
from masksr.report import Section, effort, prose
from masksr.report.summary import Findings, abstract
from masksr.results.scores import COLUMNS

ROOT = Path(__file__).parents[1]
LABEL = "PI (stand-in)"
CELL = {"model": "esrgan", "mask": "paper", "difference": -0.1, "low": -0.3, "high": 0.1, "seeds": 1}


def settings(**changes) -> params.Params:
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        section, _, key = path.partition("__")
        content[section][key] = value
    return params.Params.model_validate(content)


def findings(**changes) -> Findings:
    rows = [
        [model, mask, 0, "cat", image, 5.0, 5.0, 5.0, 30.0, 0.9, 8.0, "stand-in", "stand-in", ""]
        for model in ("esrgan", "pesr", "edsr")
        for mask in ("none", "paper")
        for image in ("left", "right")
    ]
    verdicts = ["undecided (one seed)", "not run", "supported here"]
    found = Findings(
        settings(),
        pd.DataFrame(rows, columns=COLUMNS),
        pd.DataFrame([CELL | {"verdict": verdict} for verdict in ("better", "better", "worse")]),
        pd.DataFrame(columns=["variant", "set", "difference", "verdict"]),
        pd.DataFrame({"claim": ["A wins", "B wins", "C wins"], "verdict": verdicts}),
        {
            f"{model}-{mask}": {LABEL: {"mean": 5.5}}
            for model in ("esrgan", "pesr", "edsr")
            for mask in ("none", "paper")
        },
        {"excess": 0.0272},
        [f"key {n % 14}" for n in range(15)],
    )
    return dataclasses.replace(found, **changes)


def sentences(found: Findings) -> dict[str, str]:
    return {title: text for title, text in re.findall(r"\*\*([\w ]+)\.\*\* (.*)", abstract(found))}


def test_controls_are_told_where_there_are_some():
    assert "such as a mask and its control" not in abstract(findings())
    of = ["variant", "set", "difference", "verdict"]
    rows = [["ESRGAN+Mask − flat", "cat", -0.25, "better"], ["ESRGAN+Mask − random", "cat", 0.1, "undecided"]]  # noqa: RUF001
    said = abstract(findings(controls=pd.DataFrame(rows, columns=of)))
    assert "in 2 cells: 1 better, 1 undecided (ESRGAN+Mask − flat on cat −0.25)." in said  # noqa: RUF001


def test_the_abstract_answers_five_questions():
    said = sentences(findings())
    assert list(said) == ["Claimed", "Run", "Found", "How sure", "Unknown"]
    assert "−0.412 for PESR" in said["Claimed"]  # noqa: RUF001
    assert "15 trainings in all (14 different ones" in said["Run"] and "12 scores" in said["Run"]
    assert "2 images of 1 test set" in said["Run"]
    assert "3 cells of Table 1, the mask minus plain: 2 better, 1 worse" in said["Found"] and "2.7%" in said["Found"]
    assert "half their length is 0.2 in the median" in said["How sure"] and "one seed" in said["How sure"]
    assert "Undecided: 1 claim." in said["Unknown"] and "“B wins”" in said["Unknown"]


def mean(value: float | None) -> dict:
    metrics = copy.deepcopy(findings().metrics)
    metrics["pesr-paper"][LABEL]["mean"] = value
    return metrics


@pytest.mark.parametrize(
    ("title", "changes", "now"),
    [
        ("Run", {"keys": ["one", "one", "one"]}, "3 trainings in all (1 different"),
        ("Run", {"quality": findings().quality.query("image == 'left'")}, "1 image of 1 test set"),
        (
            "Run",
            {"params": settings(table1__masks=["none", "paper", "constant"])},
            "plain and with the masks paper and",
        ),
        ("Run", {"params": settings(sweep__k=[1.0])}, "and 2 of"),
        ("Found", {"metrics": mean(4.0)}, "PESR 5.50\u00a0→\u00a04.00\u00a0(−1.50)"),  # noqa: RUF001
        ("Found", {"metrics": mean(None)}, "could not be measured for PESR"),
        ("Found", {"effects": findings().effects.assign(verdict="worse")}, "3 worse"),
        ("Found", {"claims": findings().claims.assign(verdict="mixed")}, "3 claims: 3 mixed"),
        ("Found", {"argument": {"excess": 0.5}}, "50.0%"),
        ("How sure", {"effects": findings().effects.assign(high=0.5)}, "0.4 in the median"),
        ("How sure", {"params": settings(table1__seeds=[0, 1, 2])}, "of which 3 were run"),
        ("Unknown", {"claims": findings().claims.assign(verdict="not run")}, "“A wins”; “B wins”"),
        ("Unknown", {"params": settings(data__limit=1)}, "16 of 31 settings"),
    ],
)
def test_every_sentence_follows_its_data(title, changes, now):
    before, after = sentences(findings())[title], sentences(findings(**changes))[title]
    assert before != after and now in after


def test_with_other_masks_none_is_called_the_mask():
    of = settings(table1__masks=["none", "constant"])
    means = {"none": 5, "constant": 4}
    metrics = {f"{model}-{mask}": {LABEL: {"mean": means[mask]}} for model in of.table1.models for mask in means}
    effects = findings().effects.assign(mask="constant")
    said = sentences(findings(params=of, metrics=metrics, effects=effects))
    assert "the mask *constant*: ESRGAN 5.00\u00a0→\u00a04.00" in said["Found"].replace("The", "the")
    assert "2 better, 1 worse" in said["Found"] and "with the mask constant," in said["Run"]
    assert "masks" not in said["Found"] and "could not be measured" not in said["Found"]
    several = settings(table1__masks=["none", "paper", "constant"])
    assert "| constant | constant |" in prose.method(several) and "| constant |" not in prose.method(settings())


def test_without_any_mask_nothing_is_said_of_one():
    of = settings(table1__masks=["none"], figure4__largest_difference=0)
    said = sentences(findings(params=of, effects=findings().effects.iloc[:0]))
    assert "without a mask" in said["Run"] and "nothing was compared" in said["How sure"]
    assert "plain" not in said["Found"]


def test_only_the_half_that_was_fitted_is_called_so():
    half = findings().quality.assign(niqe_weights="official")
    said = prose.limits(findings(quality=half))
    assert "**PI (stand-in Ma) is not PI.** The weights of Ma were fitted here" in said
    assert "weights of NIQE and Ma were fitted" in prose.limits(findings())


def test_method_and_limits_follow_the_parameters_too():
    assert "k = 0.2" in prose.method(settings())
    masks = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text(encoding="utf-8"))["masks"]
    masks["paper"] |= {"k": 0.7, "detach": False}
    other = prose.method(settings(masks__paper=masks["paper"]))
    assert "k = 0.7" in other and "The gradient goes through it" in other
    assert "1 seed**" not in prose.limits(findings()) and "**1 seed for each" in prose.limits(findings())
    assert "**3 seeds for each" in prose.limits(findings(params=settings(table1__seeds=[0, 1, 2])))
    assert "2 images in each test set" in prose.limits(findings())


def test_how_to_cite_names_paper_and_software(tmp_path):
    (tmp_path / "CITATION.cff").write_text((ROOT / "CITATION.cff").read_text(encoding="utf-8"), encoding="utf-8")
    said = prose.how_to_cite(Paths(tmp_path, "mini"))
    assert "@article" in said and "10.11835/j.issn.1000-582X.2023.05.010" in said and "@software" in said
    assert "@software" not in prose.how_to_cite(Paths(tmp_path / "elsewhere", "mini"))


def test_results_that_are_missing_or_something_else(tmp_path):
    with pytest.raises(MasksrError, match=r"quality\.csv"):
        Findings.read(settings(), paths := Paths(tmp_path, "mini"))
    paths.results.mkdir(parents=True)
    findings().quality.to_csv(paths.results / "quality.csv", index=False)
    (paths.results / "evidence.csv").write_text("a\n1\n")
    with pytest.raises(MasksrError, match=r"evidence\.csv: has no column .*dvc repro evidence"):
        Findings.read(settings(), paths)


def trained(folder: Path, key: str, seconds: float, speed: float, device: str = "cpu") -> None:
    folder.mkdir(parents=True)
    record = {"key": key, "seconds_since_last_start": seconds, "inputs": {"device": device}}
    (folder / "training.json").write_text(json.dumps(record))
    rows = ["phase,step,images_per_s", f"a,10,{speed}", f"a,20,{speed}", f"b,10,{speed}", "b,15,"]
    (folder / "history.csv").write_text("\n".join(rows))


@pytest.fixture
def times(tmp_path, monkeypatch):
    """A profile of one start, two variants and two points of Figure 5, one of which shares a variant's training."""
    monkeypatch.setattr(effort.devices, "cores", lambda: 2)
    monkeypatch.setattr(effort, "gpu_watts", lambda: 700.0)
    small = settings(table1__models=["esrgan"], sweep__k=[0.2, 2.0], sweep__b=[0.5])
    paths = Paths(tmp_path, "mini")

    def times(device: str = "cpu") -> list[effort.Effort]:
        trained(paths.start("esrgan", 0), "s", 10.0, 4.0, device)  # 30 steps of 4 at 4 a second: 30 s, resumed since
        trained(paths.variant("esrgan", "none", 0), "n", 100.0, 4.0, device)
        trained(paths.variant("esrgan", "paper", 0), "p", 100.0, 4.0, device)
        trained(paths.sweep_point(0.2, 0.5, 0), "p", 100.0, 4.0, device)
        trained(paths.sweep_point(2.0, 0.5, 0), "q", 50.0, 4.0, device)
        names = ["start", "train", "sweep", "evaluate", "idea"]
        for name in names:
            (tmp_path / f"{name}.ipynb").write_text(name)
        with durations.timed(tmp_path / "evaluate.ipynb", tmp_path):
            pass
        found = effort.efforts(small, paths, [Section(tmp_path / f"{name}.ipynb", stage=name) for name in names])
        return found

    return times


def test_a_shared_training_counts_once_and_a_resumed_one_whole(times):
    found = {one.stage: one for one in times()}
    assert {name: (one.runs, one.timed, one.seconds) for name, one in found.items() if name != "evaluate"} == {
        "start": (1, 1, 30.0),
        "train": (2, 2, 200.0),
        "sweep": (1, 1, 50.0),
        "idea": (1, 0, 0.0),
    }
    assert found["train"].watt_hours == pytest.approx(200 * 2 * effort.WATTS_PER_THREAD / 3600)
    table = effort.as_markdown(list(found.values()))
    assert "| train | 2 | 3.3 | 0.56 |" in table and "| idea | 1 | — | — |" in table
    assert f"{effort.WATTS_PER_THREAD:g} W" in table and "not a measurement" in table


def test_a_gpu_is_counted_with_its_board(times, monkeypatch):
    found = {one.stage: one for one in times("cuda")}
    assert found["train"].watt_hours == pytest.approx(200 * 700 / 3600)
    monkeypatch.setattr(effort, "gpu_watts", lambda: None)
    unknown = effort.Effort("train")
    unknown.add(10.0, None)
    assert "| train | 0 |" not in effort.as_markdown([unknown])


def test_energy_is_written_without_powers_of_ten_and_unknown_where_no_processor_time_is_told(times, monkeypatch):
    assert "| train | 2 | 60.0 | 2345 |" in effort.as_markdown([effort.Effort("train", 2, 2, 3600.0, 2345.1)])
    monkeypatch.setattr(effort.durations, "read", lambda *_: durations.Duration(4.0, 0.0))
    assert {one.stage: one.watt_hours for one in times()}["idea"] is None


def test_a_notebook_leaves_its_time_beside_the_pipeline_and_not_in_itself(tmp_path):
    cells = [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("a + 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source := tmp_path / "source.ipynb")
    output = tmp_path / "out/made.ipynb"
    run_notebook(source, output, {}, root=tmp_path)
    first, found = output.read_bytes(), durations.read(output, tmp_path)
    assert found is not None and found.seconds > 0 and found.cpu_seconds > 0
    assert b"seconds" not in first
    output.write_bytes(first + b" ")
    assert durations.read(output, tmp_path) is None, "not of this notebook"
    assert durations.read(tmp_path / "nothing.ipynb", tmp_path) is None


def test_crops_that_are_not_whole(tmp_path):
    assert load_crops(tmp_path / "nowhere") == []
    (tmp_path / "index.json").write_text('{"titles": ["LR"], "rows": 1}')
    with pytest.raises(MasksrError, match=r"not the crops of figure 4.*dvc repro figure4"):
        load_crops(tmp_path)
