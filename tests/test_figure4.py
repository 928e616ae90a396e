"""The crops of Figure 4: the rules against brute force and chance, the rows from random generators."""

from collections import Counter
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebook_cells import run_cells
from small_trainings import random_project
from test_patches import MapPack

from masksr import params
from masksr.data.images import to_image, to_tensor
from masksr.data.packs import Pack
from masksr.io import MasksrError
from masksr.models.build import load_generator
from masksr.params import Figure4
from masksr.report.page import read_crops

PACKS = {"a": MapPack((10, 15), (6, 6)), "b": MapPack((8, 12), (4, 16))}  # sides in LR pixels
RULES = run_cells("22_figure4", "22_figure4-01", "window", "choose")
BY_HAND = {"set": "b", "image": 1, "top": 0, "left": 4, "size": 16}


def choose(difference=lambda pack, image: np.zeros(pack.hr(image).shape[:2]), **changes):
    rule = {"size": 24, "largest_difference": 0, "search": None, "random": 0, "seed": 0, "crops": []}
    chosen = RULES["choose_crops"](Figure4.model_validate(rule | changes), PACKS, difference)
    return [(*crop.model_dump().values(), how) for crop, how in chosen]


@given(st.integers(24, 45), st.integers(24, 45), st.sampled_from([16, 20, 24]), st.integers(0, 2**31))
def test_the_largest_window_is_that_of_a_search(height, width, size, seed):
    values = np.random.default_rng(seed).random((height, width))
    mean, top, left = RULES["largest_window"](values, size)
    corners = product(range(0, height - size + 1, 4), range(0, width - size + 1, 4))
    means = {(y, x): values[y : y + size, x : x + size].mean() for y, x in corners}
    assert mean == pytest.approx(max(means.values())) and means[top, left] == pytest.approx(mean)


def test_the_largest_difference_is_found_where_it_is_and_once_in_an_image():
    maps = {name: [np.zeros(pack.hr(image).shape[:2]) for image in (0, 1)] for name, pack in PACKS.items()}
    maps["a"][0][8:32, 20:44] = 2.0
    maps["b"][0][4:28, 12:36] = 3.0
    maps["b"][1][:] = 9.0  # 16 rows: too small for a square of 24
    found = choose(lambda pack, image: maps["ab"[pack is PACKS["b"]]][image], largest_difference=2, search=1)
    assert [place[:5] for place in found] == [("b", 0, 4, 12, 24), ("a", 0, 8, 20, 24)]


def test_chance_is_fixed_by_its_seed_and_takes_every_image_and_place_alike():
    drawn = [choose(size=16, random=1, seed=seed)[0] for seed in range(2000)]
    images = Counter(place[:2] for place in drawn)
    assert len(images) == 4 and all(abs(count - 500) < 100 for count in images.values())  # five deviations
    assert {place[2] for place in drawn if place[:2] == ("a", 0)} == {0, 4, 8, 12, 16, 20, 24}
    found = choose(size=16, random=4, largest_difference=1, crops=[BY_HAND])
    assert found == choose(size=16, random=4, largest_difference=1, crops=[BY_HAND])
    hows = ["largest difference", *["random, seed 0"] * 4, "chosen by hand"]
    assert [place[5] for place in found] == hows and found[-1][:5] == ("b", 1, 0, 4, 16)
    assert len({place[:2] for place in found[1:5]}) == 4, "of different images"


@pytest.mark.parametrize(("changes", "message"), [
    ({"random": 4}, r"figure4\.random: asks for 4 images of at least 24 x 24 pixels.* have 3"),
    ({"largest_difference": 1, "size": 400}, r"figure4\.largest_difference: .* lower it"),
    ({"crops": [BY_HAND | {"left": 52}]}, r"\(0, 52, 16\) leaves image 1 .* 64 x 16"),
])
def test_what_the_test_sets_do_not_have(changes, message):
    with pytest.raises(MasksrError, match=message):
        choose(**changes)


@torch.inference_mode()
def test_every_row_has_every_variant_at_one_place_and_the_masks_of_equation_8(tmp_path, monkeypatch):
    crop = {"set": "cat", "image": 1, "top": 40, "left": 60, "size": 96}
    figure4 = {"size": 64, "largest_difference": 1, "random": 1, "crops": [crop]}
    table1, data, root = {"models": ["esrgan", "edsr"]}, {"test": ["cat"]}, tmp_path / "a project"
    settings, paths = random_project(root, figure4=figure4, table1=table1, data=data)
    monkeypatch.chdir(root)
    monkeypatch.setattr(params, "load", lambda: settings)
    names = run_cells("22_figure4")
    plt.close("all")
    rows, titles = names["rows"], names["titles"]
    assert titles == ["LR", "ESRGAN", "ESRGAN+Mask", "EDSR", "EDSR+Mask", "HR"]
    by_hand, pack = rows[-1], Pack(paths.set("cat"))
    assert by_hand.box == (40, 60, 96) and by_hand.name == f"cat: {pack.names[1]}"
    np.testing.assert_array_equal(by_hand.images[-1], pack.hr(1)[40:136, 60:156])
    np.testing.assert_array_equal(by_hand.images[0], pack.lr(1, 4)[10:34, 15:39])
    mask = settings.masks["paper"]
    for column, model, name, top in [(1, "esrgan", "none", 1), (4, "edsr", "paper", 255)]:
        generator = load_generator(paths.variant(model, name, 0) / "generator.safetensors").eval()
        upscaled = to_image(generator(to_tensor(pack.lr(1, 4), top))[0], top)
        np.testing.assert_array_equal(by_hand.images[column], upscaled[40:136, 60:156])
        both = upscaled, pack.hr(1)
        sr, hr = (image.astype(float) * top / 255 for image in both)  # in the network's range
        expected = np.clip(mask.k * np.square(sr - hr).mean(axis=2) + mask.b, 0, 1)[40:136, 60:156]
        np.testing.assert_allclose(by_hand.masks[titles[column]], expected, atol=1e-4)
    assert read_crops(root / "none") == []
    assert [[title for title, _ in row] for row in read_crops(paths.runs / "figure4")] == [titles] * 3
    written = {path.name for path in paths.results.iterdir()}
    assert written == {f"figure4{which}.{kind}" for which in ("", "_maps") for kind in ("png", "svg")}
