"""The mask, the losses and the step against plain formulas and golden values; what must hold for every image."""

import copy
import json
import math
from functools import partial
from itertools import product
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_trainings import paper_mask, small
from torch import Tensor, nn

from masksr.models.build import build_discriminator, build_generator
from masksr.models.vgg import random_vgg19
from masksr.params import Loss, Mask
from masksr.training.losses import discriminator_loss, generator_loss, total_variation, vgg54_distance
from masksr.training.mask import apply_mask, error_mask, expectation_loss, squared_error
from masksr.training.step import adversarial_step

FP32 = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
KINDS = ("relativistic_average", "relativistic_pairwise", "standard")
LOGITS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-30, 30, width=32), min_size=n, max_size=n)] * 2)
)


def pair(seed: int = 0, size: int = 9, pixel_range: float = 1.0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, 3, size, size + 2, generator=rng) * pixel_range for _ in range(2))


def masked(sr: Tensor, hr: Tensor, pixel_range=1.0, rng: torch.Generator | None = None, **changes) -> Tensor:
    return error_mask(sr, hr, paper_mask(**changes), pixel_range=pixel_range, rng=rng)


@given(k=st.floats(0, 10), b=st.floats(-0.5, 1), seed=st.integers(0, 50), per_channel=st.booleans())
def test_it_is_equation_8(k: float, b: float, seed: int, per_channel: bool) -> None:
    sr, hr = pair(seed)
    error = (sr.double().numpy() - hr.double().numpy()) ** 2
    if not per_channel:
        error = error.sum(axis=1, keepdims=True) / 3
    found = masked(sr, hr, k=k, b=b, per_channel=per_channel).numpy()
    np.testing.assert_allclose(found, np.minimum(np.maximum(k * error + b, 0), 1), atol=1e-5)


@given(k=st.floats(0.01, 100), seed=st.integers(0, 20))
def test_k_on_255_is_k_on_1_over_255_squared(k: float, seed: int) -> None:
    sr, hr = pair(seed)
    expected = masked(sr, hr, k=k, b=0.2, error_range="1", pixel_range=1.0)
    same = [
        masked(sr, hr, k=k / 255**2, b=0.2, error_range="255", pixel_range=1.0),
        masked(255 * sr, 255 * hr, k=k / 255**2, b=0.2, error_range="native", pixel_range=255.0),
        masked(255 * sr, 255 * hr, k=k, b=0.2, error_range="1", pixel_range=255.0),
    ]
    for mask in same:
        torch.testing.assert_close(mask, expected, atol=1e-5, rtol=1e-4)


def test_relative_error_does_not_know_the_pixel_range() -> None:
    sr, hr = pair()
    one = masked(sr, hr, k=0.3, b=0.1, error_range="relative")
    torch.testing.assert_close(one, masked(255 * sr, 255 * hr, k=0.3, b=0.1, error_range="relative"))
    assert masked(hr, hr, k=0.3, b=0.1, error_range="relative").unique().tolist() == pytest.approx([0.1])


def test_a_window_is_the_mean_of_the_neighbours_inside_the_image() -> None:
    sr, hr = pair()
    error = (sr - hr).square().mean(dim=1)
    mask = masked(sr, hr, k=1.0, b=0.0, window=3)
    assert mask[0, 0, 4, 5].item() == pytest.approx(error[0, 3:6, 4:7].mean().item(), rel=1e-5)
    assert mask[1, 0, 0, 0].item() == pytest.approx(error[1, :2, :2].mean().item(), rel=1e-5)


@given(seed=st.integers(0, 20), per_channel=st.booleans())
def test_controls_keep_the_mean_and_the_values(seed: int, per_channel: bool) -> None:
    sr, hr = pair(seed)
    mask = masked(sr, hr, per_channel=per_channel)
    constant = masked(sr, hr, kind="constant", per_channel=per_channel)
    torch.testing.assert_close(constant.mean(dim=(1, 2, 3)), mask.mean(dim=(1, 2, 3)))
    assert constant.std(dim=(1, 2, 3)).max() < 1e-6
    rng = torch.Generator().manual_seed(seed)
    shuffled = masked(sr, hr, rng=rng, kind="shuffled", per_channel=per_channel)
    assert shuffled.shape == mask.shape and not torch.equal(shuffled, mask)
    assert torch.equal(shuffled.flatten(2).sort(dim=2)[0], mask.flatten(2).sort(dim=2)[0])


def test_apply_mask() -> None:
    sr, hr = pair()
    mask = masked(sr, hr, k=1.0, b=0.1)
    sr.requires_grad_()
    fake, real = apply_mask(sr, hr, mask, "both")
    assert torch.equal(fake, mask * sr) and torch.equal(real, mask * hr)
    fake, real = apply_mask(sr, hr, mask, "sr")
    assert torch.equal(fake, mask * sr) and torch.equal(real, hr)
    fake, real = apply_mask(sr, hr, mask, "gradient")
    assert torch.equal(fake, sr) and torch.equal(real, hr)
    fake.sum().backward()
    torch.testing.assert_close(sr.grad, mask.expand_as(sr))
    half = sr.detach().bfloat16().requires_grad_()  # as an autocast of one's own leaves it
    apply_mask(half, hr, mask, "gradient")[0].sum().backward()
    torch.testing.assert_close(half.grad, mask.expand_as(sr).bfloat16())


