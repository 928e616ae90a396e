"""NIQE, Ma, PI and fidelity: pyiqa's numbers, their parts by plain formulas, images without a score."""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyiqa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiqa.archs import niqe_arch, nrqm_arch, psnr_arch
from pyiqa.matlab_utils import imresize as pyiqa_imresize
from pyiqa.utils.color_util import to_y_channel
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from benchmarks.pictures import niqe_of, pyiqa_score, random_ma
from masksr.data.bicubic import imresize
from masksr.data.images import luma, read_image
from masksr.io import MasksrError
from masksr.paths import weight_places
from masksr.quality import fidelity, measures
from masksr.quality.filters import gaussian_window, luma_plane, resize
from masksr.quality.index import score
from masksr.quality.ma import ma_features
from masksr.quality.niqe import niqe
from masksr.quality.weights import OFFICIAL, QualityWeights, read_niqe
from masksr.results import evaluate
from masksr.results.scores import COLUMNS, measure_titles, read_quality, write_quality

ASTRONAUT, COFFEE, CAT = data.astronaut(), data.coffee(), data.chelsea()
IMAGES = {
    "face": ASTRONAUT[60:190, 170:310], "fur": CAT[90:197, 130:256],
    "enlarged": imresize(np.ascontiguousarray(CAT[::4, ::4][:30, :32]), 4),
}
CHECKERBOARD = (np.indices((140, 130)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, 2)
sides = st.integers(60, 130)


def as_pyiqa_has_it(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255


def photograph(height: int, width: int) -> np.ndarray:
    """A piece of skimage's camera man as a luma plane."""
    return data.camera()[90 : 90 + height, 150 : 150 + width].astype(np.float64)


def as_tensor(plane: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(plane)[None, None]


@pytest.fixture(scope="module")
def weights() -> QualityWeights:
    """A forest at random, NIQE fitted on one photograph."""
    return QualityWeights(niqe_of(ASTRONAUT), random_ma(), "official", "official")


@pytest.mark.parametrize("name", IMAGES)
def test_pi_is_pyiqas(name: str, tmp_path: Path, weights: QualityWeights) -> None:
    """With the files that we wrote; of NIQE alone and of Ma's features below."""
    ours = score(IMAGES[name], weights=weights)
    assert ours.pi == pytest.approx(pyiqa_score(tmp_path, weights)(IMAGES[name]), abs=1e-6)
    assert ours.pi == (10 - ours.ma + ours.niqe) / 2 and ours.problem is None


def test_niqe_of_odd_planes_is_pyiqas() -> None:
    partly_flat = photograph(200, 300)
    partly_flat[:97, :97] = 235  # a whole patch without any structure
    bright = np.minimum(photograph(192, 210) * 3, 235).round()
    model = niqe_of(ASTRONAUT)
    parameters = torch.from_numpy(model.mean)[None], torch.from_numpy(model.covariance)[None]
    for plane in (photograph(96, 96), photograph(143, 230), partly_flat, bright):
        theirs = niqe_arch.niqe(as_tensor(plane), *parameters).item()
        assert niqe(plane, model) == pytest.approx(theirs, abs=1e-8)


@pytest.mark.skipif("MASKSR_DATA" not in os.environ, reason="MASKSR_DATA names no folder with BSD100, NIQE")
def test_niqe_of_bsd100_is_known_with_the_official_file() -> None:
    model = read_niqe(next(filter(Path.is_file, (place / OFFICIAL["niqe"] for place in weight_places()))))
    paths = sorted(Path(os.environ["MASKSR_DATA"], "test/BSD100/HR").glob("*.png"))[::8]
    scores = [niqe(luma_plane(read_image(path)), model) for path in paths]  # the mean of all 100 is 3.35
    assert np.mean(scores) == pytest.approx(3.35, abs=0.6)


def test_luma_is_scikit_images_and_pyiqas_also_where_rounding_is_a_close_call() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (600, 1000, 3), dtype=np.uint8)
    np.testing.assert_allclose(luma(colours), rgb2ycbcr(colours)[..., 0], atol=1e-10)
    close = np.abs(luma(colours) % 1 - 0.5) < 2e-5
    assert close.any()
    ours, theirs = luma_plane(colours, border=0), to_y_channel(as_pyiqa_has_it(colours), 255, "ycbcr")[0, 0]
    np.testing.assert_array_equal(ours, theirs.double().numpy())
    np.testing.assert_array_equal(ours[~close], np.floor(luma(colours) + 0.5)[~close])


@pytest.mark.parametrize("shape", [(75, 102), (111, 90)])
def test_all_138_features_of_ma_are_pyiqas(shape: tuple[int, int]) -> None:
    plane = photograph(*shape)
    pyramid = nrqm_arch.get_gauss_pyramid(as_tensor(plane) / 255)
    frequency = torch.cat([nrqm_arch.block_dct(x) for x in pyramid], dim=1)[0]
    scale_mixture = nrqm_arch.global_gsm(as_tensor(plane))[0]
    values = [torch.linalg.svdvals(nrqm_arch.im2col(x, 5, "distinct"))[0] for x in pyramid]
    singular = torch.cat([torch.nn.functional.pad(x, (0, 25 - len(x))) for x in values])
    for ours, theirs in zip(ma_features(plane), (frequency, scale_mixture, singular), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-9)


@given(sides, sides, sides, sides)
@settings(max_examples=20)
def test_resizing_is_pyiqas_up_to_one_unit_of_float32(h: int, w: int, new_h: int, new_w: int) -> None:
    plane = photograph(h, w)
    theirs = pyiqa_imresize(as_tensor(plane), sizes=(new_h, new_w))[0, 0].numpy()
    np.testing.assert_allclose(resize(plane, (new_h, new_w)), theirs, atol=1e-4)
    by_two = pyiqa_imresize(as_tensor(plane), sizes=(2 * h, 2 * w))[0, 0].numpy()
    np.testing.assert_array_equal(resize(plane, (2 * h, 2 * w)), by_two)


def test_fidelity_is_pyiqas_and_scikit_images() -> None:
    theirs = nrqm_arch.fspecial(11, 1.5)[0, 0].double().numpy()
    np.testing.assert_array_equal(gaussian_window(11, 1.5), theirs)
    reference = np.ascontiguousarray(COFFEE[100:260, 180:360])
    image = imresize(imresize(reference, 1 / 4), 4)
    psnr = psnr_arch.PSNR(test_y_channel=True, crop_border=4, data_range=255, color_space="ycbcr")
    theirs = psnr(as_pyiqa_has_it(image), as_pyiqa_has_it(reference)).item()
    assert fidelity.psnr(image, reference) == pytest.approx(theirs, abs=1e-5)
    inner = [np.floor(luma(x) + 0.5)[4:-4, 4:-4] for x in (image, reference)]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    theirs = structural_similarity(*inner, **options, full=True)[1][5:-5, 5:-5].mean()
    assert fidelity.ssim(*inner) == pytest.approx(theirs, abs=1e-4)


def test_fidelity_needs_a_reference_and_the_border_does_not_count(weights: QualityWeights) -> None:
    image = IMAGES["enlarged"]
    ours, alone = score(image, image[::-1], weights), score(image, weights=weights)
    assert ours.psnr == fidelity.psnr(image, image[::-1])
    assert alone.psnr is alone.ssim is alone.rmse is None and alone.pi == ours.pi
    framed = CAT.copy()
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 255, 9, 99
    assert fidelity.psnr(CAT, framed) == np.inf > 30 > fidelity.psnr(CAT, framed, border=0)
    grey = np.full((30, 40, 3), 100, np.uint8)
    brighter = score(grey + np.uint8(7), grey, weights)  # 7 levels of grey are 6 of luma
    assert brighter.rmse == 6 and brighter.psnr == pytest.approx(20 * np.log10(255 / 6))


@pytest.mark.parametrize(("image", "missing"), [
    (np.full((130, 130, 3), 128, np.uint8), {"niqe", "ma"}), (CHECKERBOARD, {"niqe", "ma"}),
    (CAT[:100, :200], {"niqe"}),
    (CAT[60:125, 100:175], {"niqe"}),  # pyiqa's NRQM ends with an IndexError for this size
    (CAT[:60, :60], {"niqe", "ma"}), (CAT[:12, :16], {"niqe", "ma", "ssim"}),
])
def test_an_image_without_a_score_is_reported_and_nothing_else_stops(image, missing, weights) -> None:
    ours = score(image, image, weights)
    assert {name for name in ("niqe", "ma", "ssim") if np.isnan(getattr(ours, name))} == missing
    assert np.isnan(ours.pi) and all(name in ours.problem.lower() for name in missing)
    assert ours.psnr == np.inf


def test_many_scores_are_the_scores_in_order_whatever_the_number_of_cores(weights, monkeypatch) -> None:
    images = [IMAGES["face"], IMAGES["fur"], CAT[:12, :16], CAT[50:170, 100:230][:, ::-1]]
    pairs = [(image, image[::-1].copy()) for image in images]
    one_by_one = [repr(asdict(score(*pair, weights))) for pair in pairs]  # of NaN too
    for cores in (1, 3):
        monkeypatch.setattr(evaluate, "cores", lambda cores=cores: cores)
        assert list(map(repr, evaluate.score_images(pairs, weights))) == one_by_one


HR = data.cat()[40:168, 60:188]
SR = np.clip(HR + np.random.default_rng(0).normal(0, 9, HR.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["gmsd", "vif", "entropy", "piqe"])
def test_the_value_is_pyiqas_of_the_picture_without_its_border(name: str) -> None:
    (measure,) = measures.load([name])
    theirs = pyiqa.create_metric(name, device="cpu")
    pictures = [as_pyiqa_has_it(x[4:-4, 4:-4]) for x in (SR, HR)]
    expected = theirs(*pictures) if theirs.metric_mode == "FR" else theirs(pictures[0])
    assert measure(SR, HR) == (float(expected), None) == measure(SR, HR)
    assert measures.known()[name] == (theirs.metric_mode == "FR", theirs.lower_better)


def test_a_picture_without_the_measure_has_a_reason() -> None:
    value, problem = measures.load(["vif"])[0](SR[:20, :20], HR[:20, :20])
    assert np.isnan(value) and problem.startswith("vif: ") and "\n" not in problem


def test_random_crops_are_the_same_each_time() -> None:
    class Draws(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return torch.rand(1) + float(np.random.rand())

    measure = measures.Measure("entropy", Draws(), torch.device("cpu"))
    before = torch.get_rng_state()
    assert measure(SR) == measure(SR)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("names", "expected"), [
    (["lpisp"], "no measure 'lpisp' .did you mean 'lpips'"), (["psnr"], "psnr would be measured twice"),
    (["lpips", "lpips"], "twice"), (["fid"], "fid is not a measure of one picture"),
])
def test_a_wrong_name_is_one_line(names: list[str], expected: str) -> None:
    with pytest.raises(MasksrError, match=expected):
        measures.load(names)


def test_weights_that_cannot_be_had_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in measures.NO_NETWORK:
        monkeypatch.setenv(variable, "")  # what it is set to ends with this test
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MasksrError, match=r"^the measure lpips cannot be had .*--also"):
        measures.load(["lpips"])


def test_columns_come_after_the_others_and_without_any_nothing_changes(tmp_path: Path, weights) -> None:
    labels = {"model": "esrgan", "mask": "none", "seed": 0, "set": "cat", "image": "a"}
    plain, more = (
        pd.DataFrame(labels | row for row in evaluate.score_images([(SR, HR)], weights, measures.load(also)))
        for also in ([], ["gmsd", "entropy"])
    )
    assert {*plain} == {*COLUMNS} == {*more} - {"gmsd", "entropy"}
    pd.testing.assert_frame_equal(plain, more[plain.columns])
    write_quality(plain.assign(seed=1), tmp_path / "plain.csv")
    write_quality(more, tmp_path / "more.csv")
    read = read_quality([tmp_path / "plain.csv", tmp_path / "more.csv"])
    assert read["gmsd"].isna().tolist() == [True, False]
    assert (measure_titles(read)["gmsd"], measure_titles(read)["entropy"]) == ("GMSD ↓", "ENTROPY ↑")
    assert read["gmsd"][1] == pytest.approx(measures.load(["gmsd"])[0](SR, HR)[0], rel=1e-9)
