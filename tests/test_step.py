"""The training step against the plain equations, and the mask of ones against no mask at all."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from small_trainings import small
from torch import Tensor, nn

from masksr.models.checkpoints import build_discriminator, build_generator
from masksr.models.vgg import random_vgg19
from masksr.params import Loss, Mask
from masksr.training.mask import error_mask
from masksr.training.step import adversarial_step, distance_step

FP32 = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
MASK = {"k": 0.2, "b": 0.5, "error_range": "255", "window": 1, "per_channel": False, "apply": "both", "detach": True}


def networks(name: str) -> tuple[nn.Module, nn.Module, nn.Module, Loss]:
    recipe = small().models[name]
    g = build_generator(recipe.generator, 4, seed=0)
    return g, build_discriminator(recipe.discriminator, 64, seed=0), random_vgg19(0.0625, seed=0), recipe.loss


def batch(pixel_range: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(3, 3, size, size, generator=rng) * pixel_range for size in (16, 64))


def reference_step(g: nn.Module, d: nn.Module, vgg: nn.Module, lr: Tensor, hr: Tensor, loss: Loss, mask: Mask) -> None:
    """The same step as the public toolboxes write it: a graph through everything, D run anew for each use."""
    sr = g(lr)
    m = error_mask(sr, hr, mask, pixel_range=g.pixel_range)
    bce = F.binary_cross_entropy_with_logits
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    fake, real = d(m * sr), d(m * hr)
    if loss.gan_type == "relativistic_average":
        real = real.detach()
        gan = (bce(fake - real.mean(), one) + bce(real - fake.mean(), zero)) / 2
    elif loss.gan_type == "relativistic_pairwise":
        p = torch.sigmoid(fake - real)
        gan = (-(1 - p) * torch.log(p)).mean()
    else:
        gan = bce(fake, one)
    distance = F.l1_loss if loss.vgg54_distance == "l1" else F.mse_loss
    total = loss.gan * gan + loss.l1 * (sr - hr).abs().mean()
    total = total + loss.vgg54 * distance(vgg(sr / g.pixel_range), vgg(hr / g.pixel_range))
    total = total + loss.tv * (
        (sr[..., 1:] - sr[..., :-1]).abs().sum() + (sr[..., 1:, :] - sr[..., :-1, :]).abs().sum()
    )
    g.zero_grad()
    total.backward()

    d.zero_grad()
    sr = sr.detach()
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


@pytest.mark.parametrize("mask", [Mask(kind="none"), Mask(kind="error", **MASK)], ids=["plain", "mask"])
@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_gradients_are_those_of_the_plain_equations(name: str, mask: Mask) -> None:
    g, d, vgg, loss = networks(name)
    g, d, vgg = g.double(), d.double(), vgg.double()  # so that only a different equation can differ
    lr, hr = (x.double() for x in batch(g.pixel_range))
    g2, d2 = copy.deepcopy(g), copy.deepcopy(d)
    adversarial_step(g, d, vgg, lr, hr, loss=loss, mask=mask, pixel_range=g.pixel_range, autocast=FP32)
    reference_step(g2, d2, vgg, lr, hr, loss, mask)
    for mine, reference in zip(gradients(g, d), gradients(g2, d2), strict=True):
        assert (mine - reference).abs().max() <= 1e-10 * reference.abs().max() + 1e-15


def train(name: str, mask: Mask, steps: int = 4) -> tuple[list[dict[str, float]], list[Tensor]]:
    g, d, vgg, loss = networks(name)
    g, d = (n.to(memory_format=torch.channels_last) for n in (g, d))
    optimizers = [torch.optim.Adam([p for p in n.parameters() if p.requires_grad], 1e-3, fused=True) for n in (g, d)]
    seen = []
    for step in range(steps):
        lr, hr = (x.contiguous(memory_format=torch.channels_last) for x in batch(g.pixel_range, step))
        for optimizer in optimizers:
            optimizer.zero_grad()
        metrics = adversarial_step(
            g, d, vgg, lr, hr, loss=loss, mask=mask, pixel_range=g.pixel_range, autocast=FP32,
            rng=torch.Generator().manual_seed(step),
        )  # fmt: skip
        seen.append({k: v.item() for k, v in metrics.items() if not k.startswith("mask")})
        seen[-1] |= {f"gradient {n}": t.sum().item() for n, t in enumerate(gradients(g, d))}
        for optimizer in optimizers:
            optimizer.step()
    return seen, [p.detach() for n in (g, d) for p in n.state_dict().values()]


@pytest.mark.parametrize("apply", ["both", "sr", "gradient"])
@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_k_0_and_b_1_is_the_plain_variant_to_the_last_bit(name: str, apply: str) -> None:
    plain = train(name, Mask(kind="none"))
    ones = train(name, Mask(kind="error", **MASK | {"k": 0.0, "b": 1.0, "apply": apply}))
    assert plain[0] == ones[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], ones[1], strict=True))


def test_a_mask_with_gradient_is_the_derivative_of_the_masked_loss() -> None:
    """By finite differences in one weight of the generator, in double precision."""
    g, d, _, loss = networks("edsr")
    loss = loss.model_copy(update={"vgg54": 0.0, "l1": 0.0, "gan": 1.0})
    g, d = g.double(), d.double()
    lr, hr = (x.double() for x in batch(255.0))
    mask = Mask(kind="error", **MASK | {"error_range": "1", "k": 1.0, "detach": False, "b": 0.2})

    def value() -> float:
        sr = g(lr)
        m = (mask.k * ((sr - hr) / 255).square().mean(1, keepdim=True) + mask.b).clamp(0, 1)
        return F.binary_cross_entropy_with_logits(d(m * sr), torch.ones(3, 1).double()).item()

    adversarial_step(g, d, None, lr, hr, loss=loss, mask=mask, pixel_range=255.0, autocast=FP32)
    weight = g.state_dict(keep_vars=True)["tail.1.bias"]
    with torch.no_grad():
        weight[0] += 1e-6
        up = value()
        weight[0] -= 2e-6
        down = value()
    assert weight.grad[0].item() == pytest.approx((up - down) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_the_distance_step_is_the_gradient_of_the_distance(kind: str) -> None:
    g, *_ = networks("pesr")
    lr, hr = batch(255.0)
    metrics = distance_step(g, lr, hr, kind=kind, autocast=FP32)
    mine = [t.clone() for t in gradients(g)]
    g.zero_grad()
    difference = g(lr) - hr
    (difference.abs().mean() if kind == "l1" else (difference**2).mean()).backward()
    for a, b in zip(mine, gradients(g), strict=True):
        torch.testing.assert_close(a, b)
    assert metrics["loss_g"] == metrics[kind]
