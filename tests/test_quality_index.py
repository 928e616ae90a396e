"""Scores of images: pyiqa's PI, fidelity to the HR image, and what happens to images that have no score."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pyiqa.archs.niqe_arch import NIQE
from pyiqa.archs.nrqm_arch import NRQM
from pyiqa.utils.color_util import to_y_channel
from random_quality import niqe_of, random_ma
from skimage import data

from masksr.data.bicubic import imresize
from masksr.data.images import luma, read_image
from masksr.quality import Score, fidelity, score, score_many
from masksr.quality.luma import luma_plane
from masksr.quality.matfiles import read_ma, read_niqe, write_ma, write_niqe
from masksr.quality.niqe import niqe
from masksr.quality.weights import QualityWeights, find_official

DATA = os.environ.get("MASKSR_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="MASKSR_DATA names no folder with BSD100 and NIQE's parameters")

ASTRONAUT, COFFEE, CAT = data.astronaut(), data.coffee(), data.chelsea()
SMALL = {
    "face": ASTRONAUT[60:190, 170:310],
    "cup": COFFEE[120:260, 200:330],
    "fur": CAT[90:197, 130:256],
    "enlarged": imresize(np.ascontiguousarray(CAT[::4, ::4][:30, :32]), 4),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Parameters in the authors' formats: a forest at random, NIQE fitted on one photograph."""
    folder = tmp_path_factory.mktemp("weights")
    write_ma(folder / "ma.mat", random_ma())
    write_niqe(folder / "niqe.mat", niqe_of(ASTRONAUT))
    return folder


@pytest.fixture(scope="module")
def weights(folder) -> QualityWeights:
    return QualityWeights(
        read_niqe(folder / "niqe.mat"), read_ma(folder / "ma.mat"), "official", "official", "0" * 64, "0" * 64
    )


def as_pyiqa_has_it(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255


# ---- pyiqa -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_pi_and_its_halves_are_pyiqas(name, folder, weights):
    """pyiqa's PI takes no path; these are its two halves, built and joined as it does."""
    settings = {"crop_border": 4, "color_space": "ycbcr"}
    tensor = as_pyiqa_has_it(SMALL[name])
    stock_niqe = NIQE(**settings, pretrained_model_path=str(folder / "niqe.mat"))(tensor).item()
    stock_ma = NRQM(**settings, pretrained_model_path=str(folder / "ma.mat"))(tensor).item()
    images = [SMALL[name], np.ascontiguousarray(SMALL[name][::-1])]  # in a batch with another one
    for ours in (score(SMALL[name], weights=weights), score_many(images, weights=weights, device="cpu")[0]):
        assert ours.niqe == pytest.approx(stock_niqe, abs=1e-6)
        assert ours.ma == pytest.approx(stock_ma, abs=1e-6)
        assert ours.pi == pytest.approx((10 - stock_ma + stock_niqe) / 2, abs=1e-6)
        assert ours.problem is None


def test_luma_is_pyiqas_also_where_rounding_is_a_close_call():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (600, 1000, 3), dtype=np.uint8)
    close = np.abs(luma(colours) % 1 - 0.5) < 2e-5
    assert close.any()
    theirs = to_y_channel(as_pyiqa_has_it(colours), 255, "ycbcr")[0, 0].double().numpy()
    np.testing.assert_array_equal(luma_plane(colours, border=0), theirs)
    np.testing.assert_array_equal(luma_plane(colours, border=0)[~close], luma(colours, rounded=True)[~close])


@needs_data
def test_niqe_of_bsd100_is_known():
    stock = NIQE(crop_border=4, color_space="ycbcr", pretrained_model_path=str(find_official("niqe")))
    model = read_niqe(find_official("niqe"))
    files = sorted((Path(DATA) / "test/BSD100/HR").glob("*.png"))[::8]
    hr, bicubic = [], []
    for file in files:
        image = read_image(file)
        image = image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4]
        for version, values in ((image, hr), (imresize(imresize(image, 1 / 4), 4), bicubic)):
            values.append(niqe(luma_plane(version), model))
            if len(values) <= 3:
                assert values[-1] == pytest.approx(stock(as_pyiqa_has_it(version)).item(), abs=1e-6)
    # The means of all 100 images are 3.35 and 7.61; of these 13 the standard errors are 0.3 and 0.15.
    assert np.mean(hr) == pytest.approx(3.35, abs=0.6)
    assert np.mean(bicubic) == pytest.approx(7.61, abs=0.3)
    assert np.less(hr, bicubic).all()


