"""The training step against the plain equations, a mask of ones against none, and what expects its error."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_trainings import mask, small
from torch import Tensor, nn

from masksr.models.build import build_discriminator, build_generator
from masksr.models.vgg import random_vgg19
from masksr.params import Loss, Mask
from masksr.training.mask import error_mask, expectation_loss, squared_error
from masksr.training.step import adversarial_step

FP32 = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)


def networks(name: str) -> tuple[nn.Module, nn.Module, nn.Module, Loss]:
    recipe = small().models[name]
    g = build_generator(recipe.generator, 4, seed=0)
    return g, build_discriminator(recipe.discriminator, 64, seed=0), random_vgg19(0.0625, seed=0), recipe.loss


def batch(pixel_range: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(3, 3, size, size, generator=rng) * pixel_range for size in (16, 64))


def reference_step(g, d, vgg, lr: Tensor, hr: Tensor, loss: Loss, mask: Mask) -> None:
    """The same step as the public toolboxes write it: a graph through everything, D run anew for each use."""
    sr = g(lr)
    m = error_mask(sr, hr, mask, pixel_range=g.pixel_range)
    bce = F.binary_cross_entropy_with_logits
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    fake, real = d(m * sr), d(m * hr).detach()
    if loss.gan_type == "relativistic_average":
        gan = (bce(fake - real.mean(), one) + bce(real - fake.mean(), zero)) / 2
    elif loss.gan_type == "relativistic_pairwise":
        p = torch.sigmoid(fake - real)
        gan = (-(1 - p) * torch.log(p)).mean()
    else:
        gan = bce(fake, one)
    distance = F.l1_loss if loss.vgg54_distance == "l1" else F.mse_loss
    total = loss.gan * gan + loss.l1 * (sr - hr).abs().mean()
    total = total + loss.vgg54 * distance(vgg(sr / g.pixel_range), vgg(hr / g.pixel_range))
    tv = (sr[..., 1:] - sr[..., :-1]).abs().sum() + (sr[..., 1:, :] - sr[..., :-1, :]).abs().sum()
    total = total + loss.tv * tv
    g.zero_grad()
    total.backward()
    d.zero_grad()
    sr, m = sr.detach(), m.detach()
    fake, real = d(m * sr), d(m * hr)
    if loss.gan_type == "relativistic_average":
        (bce(real - fake.detach().mean(), one) / 2).backward()
        fake = d(m * sr)
        (bce(fake - d(m * hr).detach().mean(), zero) / 2).backward()
    elif loss.gan_type == "relativistic_pairwise":
        bce(real - fake, one).backward()
    else:
        (bce(real, one) + bce(fake, zero)).backward()


def gradients(*modules: nn.Module) -> list[Tensor]:
    return [p.grad for module in modules for p in module.parameters() if p.requires_grad]


MASKS = {
    "plain": Mask(kind="none"),
    "mask": mask(error_range="255"),
    "mask with gradient": mask(error_range="1", k=1.0, b=0.2, detach=False),
}


@pytest.mark.parametrize("of", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_gradients_are_those_of_the_plain_equations(name: str, of: Mask) -> None:
    g, d, vgg, loss = networks(name)
    g, d, vgg = g.double(), d.double(), vgg.double()  # so that only a different equation can differ
    lr, hr = (x.double() for x in batch(g.pixel_range))
    g2, d2 = copy.deepcopy(g), copy.deepcopy(d)
    adversarial_step(g, d, vgg, lr, hr, loss=loss, mask=of, pixel_range=g.pixel_range, autocast=FP32)
    reference_step(g2, d2, vgg, lr, hr, loss, of)
    for mine, reference in zip(gradients(g, d), gradients(g2, d2), strict=True):
        assert (mine - reference).abs().max() <= 1e-10 * reference.abs().max() + 1e-15


def take_step(name: str, of: Mask) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Of one step: what it says but for the mask, and all that it leaves."""
    g, d, vgg, loss = networks(name)
    options = {"loss": loss, "mask": of, "pixel_range": g.pixel_range, "autocast": FP32}
    metrics = adversarial_step(g, d, vgg, *batch(g.pixel_range), **options)
    metrics = {k: v for k, v in metrics.items() if not k.startswith("mask")}
    return metrics, [*gradients(g, d), *d.state_dict().values()]


@pytest.mark.parametrize("apply", ["both", "sr", "gradient"])
@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_k_0_and_b_1_is_the_plain_variant_to_the_last_bit(name: str, apply: str) -> None:
    plain = take_step(name, Mask(kind="none"))
    ones = take_step(name, mask(error_range="255", k=0.0, b=1.0, apply=apply))
    assert plain[0] == ones[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], ones[1], strict=True))


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=20))
def test_the_loss_is_least_at_the_mean_of_the_errors(errors: list[float]) -> None:
    error = torch.tensor(errors, dtype=torch.float64)
    guesses = error.mean(), 1.1 * error.mean(), 0.9 * error.mean(), error.median() * 2
    at_mean, *others = (expectation_loss(torch.full_like(error, math.log(guess)), error) for guess in guesses)
    assert all(at_mean <= other + 1e-12 for other in others)


@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_a_step_with_it_is_the_step_with_the_error_it_expects(name: str) -> None:
    torch.manual_seed(0)
    g, d, vgg, loss = networks(name)
    lr, hr = batch(g.pixel_range)
    found = []
    for kind in ("error", "expected"):
        copies, of = [copy.deepcopy(network) for network in (g, d)], mask(kind, error_range="255")
        with torch.no_grad():
            oracle = Oracle((squared_error(g(lr), hr, of) / g.pixel_range**2).log())
        options = {"loss": loss, "mask": of, "pixel_range": g.pixel_range, "autocast": FP32}
        expects = oracle if kind == "expected" else None
        step = adversarial_step(*copies, vgg, lr, hr, **options, expectation=expects)
        found.append(gradients(*copies))
        assert ("expectation" in step) == (kind == "expected")
        assert (oracle.log_error.grad is not None) == (kind == "expected")
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm() + 1e-7


class Oracle(torch.nn.Module):
    def __init__(self, log_error: torch.Tensor) -> None:
        super().__init__()
        self.log_error = torch.nn.Parameter(log_error)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.log_error
