"""The stand-ins: reproducible, in the right order, and suspicious of what a failing GAN paints."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data
from sklearn.datasets import load_sample_image
from sklearn.ensemble import RandomForestRegressor

from masksr.data.bicubic import imresize
from masksr.quality.index import score
from masksr.quality.standin import fit_ma, fit_niqe, from_sklearn
from masksr.quality.weights import QualityWeights, write_ma, write_niqe

TRAINING = [
    ("astronaut", data.astronaut()), ("coffee", data.coffee()), ("flower", load_sample_image("flower.jpg")),
    ("hubble", data.hubble_deep_field()[:500, :500]),
]


def bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    return imresize(imresize(image, 1 / scale), scale)


def garbage(image: np.ndarray) -> list[np.ndarray]:
    """What a generator gives whose training has failed: noise, stripes, a grid on something smooth."""
    smooth, rng = bicubic(image, 4).astype(float), np.random.default_rng(0)
    rows, columns = np.indices(image.shape[:2])
    noise = rng.normal(size=image.shape[:2]) * 15
    lines, dots = 20.0 * (rows // 2 % 2), 20.0 * (rows % 4 == 1) * (columns % 4 == 2)
    bad = (noise, lines + noise / 5, dots + noise / 15)
    return [(smooth + added[..., None]).clip(0, 255).astype(np.uint8) for added in bad]


def test_held_out_photographs_are_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """HR > x2 > x4 for three of four images, and what a failed GAN paints is far behind."""
    monkeypatch.setattr("masksr.quality.standin.CROPS", 24)  # a sixth of the pipeline's
    monkeypatch.setattr("masksr.quality.standin.TREES", 100)
    niqe, ma = fit_niqe(TRAINING)[0], fit_ma(TRAINING, workers=2)[0]
    weights = QualityWeights(niqe, ma, "stand-in", "stand-in")
    cat, temple = data.chelsea(), load_sample_image("china.jpg")
    images = [cat[:300, :216], cat[:300, 224:440], temple[124:424, :216], data.rocket()[216:420, :300]]
    images = [np.ascontiguousarray(image) for image in images]
    ladders = [[score(x, weights=weights) for x in (hr, bicubic(hr, 2), bicubic(hr, 4))] for hr in images]
    for better, worse in ((0, 1), (1, 2), (0, 2)):
        assert np.mean([ladder[better].ma > ladder[worse].ma for ladder in ladders]) >= 0.75
        assert np.mean([ladder[better].pi < ladder[worse].pi for ladder in ladders]) >= 0.75
    assert all(score(bad, weights=weights).pi > ladders[0][0].pi + 1 for bad in garbage(images[0]))


def test_fits_are_reproducible_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masksr.quality.standin.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)
    for workers in (1, 2):
        ma, fit = fit_ma(TRAINING[:2], workers)
        write_ma(tmp_path / f"ma{workers}", ma)
        write_niqe(tmp_path / f"niqe{workers}", fit_niqe(TRAINING[:1])[0])
    assert fit["photographs"] == ["astronaut", "coffee"]
    for half in ("ma", "niqe"):
        assert (tmp_path / f"{half}1").read_bytes() == (tmp_path / f"{half}2").read_bytes()


def test_photographs_must_have_some_size_and_structure() -> None:
    flat = np.full((216, 216, 3), 100, np.uint8)
    cases = ([("a", flat)], "structure"), ([("a", flat[:200])], "216"), ([], "photographs")
    for photographs, says in cases:
        with pytest.raises(RuntimeError, match=says):
            fit_niqe(photographs)


def test_trees_keep_their_answers_in_the_other_layout() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32).astype(np.float64)
    regressor = RandomForestRegressor(12, random_state=0).fit(x, x[:, 0] + x[:, 1] ** 2)
    forest = from_sklearn(regressor)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-12)
    # Thresholds keep off the grid of shapes.
    x = rng.integers(200, 1500, (200, 3)) / 1000
    regressor = RandomForestRegressor(10, random_state=0, bootstrap=False).fit(x, x.sum(axis=1))
    forest = from_sklearn(regressor, gridded=3)
    np.testing.assert_allclose(forest.threshold[forest.left > 0] * 1000 % 1, 0.5, atol=1e-6)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-6)
