"""Masks that differ in one setting are found, and held against each other, not against the plain model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_evidence import quality, settings

from masksr import params, project
from masksr.params import Mask, Params
from masksr.plots import intervals
from masksr.plots.style import marker
from masksr.results import controls
from masksr.results import outputs as results
from masksr.results.evidence import effect


def with_masks(**changes: dict) -> Params:
    """Entries that are masks.paper but for what ``changes`` says, all of them in Table 1."""
    plain = settings([0, 1, 2])
    paper = plain.masks["paper"].model_dump()
    more = {name: Mask(**paper | change) for name, change in changes.items()}
    table1 = plain.table1.model_copy(update={"masks": ["none", "paper", *more]})
    return plain.model_copy(update={"masks": plain.masks | more, "table1": table1})


def test_pairs_differ_in_one_setting_and_begin_with_an_error_mask():
    of = with_masks(
        flat={"kind": "constant"}, sr={"apply": "sr"}, far={"apply": "sr", "kind": "constant"}, same={}, k={"k": 1.0}
    )
    assert controls.one_change(of) == {
        ("paper", "flat"): "kind: constant",
        ("paper", "sr"): "apply: sr",
        ("paper", "k"): "k: 1.0",
        ("sr", "far"): "kind: constant",
        ("sr", "same"): "apply: both",
        ("same", "flat"): "kind: constant",
        ("same", "k"): "k: 1.0",
    }


def test_a_mask_is_held_against_its_control_of_the_same_seed_and_image():
    rng, of = np.random.default_rng(1), with_masks(flat={"kind": "constant"})
    pi = {(mask, name): rng.standard_normal((3, 6)) for mask in of.table1.masks for name in of.data.test}
    pi["paper", "cat"] = pi["flat", "cat"] - 5 + 0.01 * rng.standard_normal((3, 6))
    table = controls.compare(quality(pi), of)
    assert list(table["other is"]) == ["kind: constant"] * 2 and list(table["set"]) == ["cat", "temple"]
    cat = table.iloc[0]
    assert cat["variant"] == "ESRGAN+Mask − flat" and cat["verdict"] == "better"  # noqa: RUF001
    alone = effect(pi["paper", "cat"] - pi["flat", "cat"], 1 - 0.05 / 2)
    assert (cat["difference"], cat["low"]) == pytest.approx((alone.mean, alone.low))
    assert "other is" in results.effects_table(table) and intervals.effects(table).axes


def test_a_table_without_such_pairs_is_empty_and_says_so(tmp_path):
    of = settings([0])
    table = controls.compare(
        quality({(m, s): np.ones((1, 2)) for m in ("none", "paper") for s in ("cat", "temple")}), of
    )
    assert table.empty and "masks_cpu" in controls.note(table)
    table.to_csv(tmp_path / "controls.csv", index=False)
    assert list(pd.read_csv(tmp_path / "controls.csv").columns) == list(table.columns)


def test_the_profile_made_for_it_has_every_reading_and_control():
    pairs = controls.one_change(params.load("profiles/masks_cpu.yaml"))
    assert {change for (mask, _), change in pairs.items() if mask == "relative"} == {
        "apply: sr",
        "apply: gradient",
        "kind: constant",
        "kind: shuffled",
        "kind: expected",
    }
    assert pairs["paper", "relative"] == "error_range: relative"


def test_no_two_masks_of_the_profile_of_masks_are_drawn_alike():
    masks = params.load(project.root() / "profiles/masks_cpu.yaml").table1.masks
    drawn = [(style["marker"], style["fillstyle"]) for style in map(marker, masks)]
    assert len(set(drawn)) == len(masks)
