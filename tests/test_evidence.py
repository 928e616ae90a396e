"""Intervals hold the truth as often as they say, verdicts follow them, and pairs are pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from masksr import params
from masksr.errors import MasksrError
from masksr.params import Params
from masksr.plots import intervals
from masksr.results import evidence
from masksr.results import outputs as results
from masksr.results.evidence import Effect, compare, direction, effect, verdict
from masksr.results.power import power_of, seeds_needed
from masksr.results.quality_table import COLUMNS

PROFILE = Path(__file__).parents[1] / "profiles/mini.yaml"


def settings(seeds: list[int], masks: tuple[str, ...] = ("none", "paper")) -> Params:
    mini = params.load(PROFILE)
    table1 = mini.table1.model_copy(update={"seeds": seeds, "masks": list(masks), "models": ["esrgan"]})
    return mini.model_copy(update={"table1": table1, "data": mini.data.model_copy(update={"test": ["cat", "temple"]})})


def quality(changes: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """changes: (mask, set) -> PI of (seeds, images)."""
    rows = [
        {"model": "esrgan", "mask": mask, "seed": seed, "set": name, "image": f"{image}", "pi": pi}
        for (mask, name), values in changes.items()
        for seed, line in enumerate(values)
        for image, pi in enumerate(line)
    ]
    return pd.DataFrame(rows).reindex(columns=COLUMNS).assign(niqe_weights="official", ma_weights="official")


def crossed(rng: np.random.Generator, seeds: int, images: int, sds: tuple[float, float, float]) -> np.ndarray:
    of_seed, of_image, rest = sds
    noise = rest * rng.standard_normal((seeds, images))
    return of_seed * rng.standard_normal((seeds, 1)) + of_image * rng.standard_normal((1, images)) + noise


@pytest.mark.parametrize("sds", [(1.0, 1.0, 1.0), (1.0, 0.3, 0.3), (0.1, 1.0, 1.0), (0.0, 1.0, 0.5), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_holds_the_truth_as_often_as_it_says(
    seeds: int, sds: tuple[float, float, float], monkeypatch
) -> None:
    monkeypatch.setattr(evidence, "RESAMPLES", 2)
    rng = np.random.default_rng(1)
    found = [effect(crossed(rng, seeds, 20, sds), 0.9) for _ in range(600)]
    held = np.mean([e.low <= 0 <= e.high for e in found])
    assert held >= 0.86  # 0.9 less three standard errors of 600 tries


def test_why_the_bootstrap_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds that differ more than the pictures do: it misses the truth far more often than it says."""
    monkeypatch.setattr(evidence, "RESAMPLES", 500)
    rng = np.random.default_rng(2)
    found = [effect(crossed(rng, 3, 20, (1.0, 0.3, 0.3)), 0.95) for _ in range(200)]
    assert np.mean([e.bootstrap_low <= 0 <= e.bootstrap_high for e in found]) < 0.85
    assert np.mean([e.low <= 0 <= e.high for e in found]) > 0.9


def test_one_seed_is_the_paired_t_test_over_images() -> None:
    mask, plain = np.random.default_rng(0).standard_normal((2, 12))
    expected = stats.ttest_rel(mask, plain).confidence_interval(0.9)
    found = effect((mask - plain)[None], 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert np.isnan(found.sd_seeds) and verdict(found) == "undecided (one seed)"


def test_one_image_is_the_paired_t_test_over_seeds() -> None:
    differences = np.random.default_rng(0).standard_normal((5, 1))
    expected = stats.ttest_1samp(differences[:, 0], 0).confidence_interval(0.95)
    found = effect(differences)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_is_scipys_where_there_is_one_seed() -> None:
    differences = np.random.default_rng(3).standard_normal((1, 30))
    found = effect(differences, 0.9)
    theirs = stats.bootstrap((differences[0],), np.mean, confidence_level=0.9, method="percentile", rng=1)
    interval = theirs.confidence_interval
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_the_parts_of_the_spread_are_found_again() -> None:
    found = effect(crossed(np.random.default_rng(4), 400, 400, (0.5, 1.0, 0.25)))
    assert (found.sd_seeds, found.sd_images, found.sd_rest) == pytest.approx((0.5, 1.0, 0.25), rel=0.1)


def test_too_little_is_undecided_not_an_error() -> None:
    found = effect(np.array([[-3.0]]))
    assert found.mean == -3 and np.isnan([found.low, found.high, found.bootstrap_low]).all()
    assert direction(found) == "undecided"
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="finite numbers of shape"):
            effect(wrong)


