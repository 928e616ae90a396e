"""What NIQE and Ma are built of, against plain formulas and pyiqa: fits, windows, resizing, forests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiqa.archs import nrqm_arch
from pyiqa.matlab_utils import imresize as pyiqa_imresize
from scipy.ndimage import correlate
from scipy.special import gammaln
from skimage import data

from masksr.quality.forest import Forest
from masksr.quality.gamma import _shapes, aggd, ggd_shape, moments
from masksr.quality.gaussian import gaussian_mean, gaussian_window
from masksr.quality.resize import resize

sides = st.integers(60, 130)


def photograph(height: int, width: int, top: int = 90, left: int = 150) -> np.ndarray:
    """A piece of skimage's camera man as a luma plane."""
    return data.camera()[top : top + height, left : left + width].astype(np.float64)


def as_tensor(plane: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(plane)[None, None]


def test_the_grids_of_shapes_are_pyiqas():
    for first, ours in ((0.03, _shapes(0.03)), (0.2, _shapes(0.2))):
        theirs = torch.arange(first, 10 + 0.001, 0.001).double().numpy()
        np.testing.assert_allclose(ours, theirs, rtol=2e-7)  # equal to the last bit on x86, where torch counts by eight


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 4))
@settings(max_examples=30, deadline=None)
def test_shapes_are_the_nearest_of_the_table(seed, power):
    rng = np.random.default_rng(seed)
    samples = np.abs(rng.normal(size=(5, 60))) ** power * rng.choice([-1, 1], (5, 60))
    shape = _shapes(0.03)
    table = np.exp(gammaln(1 / shape) + gammaln(3 / shape) - 2 * gammaln(2 / shape))
    ratio = samples.var(axis=1, ddof=1) / (np.abs(samples - samples.mean(1, keepdims=True)).mean(1) ** 2 + 1e-7)
    np.testing.assert_array_equal(ggd_shape(samples), shape[np.abs(ratio[:, None] - table).argmin(axis=1)])


def test_shapes_of_known_densities():
    rng = np.random.default_rng(0)
    assert ggd_shape(rng.normal(size=400_000)) == pytest.approx(2, abs=0.03)
    assert ggd_shape(rng.laplace(size=400_000)) == pytest.approx(1, abs=0.02)
    # An asymmetric Gaussian has its mass on both sides in the ratio of their scales, here 1 : 2.
    wide = rng.random(400_000) < 2 / 3
    alpha, left, right = aggd(moments(np.where(wide, 2, -1) * np.abs(rng.normal(size=400_000))))
    assert alpha == pytest.approx(2, abs=0.05)
    assert left == pytest.approx(np.sqrt(2), abs=0.03)
    assert right == pytest.approx(2 * np.sqrt(2), abs=0.06)


def test_one_sided_samples_have_no_asymmetric_fit():
    alpha, left, right = aggd(moments(np.stack([np.linspace(1, 2, 50), np.linspace(-1, 1, 50)])))
    assert np.isnan(left).tolist() == [True, False]
    assert alpha[0] == pytest.approx(0.2)
    assert np.isfinite(right).all()


@given(st.integers(11, 60), st.integers(11, 60))
@settings(max_examples=20, deadline=None)
def test_gaussian_means_are_the_windows_means(height, width):
    plane = np.random.default_rng(height * width).normal(size=(height, width)) * 100
    direct = correlate(plane, gaussian_window(11, 1.5))[5:-5, 5:-5]
    np.testing.assert_allclose(gaussian_mean(plane), direct, atol=5e-6)


def test_gaussian_windows_carry_pyiqas_rounding():
    theirs = nrqm_arch.fspecial(11, 1.5)[0, 0].double().numpy()
    np.testing.assert_array_equal(gaussian_window(11, 1.5), theirs)


@given(sides, sides, sides, sides)
@settings(max_examples=20, deadline=None)
def test_resizing_is_pyiqas_up_to_one_unit_of_float32(height, width, new_height, new_width):
    plane = photograph(height, width)
    theirs = pyiqa_imresize(as_tensor(plane), sizes=(new_height, new_width))[0, 0].numpy()
    np.testing.assert_allclose(resize(plane, (new_height, new_width)), theirs, atol=1e-4)
    assert np.mean(resize(plane, (new_height, new_width)) == theirs) > 0.5


def test_resizing_by_two_is_pyiqas_to_the_last_bit():
    plane = photograph(96, 128)
    for shape in ((48, 64), (192, 256), (96, 128)):
        theirs = pyiqa_imresize(as_tensor(plane), sizes=shape)[0, 0].numpy()
        np.testing.assert_array_equal(resize(plane, shape), theirs)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_forests_answer_as_their_trees_do_one_by_one(seed):
    rng = np.random.default_rng(seed)
    forest = random_forest(rng, trees=7, depth=4, features=5)
    x = rng.normal(size=5)

    def answer(tree: int) -> float:
        node = 0
        while forest.left[node, tree]:
            smaller = x[forest.feature[node, tree]] <= forest.threshold[node, tree]
            node = (forest.left if smaller else forest.right)[node, tree]
        return forest.value[node, tree]

    assert forest.predict(x) == pytest.approx(np.mean([answer(tree) for tree in range(7)]), abs=1e-12)


def random_forest(rng: np.random.Generator, trees: int, depth: int, features: int) -> Forest:
    nodes = 2 ** (depth + 1) - 1
    inner = (np.arange(nodes) < 2**depth - 1)[:, None] & (rng.random((nodes, trees)) < 0.9)
    first = np.arange(nodes)[:, None] * 2 + 1
    return Forest(
        np.where(inner, first, 0).astype(np.int32),
        np.where(inner, first + 1, 0).astype(np.int32),
        rng.integers(0, features, (nodes, trees), dtype=np.int32),
        rng.normal(size=(nodes, trees)),
        rng.uniform(0, 10, (nodes, trees)),
    )
