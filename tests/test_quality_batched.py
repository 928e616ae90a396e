"""Many images at once in torch: the scores of single images, whatever the batch, on whatever device."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_quality import niqe_of, random_ma
from skimage import data
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from masksr.quality import Score, batched, fidelity, score, score_many
from masksr.quality.batched import ma, niqe, planes, score_batches, scores
from masksr.quality.batched.ma_gsm import ScaleMixture
from masksr.quality.gamma import Moments, ggd_shape
from masksr.quality.gaussian import gaussian_mean
from masksr.quality.luma import luma_plane
from masksr.quality.ma import ma_features, singular_values
from masksr.quality.ma_gsm import whitening
from masksr.quality.niqe import niqe_features, patch_features
from masksr.quality.resize import resize
from masksr.quality.weights import QualityWeights

CPU = torch.device("cpu")
ASTRONAUT, COFFEE, CAT = data.astronaut(), data.coffee(), data.chelsea()
FLAT = np.full((108, 120, 3), 128, np.uint8)
PERIODIC = (np.indices((108, 120)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.fixture(scope="module")
def weights() -> QualityWeights:
    return QualityWeights(niqe_of(ASTRONAUT), random_ma(), "official", "stand-in", "-", "-")


def cut(photograph: np.ndarray, height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    top, left = rng.integers(photograph.shape[0] - height + 1), rng.integers(photograph.shape[1] - width + 1)
    return photograph[top : top + height, left : left + width]


def assert_same(found: list[Score], expected: list[Score], tolerance: float = 1e-9) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(map(asdict, found), map(asdict, expected), strict=True):
        numbers = [name for name, value in theirs.items() if isinstance(value, float)]
        expected_numbers = pytest.approx([theirs.pop(name) for name in numbers], abs=tolerance, rel=0, nan_ok=True)
        assert [ours.pop(name) for name in numbers] == expected_numbers
        assert ours == theirs  # the problem and the sources


# ---- The same scores -------------------------------------------------------------------------------------------------


def test_a_batch_of_all_sorts_has_the_scores_of_its_images_in_order(weights):
    images = [
        cut(CAT, 108, 120),
        cut(COFFEE, 120, 108),  # as many pixels
        FLAT,
        cut(ASTRONAUT, 131, 205),  # odd, more than one patch
        cut(COFFEE, 108, 120),
        cut(CAT, 100, 200),  # too small for NIQE
        PERIODIC,
        cut(CAT, 60, 60),  # and for Ma
        cut(CAT, 12, 16),  # and for SSIM
        cut(CAT, 108, 120, seed=1)[::-1, ::-1],
    ]
    references = [np.roll(image, 1, axis=0) for image in images]
    assert_same(score_many(images, weights=weights, device=CPU), [score(i, weights=weights) for i in images])
    found = score_many(images, references, weights, device="cpu")
    assert_same(found, [score(i, r, weights) for i, r in zip(images, references, strict=True)])
    assert [ours.rmse for ours in found] == [fidelity.rmse(i, r) for i, r in zip(images, references, strict=True)]
    assert score_many([], weights=weights, device="cpu") == []


kinds = st.sampled_from(["cat", "coffee", "noise", "flat", "periodic", "blurred", "clipped"])


def image_of(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    rng, rows, columns = np.random.default_rng(seed), *np.indices((height, width))
    grey = {
        "noise": rng.integers(0, 256, (height, width)),
        "flat": np.full((height, width), seed % 256),
        "periodic": (rows + columns) % (2 + seed % 3) * 60,
        "blurred": 128 + 100 * np.sin(rows / (11 + seed % 7)) * np.sin(columns / 13 + rows / 50),
    }
    if kind in grey:
        return grey[kind].astype(np.uint8)[..., None].repeat(3, axis=2)
    photograph = cut({"cat": CAT, "coffee": COFFEE, "clipped": CAT}[kind], height, width, seed)
    return np.minimum(photograph.astype(int) * 2, 255).astype(np.uint8) if kind == "clipped" else photograph


@given(st.data(), st.lists(st.tuples(st.integers(20, 130), st.integers(60, 130)), min_size=1, max_size=2, unique=True))
@settings(max_examples=15, deadline=None)
def test_whatever_is_in_a_batch_and_however_large_it_is(weights, source, sizes):
    draws = source.draw(st.lists(st.tuples(kinds, st.sampled_from(sizes), st.integers(0, 999)), max_size=4))
    images = [image_of(kind, *size, seed) for kind, size, seed in draws]
    pixels = source.draw(st.sampled_from([1, 20_000, 40_000, 10**6]))
    found = score_batches(images, [None] * len(images), weights, CPU, pixels)
    assert_same(found, [score(image, weights=weights) for image in images])


def test_neighbours_have_no_influence(weights):
    image, others = cut(CAT, 108, 120), [cut(COFFEE, 108, 120, seed) for seed in range(4)]
    (alone,) = score_many([image], weights=weights, device=CPU)
    for batch in ([image, FLAT], [PERIODIC, image, *others], [*others[:2], image], [others[3], FLAT, PERIODIC, image]):
        found = score_many(batch, weights=weights, device=CPU)
        assert_same([ours for ours, of in zip(found, batch, strict=True) if of is image], [alone])
        assert [ours.problem is not None for ours in found] == [of is FLAT or of is PERIODIC for of in batch]


def test_a_decomposition_that_fails_costs_one_image_its_score(weights, monkeypatch):
    images = [cut(photograph, 108, 120) for photograph in (CAT, COFFEE, ASTRONAUT)]
    expected, calls = [score(image, weights=weights) for image in images], iter(range(1000))

    def fails_for_the_second(covariance: np.ndarray) -> np.ndarray:
        if next(calls) == 12:  # the first of the second image: there are 12 bands
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return whitening(covariance)

    monkeypatch.setattr(scores, "whitening", fails_for_the_second)
    found = score_many(images, weights=weights, device=CPU)
    assert_same([found[0], found[2]], [expected[0], expected[2]])
    assert found[1].problem == "Ma: Eigenvalues did not converge"
    assert found[1].niqe == pytest.approx(expected[1].niqe, abs=1e-9)


def test_what_is_not_an_image_is_the_same_error(weights):
    for images, references, kind, says in (
        ([CAT, CAT / 255], None, TypeError, "float64"),
        ([CAT[..., 0]], None, ValueError, "shape"),
        ([CAT, CAT[:8]], None, ValueError, "border"),
        ([CAT], [CAT[:-1]], ValueError, "one size"),
        ([CAT, CAT], [CAT], ValueError, "references"),
    ):
        with pytest.raises(kind, match=says):
            score_many(images, references, weights, device=CPU)


# ---- Its parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(66, 75), (111, 90), (97, 128), (208, 193)])
def test_all_features_are_those_of_single_planes(shape):
    images = np.stack([cut(photograph, *shape) for photograph in (CAT, COFFEE, ASTRONAUT)])
    luma = planes.luma_planes(torch.from_numpy(images))
    bands, scales = ScaleMixture(luma), ma.scales(luma)
    whiten, errors = scores._whitening([level.numpy() for level in bands.covariances()])
    assert not errors
    mixture = bands.features(*map(torch.from_numpy, whiten)).numpy()
    frequency = torch.cat([ma.dct_features(scale) for scale in scales], dim=1).numpy()
    triangles = [ma.triangle(scale).numpy() for scale in scales]
    for i, image in enumerate(images):
        plane = luma_plane(image)
        np.testing.assert_array_equal(luma[i].numpy(), plane)
        of_one = ma_features(plane)
        np.testing.assert_allclose(frequency[i], of_one[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(mixture[i], of_one[1], rtol=0, atol=1e-10)
        third = np.concatenate([singular_values(triangle[i]) for triangle in triangles])
        np.testing.assert_allclose(third, of_one[2], rtol=1e-11, atol=1e-11)
    if min(luma.shape[1:]) >= 96:
        moments = niqe.patch_moments(luma).numpy()
        for of_image, plane in zip(moments, luma.numpy(), strict=True):
            found = [patch_features(*(Moments(*m) for m in scale)) for scale in of_image]
            np.testing.assert_allclose(np.concatenate(found, axis=1), niqe_features(plane), rtol=0, atol=1e-10)


def test_luma_is_the_same_to_the_bit_for_every_colour():
    for red in range(0, 256, 5):
        colours = np.stack(np.meshgrid([red], range(256), range(256), indexing="ij"), axis=-1)[0].astype(np.uint8)
        tensor = torch.from_numpy(np.pad(colours, ((4, 4), (4, 4), (0, 0))))[None]
        np.testing.assert_array_equal(planes.luma_planes(tensor)[0].numpy(), luma_plane(colours, border=0))


@given(*[st.integers(20, 90)] * 4)
@settings(max_examples=20, deadline=None)
def test_resizing_and_means_are_those_of_single_planes(height, width, new_height, new_width):
    stack = np.random.default_rng(height).normal(size=(2, 3, height, width)) * 100
    found = planes.resized(torch.from_numpy(stack), (new_height, new_width)).numpy()
    means = planes.gaussian_mean(torch.from_numpy(stack)).numpy()
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[i, j], resize(stack[i, j], (new_height, new_width)))
        np.testing.assert_allclose(means[i, j], gaussian_mean(stack[i, j]), rtol=0, atol=1e-11)


def test_shapes_are_the_same_entries_of_the_table():
    samples = np.random.default_rng(0).normal(size=(4, 300, 48)) * np.logspace(-9, 3, 300)[:, None]
    samples = np.sign(samples) * np.abs(samples) ** np.linspace(0.3, 4, 48)
    for dim in (1, 2):
        expected = ggd_shape(np.moveaxis(samples, dim, -1))
        np.testing.assert_array_equal(planes.ggd_shape(torch.from_numpy(samples), dim).numpy(), expected)


@given(st.lists(st.tuples(st.sampled_from([(70, 90), (90, 70), (200, 100)]), st.booleans())), st.integers(1, 40_000))
def test_batches_hold_every_image_once_and_no_more_than_the_bound(drawn, pixels):
    images = [np.empty((*size, 3), np.uint8) for size, _ in drawn]
    references = [image if has else None for image, (_, has) in zip(images, drawn, strict=True)]
    batches = list(scores._batches(images, references, pixels))
    assert sorted(number for batch in batches for number in batch) == list(range(len(drawn)))
    for batch in batches:
        assert len({drawn[number] for number in batch}) == 1
        assert len(batch) == 1 or sum(images[number].size / 3 for number in batch) <= pixels


# ---- Devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_tables() -> Iterator[None]:
    """Nothing kept from another device before, nothing of an imaginary one afterwards."""

    def clear() -> None:
        for module in pkgutil.iter_modules(batched.__path__, f"{batched.__name__}."):
            for kept in vars(importlib.import_module(module.name)).values():
                getattr(kept, "cache_clear", lambda: None)()

    clear()
    yield
    clear()


Step = Callable[[torch.Tensor], object]
STEPS: dict[str, Step] = {
    "luma": planes.luma_planes,
    "NIQE": lambda images: niqe.patch_moments(planes.luma_planes(images)),
    "covariances": lambda images: ScaleMixture(planes.luma_planes(images)).covariances(),
    "mixture": lambda images: ScaleMixture(planes.luma_planes(images)).features(
        *(torch.ones(2, 6, n, n, dtype=torch.float64, device=images.device) for n in (15, 14))
    ),
    "DCT": lambda images: [ma.dct_features(scale) for scale in ma.scales(planes.luma_planes(images))],
    "blocks": lambda images: [ma.triangle(scale) for scale in ma.scales(planes.luma_planes(images))],
    "SSIM": lambda images: fidelity.ssim_map(*[planes.luma_planes(images)] * 2, planes.gaussian_mean),
}


class OnlyTablesMove(TorchDispatchMode):
    """Notes down what is copied from the device to the host, and what is made on the host during the work."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made_on_host = isinstance(result, torch.Tensor) and result.device.type == "cpu"
        if made_on_host and str(function) not in ("aten.lift_fresh.default", "aten.detach.default"):
            self.seen.append(str(function))
        return result