@given(st.integers(2, 5), st.integers(2, 9), st.integers(0, 99), st.floats(-3, 3))
def test_shifting_all_differences_shifts_the_interval(seeds: int, images: int, seed: int, by: float) -> None:
    d = np.random.default_rng(seed).standard_normal((seeds, images))
    here, there = effect(d), effect(d + by)
    for name in ("mean", "low", "high", "bootstrap_low", "bootstrap_high"):
        assert getattr(there, name) == pytest.approx(getattr(here, name) + by, abs=1e-9)
    turned = effect(-d)
    assert (turned.low, turned.high) == pytest.approx((-here.high, -here.low))


def at(low: float, high: float, seeds: int = 3, images: int = 10) -> Effect:
    return Effect((low + high) / 2, low, high, low, high, 1.0, 1.0, 1.0, 1.0, seeds, images)


def test_verdicts() -> None:
    assert [verdict(at(*ends)) for ends in ((-2, -1), (1, 2), (-1, 1))] == ["better", "worse", "undecided"]
    assert verdict(at(1, 2), lower_is_better=False) == "better"
    assert verdict(at(-2, -1, seeds=1)) == "undecided (one seed)" and direction(at(-2, -1, seeds=1)) == "better"
    assert verdict(at(-2, -1, images=1)) == "undecided (one image)"


def test_compare_pairs_by_image_and_seed_and_corrects_for_all_cells() -> None:
    rng = np.random.default_rng(5)
    plain = {name: 5 + rng.standard_normal((3, 8)) for name in ("cat", "temple")}
    change = {name: 0.1 * rng.standard_normal((3, 8)) - 2 * (name == "cat") for name in plain}
    table = quality(
        {("none", name): pi for name, pi in plain.items()}
        | {("paper", name): plain[name] + change[name] for name in plain}
    )
    found = compare(table.sample(frac=1, random_state=0), settings([0, 1, 2])).set_index("set")
    assert list(found["verdict"]) == ["better", "undecided"] and set(found["variant"]) == {"ESRGAN+Mask"}
    assert found.loc["cat", "difference"] == pytest.approx(change["cat"].mean())
    alone = effect(change["cat"], 1 - 0.05 / 2)
    assert (found.loc["cat", "low"], found.loc["cat", "high"]) == pytest.approx((alone.low, alone.high))


def test_an_image_without_the_measure_is_left_out_of_all_seeds_and_leaves_the_cell_open() -> None:
    plain, masked = np.full((2, 4), 5.0), np.full((2, 4), 4.0)
    masked[1, 2] = np.nan
    cells = {(mask, name): pi for mask, pi in (("none", plain), ("paper", masked)) for name in ("cat", "temple")}
    found = compare(quality(cells), settings([0, 1]))
    assert set(found["images"]) == {3} and set(found["without"]) == {1}
    assert set(found["verdict"]) == {"undecided (1 left out)"} and set(found["trainings"]) == {"better"}


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_a_cell_without_any_measure_has_its_row(nothing: float) -> None:
    cells = {(mask, name): np.full((2, 4), 5.0) for mask in ("none", "paper") for name in ("cat", "temple")}
    found = compare(quality(cells | {("paper", "cat"): np.full((2, 4), nothing)}), settings([0, 1]))
    assert list(found["verdict"]) == ["not measured", "undecided"] and list(found["without"]) == [4, 0]
    nowhere = compare(quality(cells).assign(pi=np.nan), settings([0, 1]))
    assert nowhere["difference"].isna().all() and len(results.effects_table(nowhere)) == 2
    intervals.effects(nowhere)


