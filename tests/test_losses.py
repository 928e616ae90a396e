"""The loss terms: golden values of the public implementations, gradients by other expressions, limits."""

import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from masksr.training.losses import discriminator_loss, generator_loss, total_variation, vgg54_distance

KINDS = ("relativistic_average", "relativistic_pairwise", "standard")
LOGITS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-30, 30, width=32), min_size=n, max_size=n)] * 2)
)


def column(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype).view(-1, 1)


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


@pytest.mark.parametrize(
    ("model", "kind", "gamma"), [("esrgan", KINDS[0], 0.0), ("pesr", KINDS[1], 1.0), ("edsr", KINDS[2], 0.0)],
)
def test_values_are_those_of_the_public_implementations(golden, model: str, kind: str, gamma: float):
    reference = json.loads(golden("losses.json").read_text())
    real, fake = (column(reference[name], torch.float32) for name in ("real", "fake"))
    expected = reference[model]["generator"], reference[model]["discriminator"]
    assert generator_loss(kind, real, fake, gamma).item() == pytest.approx(expected[0], rel=1e-6)
    assert discriminator_loss(kind, real, fake).item() == pytest.approx(expected[1], rel=1e-6)


def test_total_variation_is_that_of_pesr(golden):
    expected = json.loads(golden("losses.json").read_text())["total_variation"]["value"]
    image = load_file(golden("total_variation.safetensors"))["input"]
    assert total_variation(image).item() == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(logits=LOGITS)
@pytest.mark.parametrize("kind", KINDS)
def test_generator_gradient_equals_that_of_the_formula_in_probabilities(kind: str, logits):
    real, fake = (column(values).clamp(-6, 6) for values in logits)  # probabilities lose digits near 0 and 1
    ours, theirs = fake.clone().requires_grad_(), fake.clone().requires_grad_()
    generator_loss(kind, real, ours).backward()
    if kind == "relativistic_average":
        loss = (bce(real - theirs.mean(), 0.0) + bce(theirs - real.mean(), 1.0)) / 2
    else:
        loss = bce(theirs - real, 1.0) if kind == "relativistic_pairwise" else bce(theirs, 1.0)
    loss.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1e2, 1e30])
def test_extreme_logits_stay_finite(kind: str, size: float):
    gamma = 0.5 if kind == "relativistic_pairwise" else 0.0
    for sign in (-1, 1):
        real = torch.full((2, 1), sign * size, requires_grad=True)
        fake = torch.full((2, 1), -sign * size, requires_grad=True)
        g, d = generator_loss(kind, real, fake, gamma), discriminator_loss(kind, real, fake)
        (g + d).backward()
        assert torch.isfinite(torch.stack([g, d])).all()
        assert torch.isfinite(torch.cat([real.grad, fake.grad])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_float32_under_autocast(kind: str):
    def losses(real: Tensor, fake: Tensor) -> list[Tensor]:
        image, other = real.view(1, 1, 4, 4), fake.view(1, 1, 4, 4)
        of_images = [vgg54_distance(image, other, kind) for kind in ("l1", "mse")] + [total_variation(image)]
        return [generator_loss(kind, real, fake), discriminator_loss(kind, real, fake), *of_images]

    real, fake = torch.randn(2, 16, 1, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(real, fake)
    for value, exact in zip(found, losses(real.double(), fake.double()), strict=True):
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact.item(), rel=1e-6)