@pytest.mark.parametrize(("model", "blind"), [("esrgan", False), ("pesr", True), ("edsr", True)])
def test_a_constant_mask_is_lost_in_batch_normalisation_but_not_in_vgg_style(model: str, blind: bool) -> None:
    """SRGAN's discriminator has no bias before its first normalisation: G's gradient does not become smaller."""
    g, d, _, loss = networks(model)
    d = d.double()
    lr, hr = (x.double() for x in batch(g.pixel_range))
    sr = F.interpolate(lr, scale_factor=4, mode="bicubic").requires_grad_()
    found = {}
    for apply, m in product(("both", "sr", "gradient"), (1.0, 0.5, 0.1)):
        fake, real = apply_mask(sr, hr, torch.full_like(hr[:, :1], m), apply)
        logits = torch.cat([d(real), d(fake)])
        gan = generator_loss(loss.gan_type, *logits.chunk(2), loss.focal_gamma)
        found[apply, m] = logits, torch.autograd.grad(gan, sr)[0]
    one = found["both", 1.0]
    for apply, m in product(("both", "sr"), (0.5, 0.1)):
        differs = [((x - y).norm() / y.norm()).item() for x, y in zip(found[apply, m], one, strict=True)]
        assert max(differs) < 1e-5 if blind else min(differs) > 0.01, (apply, m, differs)
    torch.testing.assert_close(found["gradient", 0.1], (one[0], 0.1 * one[1]))


@pytest.mark.parametrize("per_channel", [False, True])
@given(b=st.floats(0.02, 0.98), seed=st.integers(0, 50))
def test_random_has_the_mean_and_nothing_else_of_the_mask(per_channel: bool, b: float, seed: int) -> None:
    sr, hr = pair(seed, size=60)
    rng = torch.Generator().manual_seed(seed)
    of = paper_mask(kind="random", b=b, per_channel=per_channel)
    found, mask = error_mask(sr, hr, of, rng=rng), masked(sr, hr, b=b, per_channel=per_channel)
    assert found.shape == mask.shape and (found >= 0).all() and (found <= 1).all()
    assert (found.mean((1, 2, 3)) - mask.mean((1, 2, 3))).abs().max() < 0.05
    assert torch.equal(found, error_mask(sr, hr, of, rng=torch.Generator().manual_seed(seed)))


def column(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype).view(-1, 1)


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


def in_probabilities(kind: str, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    """The loss of G as the papers have it."""
    if kind == "relativistic_average":
        return (bce(real - fake.mean(), 0.0) + bce(fake - real.mean(), 1.0)) / 2
    p = torch.sigmoid(fake if kind == "standard" else fake - real)
    return (-((1 - p) ** gamma) * p.log()).mean()


@pytest.mark.parametrize(("model", "kind", "gamma"), [
    ("esrgan", KINDS[0], 0.0), ("pesr", KINDS[1], 1.0), ("edsr", KINDS[2], 0.0),
])
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
@pytest.mark.parametrize(("kind", "gamma"), [(kind, 0.0) for kind in KINDS] + [("relativistic_pairwise", 1.0)])
def test_generator_gradient_equals_that_of_the_formula_in_probabilities(kind: str, gamma: float, logits):
    real, fake = (column(values).clamp(-6, 6) for values in logits)  # probabilities lose digits near 0 and 1
    ours, theirs = fake.clone().requires_grad_(), fake.clone().requires_grad_()
    generator_loss(kind, real, ours, gamma).backward()
    in_probabilities(kind, real, theirs, gamma).backward()
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
    fake, real = d(m * sr), d(m * hr).detach()
    gan = in_probabilities(loss.gan_type, real, fake, loss.focal_gamma)
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
        (bce(real - fake.detach().mean(), 1.0) / 2).backward()
        fake = d(m * sr)
        (bce(fake - d(m * hr).detach().mean(), 0.0) / 2).backward()
    elif loss.gan_type == "relativistic_pairwise":
        bce(real - fake, 1.0).backward()
    else:
        (bce(real, 1.0) + bce(fake, 0.0)).backward()


def gradients(*modules: nn.Module) -> list[Tensor]:
    return [p.grad for module in modules for p in module.parameters() if p.requires_grad]


MASKS = {
    "plain": Mask(kind="none"),
    "mask": paper_mask(error_range="255"),
    "mask with gradient": paper_mask(error_range="1", k=1.0, b=0.2, detach=False),
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
    ones = take_step(name, paper_mask(error_range="255", k=0.0, b=1.0, apply=apply))
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
        copies, of = [copy.deepcopy(network) for network in (g, d)], paper_mask(kind, error_range="255")
        with torch.no_grad():
            log_error = (squared_error(g(lr), hr, of) / g.pixel_range**2).log().requires_grad_()
        options = {"loss": loss, "mask": of, "pixel_range": g.pixel_range, "autocast": FP32}
        oracle = Mock(return_value=log_error) if kind == "expected" else None
        step = adversarial_step(*copies, vgg, lr, hr, **options, expectation=oracle)
        found.append(gradients(*copies))
        assert ("expectation" in step) == (kind == "expected")
        assert (log_error.grad is not None) == (kind == "expected")
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm() + 1e-7
