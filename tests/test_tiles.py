"""Tiles: they cover a picture once, with their context, and nothing of them can be seen in the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from masksr.data.images import to_image
from masksr.errors import MasksrError
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.results import tiles
from masksr.results.tiles import check_tiles, spans, upscale_tiled
from masksr.training.device import autocast


class Blur(nn.Module):
    """Means of squares of ``2 radius + 1`` pixels, each pixel then repeated: its context is known, its sums exact."""

    pixel_range = 255.0

    def __init__(self, radius: int, scale: int = 2) -> None:
        super().__init__()
        self.radius, self.scale = radius, scale
        self.weight = nn.Parameter(torch.ones(3, 1, 2 * radius + 1, 2 * radius + 1))
        self.seen: list[torch.Size] = []

    def forward(self, lr: Tensor) -> Tensor:
        self.seen.append(lr.shape)
        mean = F.conv2d(lr, self.weight, padding=self.radius, groups=3) / self.weight[0].numel()
        return F.interpolate(mean, scale_factor=self.scale, mode="nearest")


def picture(height: int, width: int, pixel_range: float = 255, seed: int = 0) -> Tensor:
    levels = np.random.default_rng(seed).integers(0, 256, (1, 3, height, width))
    return torch.from_numpy(levels).float() / (255 / pixel_range)


def whole(network: nn.Module, lr: Tensor) -> Tensor:
    """The network's output of the picture at once, as evaluation rounds it."""
    with torch.inference_mode():
        return torch.from_numpy(to_image(network(lr), network.pixel_range)).permute(2, 0, 1)[None]


@st.composite
def tilings(draw: st.DrawFn) -> tuple[int, int]:
    """A tile and its overlap."""
    overlap = draw(st.integers(0, 12))
    return draw(st.integers(2 * overlap + 1, 2 * overlap + 40)), overlap


@given(length=st.integers(1, 400), tiling=tilings())
def test_tiles_cover_a_side_once_each_with_its_context(length, tiling):
    tile, overlap = tiling
    cut = spans(length, tile, overlap)
    assert [pixel for span in cut for pixel in range(span.first, span.last)] == list(range(length))
    for span in cut:
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length
        assert span.first - span.start >= overlap or span.start == 0
        assert span.stop - span.last >= overlap or span.stop == length
    sizes = {span.stop - span.start for span in cut}
    assert len(sizes) == 1 and sizes.pop() <= tile  # one shape, in one bound of memory
    assert len(cut) == 1 or (len(cut) - 1) * (tile - 2 * overlap) + 2 * overlap < length  # one fewer would not do


def test_tiles_are_no_larger_than_their_number_needs():
    assert [(span.start, span.stop, span.first, span.last) for span in spans(300, 256, 32)] == [
        (0, 182, 0, 150),
        (118, 300, 150, 300),
    ]


@settings(max_examples=60)
@given(
    height=st.integers(1, 50), width=st.integers(1, 50), tiling=tilings(), part=st.floats(0, 1), scale=st.integers(1, 4)
)
def test_with_enough_context_the_result_is_that_of_the_whole_picture(height, width, tiling, part, scale):
    tile, overlap = tiling
    network, lr = Blur(min(int(part * overlap), 4), scale), picture(height, width)
    expected = whole(network, lr)
    network.seen.clear()
    assert torch.equal(upscale_tiled(network, lr, tile=tile, overlap=overlap), expected)
    assert all(max(shape[2:]) <= tile for shape in network.seen)


def test_with_too_little_context_seams_would_show():
    network, lr = Blur(radius=3), picture(40, 40)
    assert not torch.equal(upscale_tiled(network, lr, tile=16, overlap=2), whole(network, lr))


SMALL = {  # network, and how far it looks in LR pixels: a convolution reaches 1, after an upsampling 1/2, then 1/4
    "esrgan": (lambda: RRDBNet(8, 1, 4), 1 + 15 + 1 + 2),
    "pesr": (lambda: PESR(2, 8), 1 + 4 + 1 + 2),
    "edsr": (lambda: EDSR(2, 8), 1 + 4 + 1 + 2),
    "edsr x3": (lambda: EDSR(2, 8, scale=3), 1 + 4 + 1 + 2),
}


