"""The stand-ins: reproducible, in the right order, and suspicious of what a failing GAN paints."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from skimage import data
from sklearn.datasets import load_sample_image

from masksr.data.bicubic import imresize
from masksr.data.images import read_image
from masksr.quality import score
from masksr.quality.degradations import BICUBIC, degraded, gradient_fidelity
from masksr.quality.forest import from_sklearn
from masksr.quality.luma import luma_plane
from masksr.quality.matfiles import write_ma, write_niqe
from masksr.quality.standin import PHOTOGRAPHS, _planes, fit_ma, fit_niqe
from masksr.quality.weights import QualityWeights

DATA = os.environ.get("MASKSR_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="MASKSR_DATA names no folder with BSD100")

TRAINING = [
    ("astronaut", data.astronaut()),
    ("coffee", data.coffee()),
    ("flower", load_sample_image("flower.jpg")),
    ("hubble", data.hubble_deep_field()[:500, :500]),
]


@pytest.fixture(scope="module")
def fitted():
    """As in the pipeline but for fewer crops: a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("masksr.quality.standin_samples.CROPS", 48)
        ma, fit = fit_ma(TRAINING, workers=2)
    niqe, _ = fit_niqe(TRAINING)
    return QualityWeights(niqe, ma, "stand-in", "stand-in", "", ""), fit


def bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    return imresize(imresize(image, 1 / scale), scale)


def garbage(image: np.ndarray) -> list[np.ndarray]:
    """What a generator gives whose training has failed: noise, a grid, on top of something smooth."""
    smooth, rng = bicubic(image, 4).astype(float), np.random.default_rng(0)
    rows, columns = np.indices(image.shape[:2])
    noise = rng.normal(size=image.shape[:2]) * 15
    stripes = 20.0 * (rows // 2 % 2)
    grid = 20.0 * (rows % 4 == 1) * (columns % 4 == 2) + noise / 15
    return [(smooth + n[..., None]).clip(0, 255).astype(np.uint8) for n in (noise, stripes + noise / 5, grid)]


def check_orders(images: list[np.ndarray], weights: QualityWeights, at_least: float) -> None:
    ladders = [
        [score(image, weights=weights), *(score(bicubic(image, n), weights=weights) for n in (2, 4))]
        for image in images
    ]
    for better, worse in ((0, 1), (1, 2), (0, 2)):
        assert np.mean([ladder[better].ma > ladder[worse].ma for ladder in ladders]) >= at_least
        assert np.mean([ladder[better].pi < ladder[worse].pi for ladder in ladders]) >= at_least
    hopeless = [score(bad, weights=weights) for bad in garbage(images[0])]
    assert all(bad.pi > ladders[0][0].pi + 1 for bad in hopeless)


def test_held_out_photographs_are_put_in_order(fitted):
    cat, temple = data.chelsea(), load_sample_image("china.jpg")
    images = [cat[:300, :216], cat[:300, 224:440], temple[124:424, :216], data.rocket()[216:420, :300]]
    check_orders([np.ascontiguousarray(image) for image in images], fitted[0], 0.75)


@needs_data
def test_bsd100_is_put_in_order(fitted):
    files = sorted((Path(DATA) / "test/BSD100/HR").glob("*.png"))[::12]
    images = [np.ascontiguousarray(read_image(file)[40:256, 40:280]) for file in files]
    check_orders(images, fitted[0], 0.75)


def test_the_fit_says_how_good_it_is_on_photographs_it_has_not_seen(fitted):
    held_out = fitted[1]["held_out"]
    assert held_out["HR > x4"] > 0.85
    assert held_out["x2 > x4"] > 0.85
    assert held_out["HR > artefacts on x4"] > 0.85
    assert fitted[1]["photographs"] == ["astronaut", "coffee", "flower", "hubble"]


def test_fits_are_reproducible_to_the_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("masksr.quality.standin_samples.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)
    for run, workers in (("one", 1), ("two", 2), ("other", 1)):
        ma, _ = fit_ma(TRAINING[:2], seed=int(run == "other"), workers=workers)
        write_ma(tmp_path / f"ma-{run}", ma)
    assert (tmp_path / "ma-one").read_bytes() == (tmp_path / "ma-two").read_bytes()
    assert (tmp_path / "ma-one").read_bytes() != (tmp_path / "ma-other").read_bytes()
    for run in ("one", "two"):
        write_niqe(tmp_path / f"niqe-{run}", fit_niqe(TRAINING[:2])[0])
    assert (tmp_path / "niqe-one").read_bytes() == (tmp_path / "niqe-two").read_bytes()


def test_of_many_photographs_some_are_taken():
    many = [(f"p{i:03}", np.full((216, 216, 3), 100, np.uint8)) for i in range(399)]
    taken = list(_planes(many))
    assert len(taken) == PHOTOGRAPHS
    assert (taken[0], taken[-1]) == ("p000", "p380")


def test_a_niqe_fit_wants_structure():
    with pytest.raises(RuntimeError, match="structure"):
        fit_niqe([("grey", np.full((300, 300, 3), 100, np.uint8))])


# ---- Its parts -------------------------------------------------------------------------------------------------------


def test_the_score_falls_with_every_step_of_damage():
    plane = luma_plane(data.coffee(), 0).astype(np.uint8)[100:316, 200:416]
    spoilt = degraded(plane, np.random.default_rng(0))
    assert gradient_fidelity(plane, plane) == 10
    ladders = [
        ["half x2", "x2", "x3", "x4", "blurred x4"],
        ["x4 with 0.75 of the plane", "x4 with 0.5 of the plane", "x4 with 0.25 of the plane", "x4"],
        ["blur 0.6", "blur 0.9", "blur 1.5", "blur 2.5"],
        ["x4", "noise 10 on x4", "noise 20 on x4"],
        ["x4", "checkerboard 10 of 2 on x4", "checkerboard 20 of 2 on x4"],
    ]
    for ladder in ladders:
        scores = [gradient_fidelity(spoilt[name], plane) for name in ladder]
        assert scores == sorted(scores, reverse=True)
    assert all(0 < gradient_fidelity(bad, plane) < 10 for bad in spoilt.values())
    assert all(bad.shape == plane.shape and bad.dtype == np.uint8 for bad in spoilt.values())
    for scale, name in zip((2, 3, 4), BICUBIC, strict=True):
        np.testing.assert_array_equal(spoilt[name], bicubic(plane, scale))


def test_trees_keep_their_answers_in_the_other_layout():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32).astype(np.float64)
    regressor = RandomForestRegressor(12, random_state=0).fit(x, x[:, 0] + x[:, 1] ** 2)
    forest = from_sklearn(regressor)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-12)


def test_thresholds_keep_off_the_grid_of_shapes():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    x = rng.integers(200, 1500, (200, 3)) / 1000
    regressor = RandomForestRegressor(10, random_state=0, bootstrap=False).fit(x, x.sum(axis=1))
    forest = from_sklearn(regressor, gridded=3)
    inner = forest.left > 0
    np.testing.assert_allclose(forest.threshold[inner] * 1000 % 1, 0.5, atol=1e-6)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-6)
