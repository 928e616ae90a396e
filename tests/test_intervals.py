"""Intervals hold the truth as often as they say; verdicts and claims follow them; pairs are pairs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_scores import mini, score_table
from notebook_cells import run_cells
from scipy import stats

from masksr.params import Mask, Params
from masksr.results import intervals, paper
from masksr.results.intervals import Effect, compare, direction, effect, verdict

SETS = ("cat", "temple")
ESRGAN = "The mask improves the PI of ESRGAN"
PAIRS = "Every k and b that was tried beats ESRGAN without a mask"
TOY = " in a toy world"
CELLS = ["21_evidence-01", "one-change-pairs", "power", "claims-table1", "claims-others", "claims-judge"]
NOTEBOOK = SimpleNamespace(**run_cells("21_evidence", *CELLS))
SWEEP_INTERVALS = run_cells("23_figure5", "23_figure5-01", "intervals")["sweep_intervals"]


def everywhere(value: float, seeds: int = 2) -> dict[tuple[str, str, str], np.ndarray]:
    cells = [("esrgan", mask, name) for mask in ("none", "paper") for name in SETS]
    return dict.fromkeys(cells, np.full((seeds, 4), value))


def crossed(rng: np.random.Generator, seeds: int, images: int, sds: tuple[float, float, float]) -> np.ndarray:
    of_seed, of_image, rest = sds
    noise = rest * rng.standard_normal((seeds, images))
    return of_seed * rng.standard_normal((seeds, 1)) + of_image * rng.standard_normal((1, images)) + noise


@pytest.mark.parametrize("sds", [(1, 1, 1), (1, 0.3, 0.3), (0.1, 1, 1), (0, 1, 0.5), (0, 0, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds, sds):
    rng = np.random.default_rng(1)
    found = [effect(crossed(rng, seeds, 20, sds), 0.9) for _ in range(600)]
    assert np.mean([e.low <= 0 <= e.high for e in found]) >= 0.86  # 0.9 less three standard errors of 600


def test_one_seed_is_the_paired_t_test_over_images():
    mask, baseline = np.random.default_rng(0).standard_normal((2, 1, 12))
    expected = stats.ttest_rel(mask.ravel(), baseline.ravel()).confidence_interval(0.9)
    found = effect(mask - baseline, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert np.isnan(found.sd_seeds) and verdict(found) == "undecided (one seed)"


def test_fewer_than_three_images_have_no_interval():
    found = effect(np.random.default_rng(0).standard_normal((5, 2)))
    assert np.isnan([found.low, found.high]).all() and verdict(found) == "undecided (too few images)"
    assert np.isfinite(effect(np.random.default_rng(0).standard_normal((5, 3))).low)
    few = {("esrgan", mask, name): np.full((1, 2), pi) for mask, pi in [("none", 5.0), ("paper", 4.0)] for name in SETS}
    assert "interval" not in intervals.effects_table(compare(score_table(few), mini()))


def test_the_parts_of_the_spread_are_found_again():
    found = effect(crossed(np.random.default_rng(4), 400, 400, (0.5, 1.0, 0.25)))
    assert (found.sd_seeds, found.sd_images, found.sd_rest) == pytest.approx((0.5, 1.0, 0.25), rel=0.1)


@given(st.integers(2, 5), st.integers(3, 9), st.integers(0, 99), st.floats(-3, 3))
def test_shifting_all_differences_shifts_the_interval(seeds, images, seed, by):
    d = np.random.default_rng(seed).standard_normal((seeds, images))
    here, shifted, turned = effect(d), effect(d + by), effect(-d)
    for name in ("mean", "low", "high"):
        assert getattr(shifted, name) == pytest.approx(getattr(here, name) + by, abs=1e-9)
    assert (turned.low, turned.high) == pytest.approx((-here.high, -here.low))


@pytest.mark.parametrize(("ends", "seeds", "lower", "expected"), [
    ((-2, -1), 3, True, "better"), ((1, 2), 3, True, "worse"), ((1, 2), 3, False, "better"),
    ((-1, 1), 3, True, "undecided"), ((-2, -1), 1, True, "undecided (one seed)"),
])
def test_verdicts(ends, seeds, lower, expected):
    assert verdict(Effect(0.0, *ends, 1.0, 1.0, 1.0, 1.0, seeds, images=10), lower) == expected


def test_compare_pairs_by_image_and_seed_and_corrects_for_all_cells():
    rng = np.random.default_rng(5)
    pi = {("esrgan", "none", name): 5 + rng.standard_normal((3, 8)) for name in SETS}
    change = {name: 0.1 * rng.standard_normal((3, 8)) - 2 * (name == "cat") for name in SETS}
    pi |= {("esrgan", "paper", name): pi["esrgan", "none", name] + change[name] for name in SETS}
    found = compare(score_table(pi).sample(frac=1, random_state=0), mini(seeds=3))
    assert list(found["verdict"]) == ["better", "undecided"] and set(found["variant"]) == {"ESRGAN+Mask"}
    alone = effect(change["cat"], 1 - 0.05 / 2)
    assert found.loc[0, ["difference", "low", "high"]].tolist() == pytest.approx([alone.mean, alone.low, alone.high])
    shown = intervals.effects_table(found)
    assert list(shown) == ["variant", "set", "PI", "interval", "seeds", "images", "verdict"]
    assert shown["interval"][0] == f"{alone.low:+.2f}\u00a0…\u00a0{alone.high:+.2f}".replace("-", "\u2212")


def test_equal_scores_are_the_same_and_an_image_without_the_measure_leaves_the_cell_open():
    changed = 4 + np.random.default_rng(5).standard_normal((3, 4))
    found = compare(score_table(everywhere(5.0, 3) | {("esrgan", "paper", "cat"): changed}), mini(seeds=3))
    assert found["verdict"][1] == "the same" and found["low"][0] == pytest.approx(effect(changed - 5, 0.95).low)
    table = run_cells("21_evidence", CELLS[0], "power", "21_evidence-14", effects=found, settings=mini())
    assert table["level"] == pytest.approx(0.95)
    masked = np.full((2, 4), 4.0)
    masked[1, 2] = np.nan
    cells = {("esrgan", "paper", "cat"): masked, ("esrgan", "paper", "temple"): np.full((2, 4), np.inf)}
    found = compare(score_table(everywhere(5.0) | cells), mini(seeds=2))
    assert list(found["images"]) == [3, 0] and list(found["without"]) == [1, 4]
    assert list(found["verdict"]) == list(found["trainings"]) == ["undecided (1 left out)", "not measured"]
    assert intervals.effects_table(found)["interval"][1] == "—"


def test_a_mask_is_compared_with_those_that_differ_in_one_setting():
    base, changes = mini(seeds=3), {"flat": {"kind": "constant"}, "k": {"k": 1.0}}
    changes["far"] = {"apply": "sr", "kind": "constant"}
    more = {name: Mask(**base.masks["paper"].model_dump() | change) for name, change in changes.items()}
    masks = base.model_copy(update={"masks": base.masks | more})
    masks.table1.masks.extend(more)
    assert NOTEBOOK.one_change(masks) == {("paper", "flat"): "kind: constant", ("paper", "k"): "k: 1.0"}
    rng = np.random.default_rng(1)
    pi = {("esrgan", mask, name): rng.standard_normal((3, 6)) for mask in masks.table1.masks for name in SETS}
    pi["esrgan", "paper", "cat"] = pi["esrgan", "flat", "cat"] - 5 + 0.01 * rng.standard_normal((3, 6))
    table = NOTEBOOK.compare_controls(score_table(pi), masks)
    assert list(table["other is"][::2]) == ["kind: constant", "k: 1.0"]
    change = pi["esrgan", "paper", "cat"] - pi["esrgan", "flat", "cat"]
    cat, alone = table.iloc[0], effect(change, 1 - 0.05 / 4)
    assert cat["variant"] == "ESRGAN+Mask \u2212 flat" and cat["verdict"] == "better"
    assert (cat["difference"], cat["low"]) == pytest.approx((alone.mean, alone.low))


def test_figure_5_has_a_row_for_every_pair_and_set_and_for_the_mean_of_the_sets():
    rng = np.random.default_rng(0)
    names = [("a", image) for image in "1234"] + [("b", image) for image in "123456"]
    images = pd.MultiIndex.from_tuples(names, names=["set", "image"])
    given = {(k, 0.5): pd.DataFrame(rng.standard_normal((3, 10)) + k, columns=images) for k in (0.0, 1.0)}
    table = SWEEP_INTERVALS(given)
    assert list(table["set"]) == ["a", "b", "mean"] * 2
    row = table.query("k == 1 and set == 'b'").iloc[0]
    alone, together = (effect(given[1.0, 0.5]["b"].to_numpy(), level) for level in (0.95, 0.975))
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((alone.mean, alone.low, alone.high))
    assert (row["together_low"], row["together_high"]) == pytest.approx((together.low, together.high))
    assert row["verdict"] == verdict(together)
    means = [given[1.0, 0.5][name].to_numpy().mean() for name in "ab"]
    assert table["difference"].iloc[-1] == pytest.approx(np.mean(means)), "sets count alike"
    given[1.0, 0.5]["b"] = np.nan
    assert list(SWEEP_INTERVALS(given)["verdict"][-2:]) == ["not measured"] * 2
    one_set = {pair: table[["a"]] for pair, table in given.items()}
    assert list(SWEEP_INTERVALS(one_set)["set"]) == ["a", "a"]


def test_the_number_of_seeds_decides_as_often_as_it_says():
    level, rng = intervals.bonferroni(0.95, 12), np.random.default_rng(7)
    known = Effect(0.0, -1, 1, 0.1, 0.1, 0.05, 0.1, seeds=3, images=30)
    needed = NOTEBOOK.seeds_needed(known, 0.2, 0.1, level)
    found = [effect(0.2 + crossed(rng, needed, 30, (0.1, 0.05, 0.1)), level) for _ in range(300)]
    better = [direction(e, lower_is_better=False) == "better" for e in found]
    assert np.mean(better) == pytest.approx(0.8, abs=0.12)
    few_images = Effect(0.0, -1, 1, 0.1, 0.1, 1.0, 0.0, seeds=3, images=10)
    assert NOTEBOOK.seeds_needed(few_images, 0.1, 0.1, level) is None


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
    found = NOTEBOOK.judge_claims(intervals.compare(table, params), SWEEP_INTERVALS(points), params, table, argument)
    assert len(found) == len(paper.load()["claims"])
    return found.set_index("claim")


@pytest.mark.parametrize(("claim", "expected", "measured"), [
    (ESRGAN, "supported", {"change": (-1.0, 0.0)}),
    (ESRGAN, "undecided", {"change": (0.0, 0.0)}), (ESRGAN, "mixed", {"change": (-1.0, 1.0)}),
    (ESRGAN, "contradicted", {"change": (1.0, 0.0)}),
    ("With the mask reconstruction is more accurate, too (here by PSNR-Y)", "supported", {"change": (1.0, 0.0)}),
    (ESRGAN, "undecided (one seed)", {"seeds": 1}), (PAIRS, "supported", {"by_k": [(0.2, -1.0), (2.0, -0.5)]}),
    (PAIRS, "contradicted", {"by_k": [(0.2, -1.0), (2.0, 0.5)]}),
    (PAIRS, "undecided", {"by_k": [(0.2, -1.0)]}),  # one pair is not every pair, but can fail the claim
])
def test_a_claim_has_the_verdict_of_its_numbers(claim, expected, measured, monkeypatch):
    monkeypatch.setattr(paper, "departures", lambda *_: [])
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


def test_without_a_mask_named_paper_the_first_error_mask_is_judged():
    table, points, params = measure()
    params = params.model_copy(update={"masks": params.masks | {"letter": params.masks["paper"]}}, deep=True)
    params.table1.masks[:] = ["none", "letter"]
    found = judge(table.replace({"mask": {"paper": "letter"}}), points, params).loc[ESRGAN]
    assert found["verdict"] == "supported here" and found["what we ran"].endswith(", mask letter")


@pytest.mark.parametrize(("change", "expected"), [
    ({}, f"supported{TOY}"), ({"excess": 0.2}, "undecided"), ({"excess": -1}, f"contradicted{TOY}"),
])
def test_the_claim_of_equations_4_to_7(change, expected):
    numbers = {"weights": 9, "classes": 4, "members": 8, "excess": 0.01, "excess_before": 1, "identity": 0.0}
    argument = numbers | {"distance": 1.0, "distance_before": 9.0} | change
    assert judge(*measure(), argument)["verdict"].iloc[0] == expected
