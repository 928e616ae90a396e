"""The rules by which figure 4's details are chosen, against brute force and by what chance must do."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masksr.errors import MasksrError
from masksr.params import Crop, Figure4
from masksr.plots import places

RNG = np.random.default_rng(0)


class Images(list):
    """As much of a pack as the rules look at."""

    def hr(self, number):
        return self[number]


PACKS = {
    "a": Images(np.zeros(shape, np.uint8) for shape in [(40, 60, 3), (24, 24, 3)]),
    "b": Images([np.zeros((32, 48, 3), np.uint8), np.zeros((16, 64, 3), np.uint8)]),
}


def rules(**changes):
    return Figure4.model_validate(
        {"size": 24, "largest_difference": 1, "search": None, "random": 2, "seed": 0, "crops": []} | changes
    )


@given(st.integers(24, 45), st.integers(24, 45), st.sampled_from([16, 20, 24]), st.integers(0, 2**31))
def test_the_largest_window_is_that_of_a_search(height, width, size, seed):
    values = np.random.default_rng(seed).random((height, width))
    mean, top, left = places.largest_window(values, size)
    means = {
        (y, x): values[y : y + size, x : x + size].mean()
        for y in range(0, height - size + 1, 4)
        for x in range(0, width - size + 1, 4)
    }
    assert mean == pytest.approx(max(means.values())) and means[top, left] == pytest.approx(mean)


def test_the_largest_difference_is_found_where_it_is_and_once_in_an_image():
    maps = {name: [np.zeros(image.shape[:2]) for image in images] for name, images in PACKS.items()}
    maps["a"][0][8:32, 20:44] = 2.0
    maps["b"][0][4:28, 12:36] = 3.0
    maps["b"][1][:] = 9.0  # 16 rows: too small for a square of 24
    found = places.of_largest_difference(PACKS, lambda pack, image: maps["ab"[pack is PACKS["b"]]][image], 24, 2)
    assert [place[:5] for place in found] == [("b", 0, 4, 12, 24), ("a", 0, 8, 20, 24)]
    assert {place.how for place in found} == {"largest difference"}


def test_only_the_first_images_of_each_set_are_searched():
    asked = []

    def difference(pack, image):
        asked.append(("ab"[pack is PACKS["b"]], image))
        return np.zeros(pack.hr(image).shape[:2])

    places.of_largest_difference(PACKS, difference, 16, 1, search=1)
    assert asked == [("a", 0), ("b", 0)]


def test_nothing_is_computed_where_no_difference_is_asked_for():
    found = places.chosen(rules(largest_difference=0), PACKS, lambda *_: pytest.fail("needless work"))
    assert [place.how for place in found] == ["random, seed 0"] * 2


def test_chance_is_fixed_by_its_seed_and_takes_every_image_and_place_alike():
    assert places.at_random(PACKS, 16, 3, 5) == places.at_random(PACKS, 16, 3, 5)
    drawn = [places.at_random(PACKS, 16, 1, seed)[0] for seed in range(2000)]
    images = Counter((place.set, place.image) for place in drawn)
    assert len(images) == 4 and all(abs(count - 500) < 100 for count in images.values())  # five standard deviations
    tops = Counter(place.top for place in drawn if (place.set, place.image) == ("a", 0))
    assert set(tops) == {0, 4, 8, 12, 16, 20, 24}
    for place in drawn:
        height, width = PACKS[place.set][place.image].shape[:2]
        assert place.top % 4 == place.left % 4 == 0
        assert place.top + 16 <= height and place.left + 16 <= width
    several = places.at_random(PACKS, 16, 4, 0)
    assert len({(place.set, place.image) for place in several}) == 4, "of different images"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"random": 4}, r"figure4\.random: asks for 4 images of at least 24 x 24 pixels, and the test sets have 3"),
        ({"size": 400}, r"figure4\.largest_difference: .* lower it, or figure4\.size"),
        ({"crops": [{"set": "a", "image": 2, "top": 0, "left": 0, "size": 16}]}, "a has 2 images, so image 2"),
        ({"crops": [{"set": "a", "image": 0, "top": 28, "left": 0, "size": 16}]}, r"\(28, 0, 16\) leaves image 0 of a"),
    ],
)
def test_what_the_test_sets_do_not_have(changes, message):
    with pytest.raises(MasksrError, match=message):
        places.chosen(rules(**changes), PACKS, lambda pack, image: np.zeros(pack.hr(image).shape[:2]))


def test_the_order_of_the_rows():
    crop = Crop(set="b", image=1, top=0, left=4, size=16)
    found = places.chosen(rules(crops=[crop]), PACKS, lambda pack, image: np.ones(pack.hr(image).shape[:2]))
    assert [place.how for place in found] == [
        "largest difference",
        "random, seed 0",
        "random, seed 0",
        "chosen by hand",
    ]
    assert found[-1][:5] == ("b", 1, 0, 4, 16)
