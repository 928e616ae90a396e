"""One training step, before and with the GAN: figure 3 and equations 10-12 of the paper.

Both steps take the gradient with respect to the SR image first and send it through the generator once. That way the
parts stay apart until they are added, in one fixed order: a mask of ones gives, bit for bit, what the plain variant
gives.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masksr import losses
from masksr.mask import MaskSettings, mask_of, what_the_discriminator_sees
from masksr.params import Loss

Metrics = dict[str, Tensor]
Autocast = Callable[[], torch.autocast]


def distance_step(generator: nn.Module, lr: Tensor, hr: Tensor, *, kind: str, autocast: Autocast) -> Metrics:
    """Leave the gradient of the L1 or squared distance in ``generator``'s parameters.

    lr: (B, 3, h, w), hr: (B, 3, H, W), in the generator's pixel range.
    """
    with autocast():
        sr = generator(lr)
    loss = (F.l1_loss if kind == "l1" else F.mse_loss)(sr.to(hr.dtype), hr)
    loss.backward()
    return {"loss_g": loss.detach(), kind: loss.detach()}


def content_loss(
    sr: Tensor, hr: Tensor, vgg: nn.Module | None, loss: Loss, pixel_range: float
) -> tuple[Tensor, Metrics]:
    """The terms of equations 10-12 that need no discriminator, weighted and summed.

    sr, hr: (B, 3, H, W) in [0, ``pixel_range``]; VGG sees them in [0, 1]. Terms of weight 0 are not computed.
    """
    total, parts = sr.new_zeros(()), {}
    if loss.vgg54:
        with torch.no_grad():
            target = vgg(hr / pixel_range)
        parts["vgg54"] = losses.vgg54_distance(vgg(sr / pixel_range), target, loss.vgg54_distance)
        total = total + loss.vgg54 * parts["vgg54"]
    if loss.l1:
        parts["l1"] = F.l1_loss(sr, hr)
        total = total + loss.l1 * parts["l1"]
    if loss.tv:
        parts["tv"] = losses.total_variation(sr)
        total = total + loss.tv * parts["tv"]
    return total, {name: value.detach() for name, value in parts.items()}


def adversarial_step(
    generator: nn.Module,
    discriminator: nn.Module,
    vgg: nn.Module | None,
    lr: Tensor,
    hr: Tensor,
    *,
    loss: Loss,
    mask: MaskSettings,
    pixel_range: float,
    autocast: Autocast,
    rng: torch.Generator | None = None,
) -> Metrics:
    """Leave the gradients of the generator's and the discriminator's loss in their parameters.

    lr: (B, 3, h, w), hr: (B, 3, H, W), in [0, ``pixel_range``]. The discriminator is not updated between its own
    part and the generator's, so one forward pass on each image serves both (the public ESRGAN step takes five).
    """
    with autocast():
        sr = generator(lr)
    image = sr.detach().to(hr.dtype).requires_grad_()  # leaves bf16 here

    with autocast():
        content, parts = content_loss(image, hr, vgg, loss, pixel_range)
    gradient = torch.autograd.grad(content, image)[0] if content.requires_grad else torch.zeros_like(image)

    m = mask_of(mask, image, hr, pixel_range=pixel_range, rng=rng)
    masked_sr, masked_hr = what_the_discriminator_sees(image, hr, m, mask.apply)
    fake, real = masked_sr.detach().requires_grad_(), masked_hr.detach()
    with autocast():
        logit_fake, logit_real = discriminator(fake), discriminator(real)

    gan = losses.generator_loss(loss.gan_type, logit_real, logit_fake, loss.focal_gamma)
    at_discriminator = torch.autograd.grad(gan, fake, retain_graph=True)[0]
    through_mask = torch.autograd.grad(masked_sr, image, at_discriminator)[0]
    sr.backward((gradient + loss.gan * through_mask).to(sr.dtype))

    loss_d = losses.discriminator_loss(loss.gan_type, logit_real, logit_fake)
    loss_d.backward(inputs=list(discriminator.parameters()))

    m = m.detach()
    return {
        "loss_g": (content + loss.gan * gan).detach(),
        **parts,
        "gan": gan.detach(),
        "loss_d": loss_d.detach(),
        "d_real": logit_real.detach().mean(),
        "d_fake": logit_fake.detach().mean(),
        "mask_mean": m.mean(),
        "mask_saturated": ((m <= 0) | (m >= 1)).float().mean(),
    }
