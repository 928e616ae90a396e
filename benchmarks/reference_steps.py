"""Training steps as the public implementations write them: the same work in the same order, on our networks.

What they share, and what a plain reading of the papers leads to: fp32, NCHW, one graph through everything, the
discriminator run anew for each use, Adam as torch makes it by default, and every loss read at every step, for which a
GPU has to be waited for. None of their code is here. The networks are masksr's own, whose outputs equal theirs, so that
only the step is compared; sources:

- ``esrgan_step``: BasicSR's ESRGANModel, five discriminator passes and a Python loop for the moving average
- ``pesr_step``: PESR's train.py, four passes, a VGG19 that is never frozen, and a trained MeanShift
- ``edsr_step``: EDSR-PyTorch's Adversarial loss, three passes; the discriminator's weights get a gradient from the
  generator's loss too, which the next step throws away

PESR and EDSR-PyTorch update the discriminator before the generator's part, masksr after it: a difference of the
algorithm, not of the work. The tests compare gradients with an optimiser that takes no step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from masksr.params import Loss


@dataclass
class Networks:
    """What a step works on."""

    generator: nn.Module
    discriminator: nn.Module
    vgg: nn.Module
    loss: Loss

    def features(self, image: Tensor) -> Tensor:
        return self.vgg(image / self.generator.pixel_range)


Step = Callable[[Networks, Tensor, Tensor, Optimizer, Optimizer], dict[str, float]]
bce = F.binary_cross_entropy_with_logits


def esrgan_step(
    n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer
) -> dict[str, float]:
    """lr: (B, 3, h, w), hr: (B, 3, H, W), in the generator's pixel range. Returns the losses, as do the others."""
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    n.discriminator.requires_grad_(False)
    optimizer_g.zero_grad()
    sr = n.generator(lr)
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    vgg54 = n.loss.vgg54 * F.l1_loss(n.features(sr), n.features(hr))
    real, fake = n.discriminator(hr).detach(), n.discriminator(sr)
    gan = n.loss.gan * (bce(real - fake.mean(), zero) + bce(fake - real.mean(), one)) / 2
    loss_g = l1 + vgg54 + gan
    loss_g.backward()
    optimizer_g.step()

    n.discriminator.requires_grad_(True)
    optimizer_d.zero_grad()
    fake, real = n.discriminator(sr).detach(), n.discriminator(hr)
    loss_real = bce(real - fake.mean(), one) / 2
    loss_real.backward()
    fake = n.discriminator(sr.detach())
    loss_fake = bce(fake - real.detach().mean(), zero) / 2
    loss_fake.backward()
    optimizer_d.step()
    losses = {"l1": l1, "vgg54": vgg54, "gan": gan, "loss_g": loss_g, "real": loss_real, "fake": loss_fake}
    losses |= {"d_real": real.mean(), "d_fake": fake.mean()}
    found = {name: value.item() for name, value in losses.items()}
    return found | {"loss_d": found["real"] + found["fake"]}


def pesr_step(n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer) -> dict[str, float]:
    one = lr.new_ones(len(lr), 1)
    n.discriminator.requires_grad_(True)
    optimizer_d.zero_grad()
    real = n.discriminator(hr)
    sr = n.generator(lr)
    loss_d = bce(real - n.discriminator(sr.detach()), one)
    loss_d.backward()
    optimizer_d.step()

    n.discriminator.requires_grad_(False)
    optimizer_g.zero_grad()
    fake, real = n.discriminator(sr), n.discriminator(hr)
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    features = n.features(sr)
    with torch.no_grad():
        target = n.features(hr)
    vgg54 = n.loss.vgg54 * F.mse_loss(features, target)
    tv = (sr[..., 1:] - sr[..., :-1]).abs().sum() + (sr[..., 1:, :] - sr[..., :-1, :]).abs().sum()
    tv = n.loss.tv * tv
    p = torch.sigmoid(fake - real)
    gan = n.loss.gan * (-((1 - p) ** n.loss.focal_gamma) * F.logsigmoid(fake - real)).mean()
    loss_g = l1 + vgg54 + gan + tv
    loss_g.backward()
    optimizer_g.step()
    losses = {"l1": l1, "vgg54": vgg54, "gan": gan, "tv": tv, "loss_d": loss_d, "loss_g": loss_g}
    return {name: value.item() for name, value in losses.items()}


def edsr_step(n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer) -> dict[str, float]:
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    optimizer_g.zero_grad()
    sr = n.generator(lr)
    features = n.features(sr)
    with torch.no_grad():
        target = n.features(hr)
    vgg54 = n.loss.vgg54 * F.mse_loss(features, target)
    found = {"vgg54": vgg54.item()}

    optimizer_d.zero_grad()
    fake, real = n.discriminator(sr.detach()), n.discriminator(hr)
    loss_d = bce(real, one) + bce(fake, zero)
    found["loss_d"] = loss_d.item()
    loss_d.backward()
    optimizer_d.step()

    gan = n.loss.gan * bce(n.discriminator(sr), one)
    found["gan"] = gan.item()
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    found["l1"] = l1.item()
    loss_g = vgg54 + gan + l1
    found["loss_g"] = loss_g.item()
    loss_g.backward()
    optimizer_g.step()
    return found


STEPS: dict[str, Step] = {"esrgan": esrgan_step, "pesr": pesr_step, "edsr": edsr_step}


def as_published(model: str, n: Networks) -> None:
    """What gets gradients in the public code of ``model`` and not in masksr: in PESR's, VGG19 and the MeanShift."""
    if model == "pesr":
        n.vgg.requires_grad_(True)
        n.generator.requires_grad_(True)


class PublicTraining:
    """A step with its optimisers, and with ``ema`` (BasicSR: 0.999 for ESRGAN) the generator's moving average."""

    def __init__(self, model: str, networks: Networks, learning_rate: float, ema: float | None) -> None:
        as_published(model, networks)
        self.networks, self.ema, self._step = networks, ema, STEPS[model]
        self._optimizers = [
            torch.optim.Adam([p for p in n.parameters() if p.requires_grad], lr=learning_rate, betas=(0.9, 0.999))
            for n in (networks.generator, networks.discriminator)
        ]
        self.average = copy.deepcopy(networks.generator) if ema else None

    def step(self, lr: Tensor, hr: Tensor) -> dict[str, float]:
        losses = self._step(self.networks, lr, hr, *self._optimizers)
        if self.average is not None:
            new = dict(self.networks.generator.named_parameters())
            for name, value in self.average.named_parameters():
                value.data.mul_(self.ema).add_(new[name].data, alpha=1 - self.ema)
        return losses
