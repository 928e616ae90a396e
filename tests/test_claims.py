"""A claim gets the verdict that the measurements bear, and none where nothing was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from score_tables import mini, score_table

from masksr.params import Params
from masksr.results import claims, evidence, paper

SETS = ("cat", "temple")
ESRGAN, PAIRS = "The mask improves the PI of ESRGAN", "Every k and b that was tried beats ESRGAN without a mask"
Measured = tuple[pd.DataFrame, dict[tuple[float, float], pd.DataFrame], Params]


def measure(change: tuple[float, float], seeds: int, by_k: dict[float, float]) -> Measured:
    """The scores of ESRGAN with a mask that changes PI so on each set, and mask minus baseline for pairs of k and b."""
    rng = np.random.default_rng(0)
    pi = {("esrgan", "none", name): 5 + rng.standard_normal((seeds, 8)) for name in SETS}
    for name, by in zip(SETS, change, strict=True):
        pi["esrgan", "paper", name] = pi["esrgan", "none", name] + by + 0.05 * rng.standard_normal((seeds, 8))
    images = pd.MultiIndex.from_product([SETS, [f"{n:03}" for n in range(8)]], names=["set", "image"])
    points = {
        (k, 0.5): pd.DataFrame(by + 0.01 * rng.standard_normal((seeds, 16)), columns=images) for k, by in by_k.items()
    }
    params = mini(seeds=seeds)
    sweep = params.sweep.model_copy(update={"seeds": list(range(seeds)), "k": list(by_k), "b": [0.5]})
    return score_table(pi), points, params.model_copy(update={"sweep": sweep})


def judge(table: pd.DataFrame, points: dict[tuple[float, float], pd.DataFrame], params: Params) -> pd.DataFrame:
    found = claims.claims(evidence.compare(table, params), points, params, table)
    assert list(found.columns) == claims.COLUMNS and len(found) == len(paper.load()["claims"])
    return found.set_index("claim")


@pytest.fixture
def at_the_papers_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "cuts", lambda _: pd.DataFrame({"model": ["all"], "note": ["same"]}))


@pytest.mark.usefixtures("at_the_papers_setting")
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
def test_a_claim_of_table_1(change, seeds, expected):
    assert judge(*measure(change, seeds, {0.2: -1.0})).loc[ESRGAN, "verdict"] == expected


@pytest.mark.usefixtures("at_the_papers_setting")
@pytest.mark.parametrize(
    ("by_k", "seeds", "expected"),
    [
        ({0.2: -1.0, 2.0: -0.5}, 4, "supported"),
        ({0.2: -1.0, 2.0: 0.5}, 4, "contradicted"),
        ({0.2: -1.0}, 1, "undecided (one seed)"),
        ({0.2: -1.0}, 5, "undecided"),  # one pair is not every pair, but can fail the claim
        ({0.2: 1.0}, 5, "contradicted"),
    ],
)
def test_the_claim_of_figure_5(by_k, seeds, expected):
    assert judge(*measure((0.0, 0.0), seeds, by_k)).loc[PAIRS, "verdict"] == expected


def test_what_was_not_run_has_no_verdict_and_another_setting_is_named():
    verdicts = judge(*measure((-1.0, -1.0), 4, {0.2: -1.0}))["verdict"]
    assert verdicts[ESRGAN] == "supported here"
    assert verdicts["The mask improves the PI of PESR"] == "not run"
    assert verdicts["Textures are more realistic and less distorted"] == "not run"


@pytest.mark.usefixtures("at_the_papers_setting")
def test_an_image_without_pi_decides_nothing():
    """The mask fails on the hard images, of which PI is worst: their loss must not count as a gain."""
    table, points, params = measure((0.0, 0.0), 4, {0.2: -1.0})
    points[0.2, 0.5].iloc[1, 3] = np.nan
    table.loc[(table["mask"] == "paper") & (table["image"] == "003"), "pi"] = np.nan
    found = judge(table, points, params)
    assert list(found.loc[[ESRGAN, PAIRS], "verdict"]) == ["undecided"] * 2
    assert "1 differences left out" in found.loc[PAIRS, "what came out"]
    assert "14 images (2 more left out)" in found.loc[ESRGAN, "what we ran"]


@pytest.mark.usefixtures("at_the_papers_setting")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["supported", "supported"]),
        ({"kind": "constant"}, ["not run", "not run"]),
        ({"window": 5}, ["supported here", "supported here"]),
    ],
)
def test_a_control_or_another_reading_does_not_stand_for_the_paper(change, expected):
    table, points, params = measure((-1.0, -1.0), 4, {0.2: -1.0, 2.0: -1.0})
    mask = params.masks["paper"].model_copy(update=change)
    params = params.model_copy(update={"masks": params.masks | {"paper": mask}})
    assert list(judge(table, points, params).loc[[ESRGAN, PAIRS], "verdict"]) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, "supported in a toy world"), ({"excess": 0.2}, "undecided"), ({"excess": -1}, "contradicted in a toy world")],
)
def test_the_claim_of_equations_4_to_7(change, expected):
    numbers = {"weights": 9, "classes": 4, "members": 8, "excess": 0.01, "excess_before": 1.0, "identity": 1e-12}
    argument = numbers | {"distance": 1.0, "distance_before": 9.0} | change
    table, points, params = measure((0.0, 0.0), 1, {0.2: 0.0})
    found = claims.claims(evidence.compare(table, params), points, params, table, argument)
    assert found["verdict"][0] == expected
