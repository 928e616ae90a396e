"""VGG19's features: torchvision's own, frozen; from a file or at random."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from masksr.models.vgg import VGG19Features, load_vgg19, random_vgg19


def image(side: int = 48, batch: int = 2) -> Tensor:
    """Noise with long waves in it, in [0, 1]."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(batch, 3, 6, 6, generator=rng), size=side, mode="bicubic")
    return (coarse + 0.1 * torch.randn(batch, 3, side, side, generator=rng)).clamp(0, 1)


@pytest.fixture(scope="module")
def vgg() -> VGG19Features:
    return random_vgg19(1.0, seed=0)


def test_same_features_as_torchvision(vgg: VGG19Features):
    with torch.device("meta"):
        reference = torchvision.models.vgg19(weights=None).features[:35]  # up to conv5_4
    reference.to_empty(device="cpu").load_state_dict(
        {key.removeprefix("features."): value for key, value in vgg.state_dict().items()}, strict=True
    )
    x = image().requires_grad_()
    normalised = torchvision.transforms.functional.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = reference(normalised)
    found = vgg(x)
    assert found.shape == (2, 512, 3, 3)
    assert (found - expected).abs().max() / expected.abs().max() < 1e-5
    assert (found < 0).any(), "features are those before the ReLU"
    found.square().mean().backward()
    assert all(p.grad is None for p in vgg.parameters()) and x.grad.abs().sum() > 0


def test_load(vgg: VGG19Features, tmp_path: Path):
    state = vgg.state_dict()
    torch.save(state | {"classifier.0.weight": torch.ones(2, 2)}, tmp_path / "g.pth")
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "half.safetensors")
    whole, half = load_vgg19(tmp_path / "g.pth").state_dict(), load_vgg19(tmp_path / "half.safetensors").state_dict()
    for key, value in state.items():
        assert torch.equal(whole[key], value)
        torch.testing.assert_close(half[key], value, rtol=1e-3, atol=1e-6)
