"""A claim gets the verdict that the measurements bear, and none where nothing was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_evidence import quality, settings

from masksr.params import Params
from masksr.plots import intervals
from masksr.results import claims, evidence, paper, power, questions

SETS = ("cat", "temple")


def found(change: dict[str, float], seeds: int, noise: float = 0.05) -> tuple[pd.DataFrame, Params, pd.DataFrame]:
    rng = np.random.default_rng(0)
    plain = {name: 5 + rng.standard_normal((seeds, 8)) for name in SETS}
    masked = {name: plain[name] + change[name] + noise * rng.standard_normal((seeds, 8)) for name in SETS}
    table = quality({("none", n): plain[n] for n in SETS} | {("paper", n): masked[n] for n in SETS})
    params = settings(list(range(seeds)))
    return evidence.compare(table, params), params, table


def sweep(params: Params, changes: dict[float, float]) -> tuple[dict[tuple[float, float], pd.DataFrame], Params]:
    """Mask minus plain by (k, b): the same for all images but for a little noise."""
    rng = np.random.default_rng(1)
    images = pd.MultiIndex.from_product([SETS, [f"{n}" for n in range(8)]], names=["set", "image"])
    seeds = params.table1.seeds
    points = {
        (k, 0.5): pd.DataFrame(by + 0.01 * rng.standard_normal((len(seeds), 16)), index=seeds, columns=images)
        for k, by in changes.items()
    }
    sections = params.sweep.model_copy(update={"seeds": seeds, "k": list(changes), "b": [0.5]})
    return points, params.model_copy(update={"sweep": sections})


def rows(effects: pd.DataFrame, points: dict, params: Params, table: pd.DataFrame) -> pd.DataFrame:
    found = claims.claims(effects, points, params, table)
    assert list(found.columns) == claims.COLUMNS and len(found) == len(paper.claims())
    return found.set_index("claim")


def verdicts(change: dict[str, float], seeds: int, by_k: dict[float, float]) -> dict[str, str]:
    effects, params, table = found(change, seeds)
    points, params = sweep(params, by_k)
    return rows(effects, points, params, table)["verdict"].to_dict()


ESRGAN, PAIRS = "The mask improves the PI of ESRGAN", "Every k and b that was tried beats ESRGAN without a mask"


@pytest.fixture
def at_the_papers_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "cuts", lambda _: pd.DataFrame({"model": ["all"], "note": ["same"]}))


@pytest.mark.parametrize(
    ("change", "seeds", "expected"),
    [
        ((-1.0, -1.0), 4, "supported"),
        ((-1.0, 0.0), 4, "supported"),
        ((0.0, 0.0), 4, "undecided"),
        ((1.0, 0.0), 4, "contradicted"),
        ((-1.0, 1.0), 4, "mixed"),
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


@pytest.mark.usefixtures("at_the_papers_setting")
def test_an_image_without_pi_decides_nothing() -> None:
    """The mask fails on the hard images, of which PI is worst: their loss must not count as a gain."""
    effects, params, table = found(dict.fromkeys(SETS, 0.0), 4)
    points, params = sweep(params, {0.2: -1.0})
    points[0.2, 0.5].iloc[1, 3] = np.nan
    claim = rows(effects, points, params, table).loc[PAIRS]
    assert claim["verdict"] == "undecided" and "1 differences left out" in claim["what came out"]
    lost = table.copy()
    lost.loc[(lost["mask"] == "paper") & (lost["image"] == "3"), "pi"] = np.nan
    claim = rows(evidence.compare(lost, params), points, params, lost).loc[ESRGAN]
    assert claim["verdict"] == "undecided" and "14 images (2 more left out)" in claim["what we ran"]


@pytest.mark.usefixtures("at_the_papers_setting")
def test_a_control_or_another_model_does_not_stand_for_the_paper() -> None:
    effects, params, table = found(dict.fromkeys(SETS, -1.0), 4)
    points, params = sweep(params, {0.2: -1.0})
    other = params.model_copy(update={"sweep": params.sweep.model_copy(update={"model": "pesr"})})
    assert rows(effects, points, other, table).loc[PAIRS, "verdict"] == "not run"
    constant = params.masks["paper"].model_copy(update={"kind": "constant"})
    other = params.model_copy(update={"masks": params.masks | {"paper": constant}})
    assert list(rows(effects, points, other, table).loc[[ESRGAN, PAIRS], "verdict"]) == ["not run", "not run"]
    windowed = params.masks["paper"].model_copy(update={"window": 5})
    other = params.model_copy(update={"masks": params.masks | {"paper": windowed}})
    assert rows(effects, points, other, table).loc[ESRGAN, "verdict"] == "supported here"
    assert rows(effects, points, params, table).loc[ESRGAN, "verdict"] == "supported"


def test_seeds_are_counted_where_a_spread_is_known() -> None:
    effects, *_ = found(dict.fromkeys(SETS, -1.0), 4)
    known = {"sd_seeds": 0.2, "sd_seeds_high": 0.4, "sd_images": 0.0, "sd_rest": 0.0, "images": 500}
    table = power.seeds_table(effects.assign(**known))
    few, many = zip(
        *(map(int, table[f"seeds for {size}"].iloc[0].split(" … ")) for size in ("0.10", "0.50")), strict=True
    )
    assert few[0] > few[1] and many[0] > few[0] and many[1] > few[1]
    assert power.seeds_table(found(dict.fromkeys(SETS, -1.0), 1)[0]).empty


def test_the_papers_own_difference_is_a_target_where_the_set_is_the_same() -> None:
    cell = {"mask": "paper", "model": "pesr", "set": "Urban100"}
    assert power._papers(cell) == pytest.approx(0.23)
    assert power._papers(cell | {"set": "cat"}) is power._papers(cell | {"mask": "constant"}) is None


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_summary_and_the_picture_say_what_the_table_says(seeds: int, tmp_path) -> None:
    effects, *_ = found({"cat": -1.0, "temple": 0.0}, seeds)
    text = claims.summary(effects)
    assert f"{effects['difference'].mean():+.2f}" in text and effects["verdict"].iloc[0] in text
    figure = intervals.effects(effects)
    assert [ax.get_title() for ax in figure.axes] == list(SETS)
    for ax, row in zip(figure.axes, effects.itertuples(), strict=True):
        (whole,) = [part.get_segments()[0] for part in ax.collections]
        assert list(whole[:, 0]) == [row.low, row.high] and list(ax.lines[-1].get_xdata()) == [row.difference]
    figure.savefig(tmp_path / "effects.png")


def test_nothing_to_compare_is_said() -> None:
    assert claims.summary(pd.DataFrame()) == "No mask was compared with a plain model."


def test_one_pair_of_k_and_b_says_nothing_of_every_pair(at_the_papers_setting: None) -> None:
    assert verdicts(dict.fromkeys(SETS, 0.0), 5, {0.2: -1.0})[PAIRS] == "undecided"
    assert verdicts(dict.fromkeys(SETS, 0.0), 5, {0.2: 1.0})[PAIRS] == "contradicted"
