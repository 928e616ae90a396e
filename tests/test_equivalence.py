"""Members of a class are members to the last byte; what a network learns where the classes are known is their mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from notebook_cells import run_cells

from masksr.data.bicubic import imresize
from masksr.fetch.find import build_pack
from masksr.results import equivalence
from masksr.results.equivalence import equivalence_class, project

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def pixels(low=0, high=255):
    return SIDES.flatmap(lambda s: arrays(np.uint8, (4 * s[0], 4 * s[1], 3), elements=st.integers(low, high)))


@given(pixels(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_whatever_is_called_found_shrinks_to_the_patch_in_every_byte(hr, seed):
    lr = imresize(hr, 1 / 4)
    rng = np.random.default_rng(seed)
    candidates = np.stack([hr, rng.integers(0, 256, hr.shape), rng.normal(128, 300, hr.shape)])
    members, found = project(lr, candidates, steps=50)
    for member, is_member in zip(members, found, strict=True):
        assert np.array_equal(imresize(member, 1 / 4), lr) == is_member
    assert found[0] and np.array_equal(members[0], hr), "what is a member already stays as it is"


@given(pixels(64, 192), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_texture_finds_its_place_where_there_is_room(hr, seed):
    textures = np.random.default_rng(seed).integers(0, 256, (3, *hr.shape))
    assert project(imresize(hr, 1 / 4), textures)[1].all()


def test_the_change_is_the_smallest_and_the_detail_stays():
    rng = np.random.default_rng(0)
    candidate, lr = rng.integers(90, 166, (32, 32, 3)), np.full((8, 8, 3), 130, np.uint8)
    members, found = project(lr, candidate[None])
    change = np.moveaxis(members[0] - candidate.astype(float), 2, 0)
    shrinking = equivalence.shrinking(32)
    seen = np.linalg.pinv(shrinking) @ shrinking
    lost = change - seen @ change @ seen  # the smallest change has nothing in the null space, but for the rounding
    assert found.all() and np.sqrt(np.square(lost).mean()) < 0.6 < 4 < np.sqrt(np.square(change).mean())


@pytest.fixture(scope="module")
def cells():
    """The notebook's functions."""
    threads = torch.get_num_threads()
    yield run_cells("30_argument", "30_argument-01", "places", "neighbours", "train", "expected-errors")
    torch.set_num_threads(threads)


def test_smooth_and_textured_places_differ_in_what_is_probable(tmp_path, cells):
    pack = build_pack("rocket", tmp_path / "rocket")
    smooth, textured = cells["by_detail"](pack, [0.1, 0.9])
    missed = [np.square(place.hr - imresize(place.lr, 4).astype(float)).mean() for place in (smooth, textured)]
    assert 4 * missed[0] < missed[1] and not smooth.overlaps(textured)
    cells["places"] = cells["draw_places"]([pack])
    cells["pool"] = cells["without_mean"]([place.lr_of_photograph for place in cells["places"]])
    cells["contrast"] = np.linalg.norm(cells["pool"], axis=1).clip(min=1e-3)
    spreads = []
    for place in (smooth, textured):
        found = cells["probable"](place, 9)
        assert all(np.array_equal(imresize(member, 1 / 4), place.lr) for member in found.members)
        assert found.names[0] == "the photograph" and np.array_equal(found.members[0], place.hr)
        spreads.append(np.sqrt(found.variance.mean()))
    assert 4 * spreads[0] < spreads[1]


def world(classes=4, members=5, side=4):
    """Classes of growing variance, each of exactly one LR patch."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(classes):
        lr = rng.integers(80, 176, (side, side, 3), dtype=np.uint8)
        textures = rng.normal(0, 4 + 12 * number, (members, 4 * side, 4 * side, 3)) + 128
        made.append(equivalence_class(lr, {str(i): texture for i, texture in enumerate(textures)}))
    return made


def test_training_ends_at_the_class_mean_and_with_l1_at_the_median(cells):
    answers, _ = cells["train"](world(), "mse", steps=600)
    errors = cells["expected_errors"](world(), answers)
    assert np.allclose(errors["error"], errors["variance"] + errors["to_mean"], rtol=1e-12, atol=0)
    course = errors.groupby("step").mean()
    assert (np.diff(course["to_mean"]) < 0).all(), "nearer to the class mean at every look"
    assert course["variance"].iloc[-1] < course["error"].iloc[-1] < 1.05 * course["variance"].iloc[-1]
    assert errors[errors["step"] == 600]["error"].is_monotonic_increasing, "the error of a class tells its variance"
    l1 = cells["expected_errors"](world(), cells["train"](world(), "l1", steps=600)[0]).groupby("step").mean().iloc[-1]
    last = course.iloc[-1]
    assert l1["to_median"] < l1["to_mean"] and last["to_mean"] < last["to_median"]