def test_a_missing_training_is_named() -> None:
    cells = {(mask, name): np.ones((1, 4)) for mask in ("none", "paper") for name in ("cat", "temple")}
    with pytest.raises(MasksrError, match="not seed 1 of esrgan with mask none on cat"):
        compare(quality(cells), settings([0, 1]))


def test_without_a_plain_model_there_is_nothing_to_compare() -> None:
    cells = {("paper", name): np.ones((2, 4)) for name in ("cat", "temple")}
    assert compare(quality(cells), settings([0, 1], masks=("paper",))).empty


def test_power_is_that_of_simulated_trainings() -> None:
    rng = np.random.default_rng(6)
    means = 0.5 + rng.standard_normal((4000, 6)) * 0.5
    found = stats.ttest_1samp(means, 0, axis=1).pvalue < 0.05
    assert power_of(0.5, 0.5 / np.sqrt(6), 5) == pytest.approx(found.mean(), abs=0.03)


def test_seeds_needed() -> None:
    found = Effect(0.0, -1, 1, -1, 1, 0.1, 0.1, 0.0, 0.0, seeds=3, images=100)
    needed = seeds_needed(found, 0.1, sd_seeds=0.1)
    assert power_of(0.1, 0.1 / np.sqrt(needed), needed - 1) >= 0.8
    assert power_of(0.1, 0.1 / np.sqrt(needed - 1), needed - 2) < 0.8
    assert seeds_needed(found, 0.1, sd_seeds=0.1, level=0.99) > needed
    few_images = Effect(0.0, -1, 1, -1, 1, 0.1, 0.1, 1.0, 0.0, seeds=3, images=10)
    assert seeds_needed(few_images, 0.1, sd_seeds=0.1) is None
    assert seeds_needed(Effect(0.0, -1, 1, -1, 1, 0.1, 0.1, 0.0, 0.0, 3, images=1), 0.1, sd_seeds=0.1) is None
    with pytest.raises(ValueError, match="difference of zero"):
        seeds_needed(found, 0.0, sd_seeds=0.1)


def test_the_number_of_seeds_decides_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the very test that gives the verdicts, for as many cells as there are."""
    monkeypatch.setattr(evidence, "RESAMPLES", 2)
    level, rng = evidence.together(0.95, 12), np.random.default_rng(7)
    known = Effect(0.0, -1, 1, -1, 1, 0.1, 0.1, 0.05, 0.1, seeds=3, images=30)
    needed = seeds_needed(known, 0.2, sd_seeds=0.1, level=level)
    found = [effect(0.2 + crossed(rng, needed, 30, (0.1, 0.05, 0.1)), level) for _ in range(300)]
    assert np.mean([direction(e, lower_is_better=False) == "better" for e in found]) == pytest.approx(0.8, abs=0.12)


def test_the_upper_bound_of_the_seeds_spread_is_one() -> None:
    rng = np.random.default_rng(8)
    found = [effect(crossed(rng, 3, 20, (0.5, 0.3, 0.3))) for _ in range(400)]
    assert np.mean([e.sd_seeds_high >= 0.5 for e in found]) == pytest.approx(0.8, abs=0.06)
    assert all(e.sd_seeds_high >= e.sd_seeds for e in found)


@pytest.mark.parametrize("degrees", [1, 4, 19])
def test_power_rises_with_the_difference_however_large(degrees: int) -> None:
    found = [power_of(size, 1.0, degrees, 0.993) for size in np.geomspace(0.1, 1e5, 60)]
    assert np.diff(found).min() >= -1e-12 and found[-1] > 0.99
