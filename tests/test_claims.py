"""A claim gets the verdict that the measurements bear, and none where nothing was measured."""

import numpy as np
import pandas as pd
import pytest
from made_up_scores import mini, score_table

from masksr.params import Params
from masksr.results import claims, intervals, paper

SETS = ("cat", "temple")
ESRGAN = "The mask improves the PI of ESRGAN"
PAIRS = "Every k and b that was tried beats ESRGAN without a mask"
TOY = " in a toy world"


def measure(change=(-1.0, -1.0), seeds: int = 4, by_k=((0.2, -1.0), (2.0, -1.0))):
    """Scores of ESRGAN with a mask that changes PI so on each set, and mask minus baseline for pairs."""
    rng, pi = np.random.default_rng(0), {}
    for name, by in zip(SETS, change, strict=True):
        pi["esrgan", "none", name] = 5 + rng.standard_normal((seeds, 8))
        pi["esrgan", "paper", name] = pi["esrgan", "none", name] + by + 0.05 * rng.standard_normal((seeds, 8))
    images = pd.MultiIndex.from_product([SETS, [f"{n:03}" for n in range(8)]], names=["set", "image"])
    differences = {k: by + 0.01 * rng.standard_normal((seeds, 16)) for k, by in by_k}
    points = {(k, 0.5): pd.DataFrame(values, columns=images) for k, values in differences.items()}
    params = mini(seeds=seeds)
    sweep = params.sweep.model_copy(update={"seeds": list(range(seeds)), "k": list(differences), "b": [0.5]})
    return score_table(pi), points, params.model_copy(update={"sweep": sweep})


def judge(table: pd.DataFrame, points: dict, params: Params, argument: dict | None = None) -> pd.DataFrame:
    found = claims.claims(intervals.compare(table, params), points, params, table, argument)
    assert list(found.columns) == claims.COLUMNS and len(found) == len(paper.load()["claims"])
    return found.set_index("claim")


@pytest.mark.parametrize(("claim", "expected", "measured"), [
    (ESRGAN, "supported", {"change": (-1.0, 0.0)}),
    (ESRGAN, "undecided", {"change": (0.0, 0.0)}),
    (ESRGAN, "contradicted", {"change": (1.0, 0.0)}),
    (ESRGAN, "mixed", {"change": (-1.0, 1.0)}),
    (ESRGAN, "undecided (one seed)", {"seeds": 1}),
    (PAIRS, "supported", {"by_k": [(0.2, -1.0), (2.0, -0.5)]}),
    (PAIRS, "contradicted", {"by_k": [(0.2, -1.0), (2.0, 0.5)]}),
    (PAIRS, "undecided", {"by_k": [(0.2, -1.0)]}),  # one pair is not every pair, but can fail the claim
])
def test_a_claim_has_the_verdict_of_its_numbers(claim, expected, measured, monkeypatch):
    at_the_papers_setting = pd.DataFrame({"model": ["all"], "note": ["same"]})
    monkeypatch.setattr(paper, "cuts", lambda _: at_the_papers_setting)
    assert judge(*measure(**measured)).loc[claim, "verdict"] == expected


def test_an_image_without_pi_decides_nothing():
    """The mask fails on the hard images, of which PI is worst: their loss must not count as a gain."""
    table, points, params = measure()
    points[0.2, 0.5].iloc[1, 3] = np.nan
    table.loc[(table["mask"] == "paper") & (table["image"] == "003"), "pi"] = np.nan
    found = judge(table, points, params).loc[[ESRGAN, PAIRS]]
    assert list(found["verdict"]) == ["undecided"] * 2
    assert "14 images (2 more left out)" in found["what we ran"][ESRGAN]


@pytest.mark.parametrize(("change", "expected"), [({}, "supported here"), ({"kind": "constant"}, "not run")])
def test_a_control_does_not_count_and_another_setting_is_named(change, expected):
    table, points, params = measure()
    mask = params.masks["paper"].model_copy(update=change)
    params = params.model_copy(update={"masks": params.masks | {"paper": mask}})
    verdicts = judge(table, points, params)["verdict"]
    assert list(verdicts[[ESRGAN, PAIRS]]) == [expected] * 2
    assert verdicts["The mask improves the PI of PESR"] == "not run"
    assert verdicts["Textures are more realistic and less distorted"] == "not run"


@pytest.mark.parametrize(("change", "expected"), [
    ({}, f"supported{TOY}"), ({"excess": 0.2}, "undecided"), ({"excess": -1}, f"contradicted{TOY}"),
])
def test_the_claim_of_equations_4_to_7(change, expected):
    numbers = {"weights": 9, "classes": 4, "members": 8, "excess": 0.01, "excess_before": 1, "identity": 0.0}
    argument = numbers | {"distance": 1.0, "distance_before": 9.0} | change
    assert judge(*measure(), argument)["verdict"].iloc[0] == expected
