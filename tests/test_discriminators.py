"""The discriminators: which sizes they take, and the layout their public key names stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from masksr.errors import MasksrError
from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator


@pytest.mark.parametrize("size", [64, 96, 128, 160, 192, 256])
def test_vggstyle_takes_every_multiple_of_32(size: int):
    network = VGGStyleDiscriminator(num_feat=2, input_size=size)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 1)
    assert network.linear1.in_features == 16 * (16 if size == 256 else (size // 32) ** 2)
    assert ("conv5_0.weight" in network.state_dict()) == (size == 256)


@pytest.mark.parametrize("size", [16, 48, 96, 192, 256])
def test_srgan_takes_every_multiple_of_16(size: int):
    network = SRGANDiscriminator(num_feat=2, input_size=size)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 1)


@pytest.mark.parametrize(("num_feat", "size"), [(64, 96), (64, 192), (64, 256), (16, 128)])
def test_srgan_layout_is_that_of_edsr_pytorch(num_feat: int, size: int):
    """Key names and shapes written out from the published layer table: widths 1 1 2 2 4 4 8 8, then two layers."""
    with torch.device("meta"):
        state = SRGANDiscriminator(num_feat, size).state_dict()
    widths = [num_feat * m for m in (1, 1, 2, 2, 4, 4, 8, 8)]
    expected = {}
    for layer, (before, width) in enumerate(zip([3, *widths], widths, strict=False)):
        expected[f"features.{layer}.0.weight"] = (width, before, 3, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"features.{layer}.1.{part}"] = (width,)
        expected[f"features.{layer}.1.num_batches_tracked"] = ()
    hidden = 1024 * num_feat // 64
    expected |= {"classifier.0.weight": (hidden, 8 * num_feat * (size // 16) ** 2), "classifier.0.bias": (hidden,)}
    expected |= {"classifier.2.weight": (1, hidden), "classifier.2.bias": (1,)}
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_srgan_does_not_mind_the_pixel_range():
    network = SRGANDiscriminator(num_feat=4, input_size=32)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(255 * x), network(x), atol=0.01)


@pytest.mark.parametrize("size", [0, 32, 63, 80, 130])
def test_vggstyle_refuses_other_sizes(size: int):
    with pytest.raises(MasksrError, match=f"multiple of 32.*not {size}"):
        VGGStyleDiscriminator(input_size=size)


@pytest.mark.parametrize("size", [0, 8, 100])
def test_srgan_refuses_other_sizes(size: int):
    with pytest.raises(MasksrError, match=f"multiple of 16 pixels, not {size}"):
        SRGANDiscriminator(input_size=size)


@pytest.mark.parametrize("network", [VGGStyleDiscriminator(2, 64), SRGANDiscriminator(2, 64)], ids=["vgg", "srgan"])
@pytest.mark.parametrize("shape", [(1, 3, 96, 96), (1, 3, 64, 96), (1, 1, 64, 64), (3, 64, 64)])
def test_discriminators_refuse_an_image_of_another_size(network: nn.Module, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"made for images \(B, 3, 64, 64\)"):
        network(torch.rand(shape))
