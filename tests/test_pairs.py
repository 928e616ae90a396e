"""Which HR picture is meant by the name of an SR picture, and in what size both are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masksr.errors import MasksrError
from masksr.tools.pairs import cut_alike, pair, plain_name


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    "name",
    ["baby", "baby_x4", "babyx4", "baby-4x", "babySR", "baby_SR", "baby_HR", "baby_SRF_4_HR", "baby_SRF_4_SR",
     "BABY_X4_sr", "baby_x4_out", "baby_GT"],
)  # fmt: skip
def test_endings_that_tell_sr_from_hr_are_no_part_of_the_name(name):
    assert plain_name(name, 4) == "baby"


@pytest.mark.parametrize("name", ["scout", "baby_x2", "sr", "x4", "img_001", "4", "usr", "ship-at-sea"])
def test_other_names_stay_as_they_are(name):
    assert plain_name(name, 4) == name


@given(st.text("abx4_-SRHGTout.", min_size=1, max_size=12), st.sampled_from([2, 3, 4]))
def test_a_plain_name_is_never_empty_and_is_its_own_plain_name(name, scale):
    plain = plain_name(name, scale)
    assert plain and plain_name(plain, scale) == plain


def test_the_same_name_goes_before_a_like_name():
    hr = paths("hr/cat.png", "hr/cat_sr.png", "hr/dog_HR.jpg")
    found = pair(paths("out/cat_sr.png", "out/cat.jpg", "out/dog_x4.png"), hr, 4)
    assert [found[path].name for path in found] == ["cat_sr.png", "cat.png", "dog_HR.jpg"]


def test_two_models_may_share_an_hr_picture():
    assert len(pair(paths("a/cat.png", "b/cat_x4.png"), paths("hr/cat.png", "hr/dog.png"), 4)) == 2


def test_one_picture_and_one_hr_picture_belong_together():
    assert pair(paths("result.png"), paths("photo.jpg"), 4) == {Path("result.png"): Path("photo.jpg")}


@pytest.mark.parametrize(
    ("pictures", "hr", "says"),
    [
        (["o/cat.png", "o/cow.png"], ["h/cat.png"], r"o/cow\.png: no HR picture of that name \(there are 1: cat\.png"),
        (["o/cat_x4.png"], ["h/cat.png", "h/CAT.jpg"], r"cat_x4\.png \(cat\.png, CAT\.jpg\): more than one HR picture"),
        (["o/cat.png"], ["h/cat.png", "h/cat.bmp"], "more than one HR picture"),
        (["o/cat.png", "o/cat_x4.png"], ["h/cat.png"], r"o/cat\.png and o/cat_x4\.png would both be held against"),
        ([f"o/{n}.png" for n in range(8)], ["h/cat.png"], "and 3 more: no HR picture"),
    ],
)
def test_names_that_are_not_a_pair_are_one_error(pictures, hr, says):
    with pytest.raises(MasksrError, match=says):
        pair(paths(*pictures), paths(*hr), 4)


def picture(height: int, width: int) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)


def test_hr_is_cut_as_the_test_sets_are_and_sr_of_the_whole_size_likewise():
    hr = picture(23, 30)
    for sr in (picture(20, 28), picture(23, 30)):
        image, reference = cut_alike(sr, hr, 4)
        np.testing.assert_array_equal(reference, hr[:20, :28])
        np.testing.assert_array_equal(image, sr[:20, :28])


def test_any_other_size_is_refused():
    with pytest.raises(MasksrError, match="has 27 x 20 pixels and not 28 x 20, its HR picture cut to multiples of 4"):
        cut_alike(picture(20, 27), picture(23, 30), 4)
    with pytest.raises(MasksrError, match="this is the size of the LR picture"):
        cut_alike(picture(5, 7), picture(23, 30), 4)
    with pytest.raises(MasksrError, match="only 30 x 3 pixels"):
        cut_alike(picture(3, 30), picture(3, 30), 4)
