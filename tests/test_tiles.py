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
from masksr.io import MasksrError
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.results.tiles import spans, upscale_tiled


class Blur(nn.Module):
    """Means of squares of ``2 radius + 1`` pixels, each pixel then repeated: its context is known, its sums exact."""

    pixel_range = 255.0

    def __init__(self, radius: int, scale: int = 2) -> None:
        super().__init__()
        self.radius, self.scale = radius, scale
        self.weight = nn.Parameter(torch.ones(3, 1, 2 * radius + 1, 2 * radius + 1))

    def forward(self, lr: Tensor) -> Tensor:
        mean = F.conv2d(lr, self.weight, padding=self.radius, groups=3) / self.weight[0].numel()
        return F.interpolate(mean, scale_factor=self.scale, mode="nearest")


def picture(height: int, width: int, pixel_range: float = 255) -> Tensor:
    levels = np.random.default_rng(0).integers(0, 256, (1, 3, height, width))
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
    assert [pixel for _, _, first, last in cut for pixel in range(first, last)] == list(range(length))
    for start, stop, first, last in cut:
        assert 0 <= start <= first < last <= stop <= length
        assert first - start >= overlap or start == 0
        assert stop - last >= overlap or stop == length
    sizes = {stop - start for start, stop, _, _ in cut}
    assert len(sizes) == 1 and sizes.pop() <= tile  # one shape, in one bound of memory
    assert len(cut) == 1 or (len(cut) - 1) * (tile - 2 * overlap) + 2 * overlap < length  # one fewer would not do


@settings(max_examples=60)
@given(height=st.integers(1, 50), width=st.integers(1, 50), tiling=tilings(), scale=st.integers(1, 4))
def test_with_enough_context_the_result_is_that_of_the_whole_picture(height, width, tiling, scale):
    tile, overlap = tiling
    network, lr = Blur(min(overlap, 4), scale), picture(height, width)
    assert torch.equal(upscale_tiled(network, lr, tile=tile, overlap=overlap), whole(network, lr))


@pytest.mark.parametrize(
    ("make", "reach"), [(lambda: RRDBNet(8, 1, 4), 19), (lambda: PESR(2, 8), 8), (lambda: EDSR(2, 8, scale=3), 8)]
)
def test_every_architecture_upscales_without_seams(make, reach):
    """reach: how far it looks in LR pixels; a convolution 1, after an upsampling 1/2, then 1/4."""
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():  # an untrained one gives nearly one colour, in which no seam would show
        *_, last = (module for module in network.modules() if isinstance(module, nn.Conv2d))
        last.weight *= 0.2 * network.pixel_range / network(picture(24, 24, network.pixel_range)).std()
        last.bias -= network(picture(24, 24, network.pixel_range)).mean() - network.pixel_range / 2
    for height, width in ((1, 1), (2, 61), (53, 71)):
        lr = picture(height, width, network.pixel_range)
        expected = whole(network, lr)
        difference = upscale_tiled(network, lr, tile=2 * reach + 9, overlap=reach).int() - expected.int()
        assert difference.abs().max() <= 1  # sums of other lengths are added in another order
        assert torch.equal(upscale_tiled(network, lr, tile=71, overlap=4), expected)  # one tile
    assert len(expected.unique()) > 50
    fine = upscale_tiled(network, lr, tile=71, overlap=4, levels=65535)
    assert fine.dtype == torch.uint16 and (fine.int() / 257 - expected.int()).abs().max() <= 0.5 + 1e-3


def test_too_little_memory_a_diverged_network_and_tiles_without_sense_are_errors(monkeypatch):
    network = Blur(1)
    network.weight.data[:] = torch.nan
    with pytest.raises(MasksrError, match="NaN"):
        upscale_tiled(network, picture(4, 4), tile=12, overlap=2)

    def fail(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried ...")

    monkeypatch.setattr(network, "forward", fail)
    with pytest.raises(MasksrError, match="too little memory; try a --tile below 12"):
        upscale_tiled(network, picture(8, 10), tile=12, overlap=2)
    for tile, overlap in ((8, 4), (8, -1), (0, 0)):
        with pytest.raises(MasksrError, match="--tile or --overlap"):
            upscale_tiled(Blur(0), picture(4, 4), tile=tile, overlap=overlap)
