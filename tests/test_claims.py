"""A claim gets the verdict that the measurements bear, and none where nothing was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_evidence import quality, settings

from masksr import claims, evidence, figures, paper, questions
from masksr.params import Params

SETS = ("cat", "temple")


def found(change: dict[str, float], seeds: int, noise: float = 0.05) -> tuple[pd.DataFrame, Params, pd.DataFrame]:
    rng = np.random.default_rng(0)
    plain = {name: 5 + rng.standard_normal((seeds, 8)) for name in SETS}
    masked = {name: plain[name] + change[name] + noise * rng.standard_normal((seeds, 8)) for name in SETS}
    table = quality({("none", n): plain[n] for n in SETS} | {("paper", n): masked[n] for n in SETS})
    params = settings(list(range(seeds)))
    return evidence.compare(table, params), params, table


def sweep(params: Params, changes: dict[float, float]) -> tuple[pd.DataFrame, pd.DataFrame, Params]:
    rng = np.random.default_rng(1)
    base = [(seed, name, 5 + rng.standard_normal()) for seed in params.table1.seeds for name in SETS]
    plain = pd.DataFrame(base, columns=["seed", "set", "pi"])
    points = [plain.assign(pi=plain["pi"] + by + 0.001 * seed, k=k, b=0.5) for k, by in changes.items() for seed in [1]]
    sections = params.sweep.model_copy(update={"seeds": params.table1.seeds, "k": list(changes), "b": [0.5]})
    return pd.concat(points), plain, params.model_copy(update={"sweep": sections})


def verdicts(change: dict[str, float], seeds: int, by_k: dict[float, float]) -> dict[str, str]:
    effects, params, table = found(change, seeds)
    points, plain, params = sweep(params, by_k)
    rows = claims.claims(effects, points, plain, params, table)
    assert list(rows.columns) == claims.COLUMNS and len(rows) == len(paper.claims())
    return dict(zip(rows["claim"], rows["verdict"], strict=True))


ESRGAN, PAIRS = "The mask improves the PI of ESRGAN", "Every k and b that was tried beats ESRGAN without a mask"


@pytest.fixture
def at_the_papers_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "cuts", lambda _: pd.DataFrame({"note": ["same"]}))


@pytest.mark.parametrize(
    ("change", "seeds", "expected"),
    [
        ((-1.0, -1.0), 4, "supported"),
        ((-1.0, 0.0), 4, "undecided"),
        ((-1.0, 1.0), 4, "contradicted"),
        ((-1.0, -1.0), 1, "undecided (one seed)"),
    ],
)
@pytest.mark.usefixtures("at_the_papers_setting")
def test_a_claim_of_table_1(change: tuple[float, float], seeds: int, expected: str) -> None:
    assert verdicts(dict(zip(SETS, change, strict=True)), seeds, {0.2: -1.0})[ESRGAN] == expected


@pytest.mark.parametrize(
    ("by_k", "seeds", "expected"),
    [
        ({0.2: -1.0, 2.0: -0.5}, 4, "supported"),
        ({0.2: -1.0, 2.0: 0.5}, 4, "contradicted"),
        ({0.2: -1.0}, 1, "undecided (one seed)"),
    ],
)
@pytest.mark.usefixtures("at_the_papers_setting")
def test_the_claim_of_figure_5(by_k: dict[float, float], seeds: int, expected: str) -> None:
    assert verdicts(dict.fromkeys(SETS, 0.0), seeds, by_k)[PAIRS] == expected


def test_where_the_setting_is_not_the_papers_the_verdict_says_so() -> None:
    assert verdicts(dict.fromkeys(SETS, -1.0), 4, {0.2: -1.0})[ESRGAN] == "supported here"


def test_what_was_not_run_has_no_verdict() -> None:
    found = verdicts(dict.fromkeys(SETS, -1.0), 4, {0.2: -1.0})
    assert found["The mask improves the PI of PESR"] == "not run"
    assert found["Textures are more realistic and less distorted"] == "not run"


def test_seeds_are_counted_where_a_spread_is_known() -> None:
    effects, *_ = found(dict.fromkeys(SETS, -1.0), 4)
    table = claims.seeds_table(effects.assign(sd_seeds=0.2, sd_images=0.0, sd_rest=0.0))
    numbers = [int(table[f"seeds for {target}"].iloc[0]) for target in ("0.02", "0.10", "0.50")]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 100
    assert claims.seeds_table(found(dict.fromkeys(SETS, -1.0), 1)[0]).empty


def test_the_papers_own_difference_is_a_target_where_the_set_is_the_same() -> None:
    cell = {"mask": "paper", "model": "pesr", "set": "Urban100"}
    assert claims._papers(cell) == [pytest.approx(0.23)]
    assert claims._papers(cell | {"set": "cat"}) == claims._papers(cell | {"mask": "constant"}) == []


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_summary_and_the_picture_say_what_the_table_says(seeds: int, tmp_path) -> None:
    effects, *_ = found({"cat": -1.0, "temple": 0.0}, seeds)
    text = claims.summary(effects)
    assert f"{effects['difference'].mean():+.2f}" in text and effects["verdict"].iloc[0] in text
    figure = figures.effects(effects)
    assert [ax.get_title() for ax in figure.axes] == list(SETS)
    for ax, row in zip(figure.axes, effects.itertuples(), strict=True):
        lines = [list(line.get_xdata()) for line in ax.lines]
        assert [row.low, row.high] in lines and [row.difference] in lines
    figure.savefig(tmp_path / "effects.png")


def test_nothing_to_compare_is_said() -> None:
    assert claims.summary(pd.DataFrame()) == "No mask was compared with a plain model."


def test_the_plane_has_a_mark_for_every_variant(tmp_path) -> None:
    _, params, table = found({"cat": -1.0, "temple": 0.0}, 2)
    ends = quality({("none", name): np.ones((1, 8)) for name in SETS})
    measured = pd.concat([table, ends.assign(model="HR"), ends.assign(model="bicubic", pi=6.0)]).assign(rmse=1.0)
    figure = figures.perception_distortion(measured, params)
    assert [ax.get_title() for ax in figure.axes] == list(SETS) and figure.axes[0].get_ylabel().startswith("PI")
    assert [text.get_text() for text in figure.axes[0].texts] == ["HR", "bicubic"]
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert len(marks) == 3  # bicubic, plain, mask
    figure.savefig(tmp_path / "plane.png")