# ---- What a score says -----------------------------------------------------------------------------------------------


def test_with_a_reference_there_is_fidelity_too(weights):
    ours = score(SMALL["enlarged"], SMALL["enlarged"][::-1], weights)
    for name in ("psnr", "ssim", "rmse"):
        assert getattr(ours, name) == getattr(fidelity, name)(SMALL["enlarged"], SMALL["enlarged"][::-1])


def test_without_a_reference_there_is_no_fidelity(weights):
    ours = asdict(score(SMALL["fur"], weights=weights))
    assert ours["psnr"] is ours["ssim"] is ours["rmse"] is None
    assert list(ours) == ["niqe", "ma", "pi", "psnr", "ssim", "rmse", "niqe_weights", "ma_weights", "problem"]


@pytest.mark.parametrize(
    ("of_niqe", "of_ma", "label"),
    [
        ("official", "official", "PI"),
        ("official", "stand-in", "PI (stand-in Ma)"),
        ("stand-in", "official", "PI (stand-in NIQE)"),
        ("stand-in", "stand-in", "PI (stand-in)"),
    ],
)
def test_only_official_weights_make_a_plain_pi(of_niqe, of_ma, label, weights):
    weights = replace(weights, niqe_source=of_niqe, ma_source=of_ma)
    ours = score(SMALL["fur"], weights=weights)
    assert (ours.niqe_weights, ours.ma_weights, ours.label) == (of_niqe, of_ma, label)


@pytest.mark.parametrize(
    ("image", "missing"),
    [
        (np.full((130, 130, 3), 128, np.uint8), {"niqe", "ma"}),
        (np.full((130, 130, 3), 255, np.uint8), {"niqe", "ma"}),
        ((np.indices((140, 130)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, 2), {"niqe", "ma"}),
        (CAT[:100, :200], {"niqe"}),
        (CAT[:60, :60], {"niqe", "ma"}),
        (CAT[:12, :16], {"niqe", "ma", "ssim"}),
    ],
)
def test_an_image_without_a_score_is_reported_and_nothing_else_stops(image, missing, weights):
    ours = score(image, image, weights)
    assert {name for name in ("niqe", "ma", "ssim") if np.isnan(getattr(ours, name))} == missing
    assert np.isnan(ours.pi)
    assert all(name in ours.problem.lower() for name in missing)
    assert ours.psnr == np.inf


@pytest.mark.parametrize("side", [65, 72, 88, 91])
def test_images_too_small_for_25_blocks_at_quarter_size_have_a_score(side, weights):
    """pyiqa's NRQM ends with an IndexError there."""
    assert 0 < score(CAT[60 : 60 + side, 100 : 110 + side], weights=weights).ma < 10


def test_noise_has_a_score(weights):
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    assert np.isfinite(score(noise, weights=weights).pi)


@pytest.mark.parametrize(
    ("image", "kind", "says"),
    [
        (CAT / 255, TypeError, "float64"),
        (torch.zeros(3, 100, 100), TypeError, "Tensor"),
        (CAT[..., 0], ValueError, "shape"),
        (CAT.transpose(2, 0, 1), ValueError, "shape"),
        (CAT[:8], ValueError, "border"),
    ],
)
def test_what_is_not_an_image_is_an_error(image, kind, says, weights):
    with pytest.raises(kind, match=says):
        score(image, weights=weights)


def test_a_reference_of_another_size_is_an_error(weights):
    with pytest.raises(ValueError, match="one size"):
        score(CAT, CAT[:-1], weights)
    with pytest.raises(ValueError, match="references"):
        score_many([CAT, CAT], [CAT], weights)


def test_many_scores_are_the_scores_in_order_whatever_the_number_of_workers(weights):
    images = [*SMALL.values(), CAT[:12, :16]]
    one_by_one = [score(image, image[::-1], weights) for image in images]
    for workers in (1, 3):
        many = score_many(images, [image[::-1] for image in images], weights, workers=workers)
        assert [repr(ours) for ours in many] == [repr(alone) for alone in one_by_one]  # repr: NaN equals NaN
    assert score_many([], weights=weights) == []
    assert all(isinstance(ours, Score) for ours in many)


def test_views_of_a_larger_image_score_as_their_copies(weights):
    view = CAT[50:170, 100:230][:, ::-1]
    assert score(view, weights=weights) == score(view.copy(), weights=weights)


def test_importing_is_cheap():
    code = "import sys, masksr.quality; print([m for m in ('torch', 'pyiqa', 'sklearn', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
