"""The bands of figure 5: the intervals of the evidence, for every set and for the mean of the sets."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from masksr import params
from masksr.results import evidence, sweep

ROOT = Path(__file__).parents[1]


def differences(sizes, seeds=3, pairs=2, shift=0.0):
    rng = np.random.default_rng(0)
    columns = pd.MultiIndex.from_tuples(
        [(name, str(i)) for name, size in sizes.items() for i in range(size)], names=["set", "image"]
    )
    return {
        (float(k), 0.5): pd.DataFrame(rng.normal(shift, 1, (seeds, len(columns))), range(seeds), columns)
        for k in range(pairs)
    }


def test_a_row_for_every_pair_and_set_as_the_evidence_has_it():
    given = differences({"a": 6, "b": 6})
    table = sweep.intervals(given)
    assert len(table) == 2 * 3 and list(table["set"]) == ["a", "b", "mean"] * 2
    row = table.query("k == 1 and set == 'b'").iloc[0]
    alone = evidence.effect(given[1.0, 0.5]["b"].to_numpy())
    assert (row["difference"], row["low"], row["high"]) == (alone.mean, alone.low, alone.high)
    together = evidence.effect(given[1.0, 0.5]["b"].to_numpy(), evidence.together(evidence.LEVEL, 2))
    assert (row["together_low"], row["together_high"]) == (together.low, together.high)
    assert row["together_low"] < row["low"] and row["verdict"] == evidence.verdict(together)


def test_sets_of_one_size_are_all_images_and_a_single_set_has_no_mean():
    given = differences({"a": 6, "b": 6})
    mean = sweep.intervals(given).query("k == 0 and set == 'mean'").iloc[0]
    whole = evidence.effect(given[0.0, 0.5].to_numpy())
    assert (mean["low"], mean["high"]) == pytest.approx((whole.low, whole.high))
    assert list(sweep.intervals(differences({"a": 4}))["set"]) == ["a", "a"]


def test_the_mean_is_over_sets_and_its_interval_holds_the_truth():
    """Sets of unequal size and mean: the mean of their means, covered at least as often as the level says."""
    rng, hit, truth = np.random.default_rng(1), 0, (0.0 + 2.0) / 2
    columns = pd.MultiIndex.from_tuples([("a", str(i)) for i in range(4)] + [("b", str(i)) for i in range(12)])
    for _ in range(60):
        table = pd.DataFrame(rng.normal(0, 1, (1, 16)), [0], columns.set_names(["set", "image"]))
        table["b"] = table["b"] + 2.0
        row = sweep.intervals({(1.0, 0.5): table}).iloc[-1]
        assert row["difference"] == pytest.approx((table["a"].to_numpy().mean() + table["b"].to_numpy().mean()) / 2)
        hit += row["low"] < truth < row["high"]
    assert hit >= 53  # 57 expected at 95 %; 53 is two standard deviations below


def test_a_set_without_any_measurement_leaves_no_mean():
    given = differences({"a": 4, "b": 4}, pairs=1)
    given[0.0, 0.5]["b"] = np.nan
    table = sweep.intervals(given).set_index("set")
    assert np.isfinite(table.loc["a", "low"]) and table.loc["b", "images"] == 0
    assert np.isnan(table.loc["mean", "difference"]) and table.loc["mean", "verdict"] == "not measured"


@pytest.mark.parametrize(("seeds", "ks", "says"), [
    ([0], [0.2], "the images alone, one seed saying nothing of another"),
    ([0], [0.2, 2.0], "with one seed none of them is decided"),
    ([0, 1], [0.2, 2.0], "2 seeds and the images"),
])  # fmt: skip
def test_the_text_below_says_what_the_bands_are_over(seeds, ks, says):
    mini = params.load(ROOT / "profiles/mini.yaml")
    text = sweep.note(mini.model_copy(update={"sweep": mini.sweep.model_copy(update={"seeds": seeds, "k": ks})})).data
    assert says in text and text.startswith("*") and text.endswith("*") and "ESRGAN without a mask" in text
    assert ("Last: that difference" in text) == (len(ks) > 1)