@pytest.mark.parametrize("name", STEPS)
def test_nothing_is_made_on_the_wrong_device_and_nothing_waits_for_it(name, no_tables):
    """On an imaginary GPU, where mixed devices and reading a number back are errors."""
    with FakeTensorMode(allow_non_fake_inputs=True), OnlyTablesMove() as host:
        found = STEPS[name](torch.empty(2, 111, 204, 3, dtype=torch.uint8, device="cuda"))
    tensors = found if isinstance(found, (list, tuple)) else [found]
    assert [tensor.device.type for tensor in tensors] == ["cuda"] * len(tensors)
    assert {tensor.dtype for tensor in tensors} == {torch.float64}
    assert host.seen == []


def test_the_imaginary_gpu_notices(no_tables):
    with FakeTensorMode(allow_non_fake_inputs=True), OnlyTablesMove() as host:
        there = torch.empty(3, device="cuda")
        with pytest.raises(RuntimeError, match="device"):
            there + torch.zeros(3)
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
        there.cpu()
    assert len(host.seen) == 2


def test_without_double_precision_the_cpu_scores(weights, monkeypatch):
    monkeypatch.setattr(batched, "score_batches", lambda *_: pytest.fail("torch has been asked"))
    images = [cut(CAT, 108, 120), cut(COFFEE, 108, 120)]
    assert score_many(images, weights=weights, device="mps") == score_many(images, weights=weights)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_gives_the_same_scores(weights):
    images = [cut(CAT, 108, 120), FLAT, cut(COFFEE, 108, 120), cut(ASTRONAUT, 211, 304), cut(CAT, 66, 90), PERIODIC]
    references = [np.roll(image, 1, axis=1) for image in images]
    found = score_many(images, references, weights, device="cuda")
    assert_same(found, [score(i, r, weights) for i, r in zip(images, references, strict=True)], tolerance=1e-6)
