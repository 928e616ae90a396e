"""NIQE and Ma against pyiqa, and their parts against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiqa.archs import niqe_arch, nrqm_arch
from pyiqa.matlab_utils import SCFpyr_PyTorch
from skimage import data

from masksr.quality.forest import one_leaf
from masksr.quality.gaussian import gaussian_mean
from masksr.quality.luma import Unmeasurable
from masksr.quality.ma import MaModel, _scales, _singular_values, ma, ma_features
from masksr.quality.ma_dct import dct_features
from masksr.quality.niqe import NiqeModel, niqe, niqe_features, patch_sharpness
from masksr.quality.pyramid import oriented_bands

sides = st.integers(60, 130)


def photograph(height: int, width: int, top: int = 90, left: int = 150) -> np.ndarray:
    """A piece of skimage's camera man as a luma plane."""
    return data.camera()[top : top + height, left : left + width].astype(np.float64)


def as_tensor(plane: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(plane)[None, None]


@pytest.fixture(scope="module")
def any_niqe() -> NiqeModel:
    """Not a good model of anything, but a full one."""
    features = np.concatenate([niqe_features(photograph(384, 384, top, left)) for top in (0, 128) for left in (0, 100)])
    return NiqeModel(features.mean(axis=0), np.cov(features, rowvar=False))


# ---- NIQE ------------------------------------------------------------------------------------------------------------


def test_niqe_is_pyiqas(any_niqe):
    mean, covariance = torch.from_numpy(any_niqe.mean)[None], torch.from_numpy(any_niqe.covariance)[None]
    partly_flat = photograph(200, 300)
    partly_flat[:97, :97] = 235  # a whole patch without any structure
    bright = np.minimum(photograph(192, 210) * 3, 235).round()
    for plane in (photograph(96, 96), photograph(143, 230), photograph(250, 192), partly_flat, bright):
        theirs = niqe_arch.niqe(as_tensor(plane), mean, covariance).item()
        assert niqe(plane, any_niqe) == pytest.approx(theirs, abs=1e-8)


def test_niqe_looks_at_whole_patches_from_the_top_left_only(any_niqe):
    plane = photograph(230, 240)
    assert niqe(plane, any_niqe) == niqe(plane[:192, :192], any_niqe)
    assert niqe_features(plane).shape == (4, 36)
    assert patch_sharpness(plane).shape == (4,)


def test_blur_is_not_sharp():
    plane = photograph(192, 192)
    assert (patch_sharpness(gaussian_mean(np.pad(plane, 5, mode="edge"))) < patch_sharpness(plane)).all()


@pytest.mark.parametrize("plane", [photograph(95, 200), np.full((120, 120), 128.0), np.indices((120, 120)).sum(0) % 2])
def test_what_niqe_cannot_measure_it_says_so(any_niqe, plane):
    with pytest.raises(Unmeasurable, match=r"96 x 96|flat or periodic"):
        niqe(plane.astype(float), any_niqe)


# ---- Ma --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(75, 102), (111, 90)])
def test_all_138_features_are_pyiqas(shape):
    plane = photograph(*shape)
    pyramid = nrqm_arch.get_gauss_pyramid(as_tensor(plane) / 255)
    frequency = torch.cat([nrqm_arch.block_dct(x) for x in pyramid], dim=1)[0]
    scale_mixture = nrqm_arch.global_gsm(as_tensor(plane))[0]
    blocks = [nrqm_arch.im2col(x, 5, "distinct") for x in pyramid]
    values = [torch.linalg.svdvals(x)[0] for x in blocks]  # as many as there are blocks: 20 at quarter size of 75 x 102
    singular = torch.cat([torch.nn.functional.pad(x, (0, 25 - len(x))) for x in values])
    for ours, theirs in zip(ma_features(plane), (frequency, scale_mixture, singular), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-9)


def test_the_dct_features_do_not_depend_on_how_many_patches_are_taken_at_a_time(monkeypatch):
    plane = photograph(100, 120) / 255
    whole = dct_features(plane)
    monkeypatch.setattr("masksr.quality.ma_dct.CHUNK", 97)
    np.testing.assert_allclose(dct_features(plane), whole, rtol=1e-12)


def test_the_gsm_features_do_not_depend_on_how_many_pixels_are_taken_at_a_time(monkeypatch):
    plane = photograph(80, 90)
    whole = ma_features(plane)[1]
    monkeypatch.setattr("masksr.quality.ma_gsm.CHUNK", 500)
    np.testing.assert_allclose(ma_features(plane)[1], whole, atol=1e-9)


@given(sides, sides)
@settings(max_examples=15, deadline=None)
def test_the_pyramid_is_pyiqas_for_every_size(height, width):
    plane = photograph(height, width)
    theirs = SCFpyr_PyTorch(height=2, nbands=6).build(as_tensor(plane))
    high, bands = oriented_bands(plane)
    np.testing.assert_allclose(high, theirs[0][0].numpy(), atol=1e-9)
    for level in range(2):
        for ours, band in zip(bands[level], theirs[level + 1], strict=True):
            np.testing.assert_allclose(ours, band[0, ..., 0].numpy(), atol=1e-9)


def test_oriented_bands_see_their_orientation():
    y, x = np.indices((128, 128))
    energies = []
    for b in range(6):
        angle = np.pi * b / 6
        wave = np.cos(0.5 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) + 0.3)
        energies.append([np.square(band).mean() for band in oriented_bands(wave)[1][0]])
    assert (np.argmax(energies, axis=1) == np.argmax(energies, axis=0)).all()
    assert len(set(np.argmax(energies, axis=1))) == 6


def test_singular_values_are_those_of_the_zero_filled_blocks():
    plane = photograph(63, 71)
    padded = np.zeros((65, 75))
    padded[:63, :71] = plane
    blocks = [padded[y : y + 5, x : x + 5].ravel() for y in range(0, 65, 5) for x in range(0, 75, 5)]
    np.testing.assert_allclose(_singular_values(plane), np.linalg.svd(blocks)[1], rtol=1e-10, atol=1e-9)


def test_scales_halve_from_the_second_pixel():
    plane = photograph(61, 70)
    assert [p.shape for p in _scales(plane)] == [(61, 70), (30, 35), (15, 17)]
    constant = _scales(np.full((61, 70), 7.0))[1]
    np.testing.assert_allclose(constant[1:-1, 1:-1], 7, rtol=1e-6)


@pytest.mark.parametrize("plane", [photograph(56, 200), np.full((90, 90), 99.0), np.indices((90, 90)).sum(0) % 2 * 50])
def test_what_ma_cannot_measure_it_says_so(plane):
    with pytest.raises(Unmeasurable, match=r"57 x 57|flat or periodic"):
        ma(plane.astype(float), MaModel((one_leaf(1), one_leaf(2), one_leaf(3)), np.zeros(4)))


def test_57_pixels_are_enough():
    assert all(np.isfinite(family).all() for family in ma_features(photograph(57, 57)))