def with_contrast(name: str) -> tuple[nn.Module, int]:
    """A network and its reach. An untrained one gives nearly one colour, in which no seam would show; not so these."""
    torch.manual_seed(0)
    make, reach = SMALL[name]
    network = make().eval()
    last = {RRDBNet: "conv_last", PESR: "upsample.4", EDSR: "tail.1"}[type(network)]
    with torch.no_grad():
        spread = network(picture(24, 24, network.pixel_range)).std() / network.pixel_range
        network.get_submodule(last).weight *= 0.2 / spread
        shift = network(picture(24, 24, network.pixel_range)).mean() - network.pixel_range / 2
        network.get_submodule(last).bias -= shift
    return network, reach


@pytest.mark.parametrize("height,width", [(1, 1), (1, 61), (67, 1), (2, 3), (53, 71)])
@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_upscales_every_size_without_seams(name, height, width):
    network, reach = with_contrast(name)
    lr = picture(height, width, network.pixel_range)
    sr = upscale_tiled(network, lr, tile=2 * reach + 9, overlap=reach)
    expected = whole(network, lr)
    assert sr.shape == expected.shape == (1, 3, network.scale * height, network.scale * width)
    assert (sr.int() - expected.int()).abs().max() <= 1  # sums of other lengths are added in another order
    assert len(expected.unique()) > (50 if height * width > 1000 else 10)


@pytest.mark.parametrize("name", SMALL)
def test_one_tile_is_the_output_of_evaluation_to_the_bit_and_twice_the_same(name):
    network, _ = with_contrast(name)
    lr = picture(19, 23, network.pixel_range)
    assert torch.equal(upscale_tiled(network, lr, tile=23, overlap=4), whole(network, lr))
    first, second = (upscale_tiled(network, lr, tile=15, overlap=4) for _ in range(2))
    assert torch.equal(first, second)


def test_16_bits_are_the_same_picture_with_finer_levels():
    network, _ = with_contrast("edsr")
    lr = picture(20, 30)
    coarse, fine = (upscale_tiled(network, lr, tile=16, overlap=2, levels=levels) for levels in (255, 65535))
    assert coarse.dtype == torch.uint8 and fine.dtype == torch.uint16
    assert (fine.int() / 257 - coarse.int()).abs().max() <= 0.5 + 1e-3
    assert len(np.unique(fine.numpy() % 257)) > 200  # not the 256 levels, spread


def test_values_out_of_range_become_black_and_white():
    lr = torch.tensor([-50.0, 0, 255, 400]).expand(1, 3, 1, 4)
    assert upscale_tiled(Blur(0, 1), lr, tile=4, overlap=0)[0, 0, 0].tolist() == [0, 0, 255, 255]


def test_bf16_is_near_fp32():
    network, _ = with_contrast("pesr")
    lr = picture(24, 24)
    fp32 = upscale_tiled(network, lr, tile=20, overlap=6)
    with autocast(torch.device("cpu"), "bf16")():
        bf16 = upscale_tiled(network, lr, tile=20, overlap=6)
    assert 0 < (bf16.int() - fp32.int()).abs().max() <= 8


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried ..."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: ...)"),
    ],
)
def test_too_little_memory_asks_for_smaller_tiles(monkeypatch, error):
    network = Blur(1)

    def full(_: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(network, "forward", full)
    with pytest.raises(MasksrError, match=r"too little memory for a tile of 8 x 10 pixels.*smaller --tile than 12"):
        upscale_tiled(network, picture(8, 10), tile=12, overlap=2)


def test_other_errors_of_a_network_are_not_about_memory(monkeypatch):
    network = Blur(1)
    monkeypatch.setattr(network, "weight", nn.Parameter(torch.ones(5)))
    with pytest.raises((RuntimeError, IndexError)) as caught:
        upscale_tiled(network, picture(8, 8), tile=12, overlap=2)
    assert not isinstance(caught.value, MasksrError)


def test_a_diverged_network_makes_no_picture():
    network = Blur(1)
    network.weight.data[:] = torch.nan
    with pytest.raises(MasksrError, match="NaN"):
        upscale_tiled(network, picture(4, 4), tile=12, overlap=2)


@pytest.mark.parametrize("tile,overlap", [(8, 4), (8, -1), (0, 0), (63, 32)])
def test_tiles_need_more_than_their_context(tile, overlap):
    with pytest.raises(MasksrError, match=r"--tile or --overlap"):
        check_tiles(tile, overlap)
    with pytest.raises(MasksrError, match=r"--tile or --overlap"):
        upscale_tiled(Blur(0), picture(4, 4), tile=tile, overlap=overlap)


def test_the_defaults_are_a_tiling():
    check_tiles(tiles.TILE, tiles.OVERLAP)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4), (1, 3, 0, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="one picture"):
        upscale_tiled(Blur(0), torch.zeros(shape))
