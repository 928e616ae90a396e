"""The parts of equations 10-12: GAN terms, the VGG54 distance, total variation (L1 is torch's ``l1_loss``).

Logits are those of the discriminator for real (HR) and fake (SR) images; D(x) below is a logit, s the
sigmoid, E the mean over the batch. With BCE(x, 1) = -log s(x) = softplus(-x) and BCE(x, 0) = -log(1 - s(x)) =
softplus(x), every term is written in softplus, which stays finite for any logit. Everything is computed in
float32, even under autocast.

Where the logits are a share of a batch (``data.batch_share``), ``mean`` averages over the whole batch.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import softplus

GanType = Literal["relativistic_average", "relativistic_pairwise", "standard"]
Distance = Literal["l1", "mse"]
Mean = Callable[[Tensor], Tensor]  # over the whole batch, where the tensor holds a share of it


def generator_loss(
    kind: GanType, real: Tensor, fake: Tensor, focal_gamma: float = 0.0, *, mean: Mean = torch.mean
) -> Tensor:
    """Compute the generator's GAN term: a scalar from the logits ``real`` and ``fake``, (B, 1) each.

    ``relativistic_average`` (ESRGAN)::

        (E[BCE(D(real) - E[D(fake)], 0)] + E[BCE(D(fake) - E[D(real)], 1)]) / 2

    ``relativistic_pairwise`` (PESR), with p = s(D(fake) - D(real)) and the focal weight of ``focal_gamma``,
    which plays down pairs that already deceive; gradient flows through it, as it did in the PyTorch that PESR
    was written for::

        E[-(1 - p)^focal_gamma log p]

    ``standard`` (EDSR)::

        E[BCE(D(fake), 1)]

    No gradient flows to ``real``.
    """
    real, fake = _float32(real.detach()), _float32(fake)
    if kind == "relativistic_average":
        return (softplus(real - mean(fake)).mean() + softplus(mean(real) - fake).mean()) / 2
    if kind == "relativistic_pairwise":
        lead = fake - real
        # (1 - p)^gamma = s(-lead)^gamma, computed without the power, which underflows
        focal = torch.exp(-focal_gamma * softplus(lead))
        return (focal * softplus(-lead)).mean()
    return softplus(-fake).mean()


def discriminator_loss(kind: GanType, real: Tensor, fake: Tensor, *, mean: Mean = torch.mean) -> Tensor:
    """Compute the discriminator's loss: a scalar from the logits ``real`` and ``fake``, (B, 1) each.

    ``relativistic_average`` (ESRGAN); means are constants, as in BasicSR, which trains the halves apart::

        (E[BCE(D(real) - E[D(fake)], 1)] + E[BCE(D(fake) - E[D(real)], 0)]) / 2

    ``relativistic_pairwise`` (PESR)::

        E[BCE(D(real) - D(fake), 1)]

    ``standard`` (EDSR)::

        E[BCE(D(real), 1)] + E[BCE(D(fake), 0)]
    """
    real, fake = _float32(real), _float32(fake)
    if kind == "relativistic_average":
        return (softplus(mean(fake).detach() - real).mean() + softplus(fake - mean(real).detach()).mean()) / 2
    if kind == "relativistic_pairwise":
        return softplus(fake - real).mean()
    return softplus(-real).mean() + softplus(fake).mean()


def vgg54_distance(features_sr: Tensor, features_hr: Tensor, kind: Distance) -> Tensor:
    """Compute the mean absolute (ESRGAN) or squared (PESR, EDSR) difference of conv5_4 maps (B, C, h, w)."""
    distance = F.l1_loss if kind == "l1" else F.mse_loss
    return distance(_float32(features_sr), _float32(features_hr))


def total_variation(image: Tensor) -> Tensor:
    """Sum absolute differences of neighbouring pixels over batch, channels and pixels: equation 11's TV.

    image: (B, C, H, W). As in PESR's train.py it is a sum, while all other terms are means: its share grows
    with patch and batch. PESR's weight of 1e-6 is meant for LR patches of 24 and a batch of 16 in [0, 255];
    at 64, which the paper names beside it, it weighs (64 / 24)² = 7.1 times as much.
    """
    image = _float32(image)
    return image.diff(dim=-1).abs().sum() + image.diff(dim=-2).abs().sum()


def _float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
