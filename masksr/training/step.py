"""One training step, before and with the GAN: figure 3 and equations 10-12 of the paper.

The step with the GAN takes gradients with respect to the SR image first and sends their sum through the
generator once. The parts thus stay apart until they are added, in one fixed order: a mask of ones gives, bit
for bit, what the plain variant gives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masksr.data.batch_share import WHOLE, Share
from masksr.params import Loss, Mask
from masksr.training import losses
from masksr.training.device import Autocast
from masksr.training.mask import apply_mask, error_mask, expectation_loss, squared_error

Metrics = dict[str, Tensor]


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
    sr: Tensor, hr: Tensor, vgg: nn.Module | None, loss: Loss, pixel_range: float, share: Share = WHOLE
) -> tuple[Tensor, Metrics]:
    """Compute the terms of equations 10-12 that need no discriminator, weighted and summed.

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
        # A sum over the batch, whereas gradients are averaged over shares: multiply by the number of shares.
        parts["tv"] = share.ranks * share.parts * losses.total_variation(sr)
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
    mask: Mask,
    pixel_range: float,
    autocast: Autocast,
    expectation: nn.Module | None = None,
    rng: torch.Generator | None = None,
    share: Share = WHOLE,
) -> Metrics:
    """Leave the gradients of the generator's and the discriminator's loss in their parameters.

    lr: (B, 3, h, w), hr: (B, 3, H, W), in [0, ``pixel_range``]. The discriminator is not updated between its
    own part and the generator's, so one forward pass on each image serves both (the public ESRGAN step takes
    five; PESR and EDSR-PyTorch update D first, so their G meets a D that is one update newer). expectation:
    the ErrorNetwork of a mask of kind ``expected``, which gets the gradient of its own loss.

    Where the images are a ``share`` of a batch, the mean of the gradients of all shares is that of the batch;
    what couples images (relativistic means, batch statistics, a relative error) spans all processes, but only
    one part.

    The graph is cut at two leaves, where gradients are handed on::

        lr -> generator -> sr | image -> content
                                image -> mask -> fake | fake -> discriminator -> gan
                                         hr, masked: real -> discriminator

        d gan / d fake,  through the mask: d gan / d image,  added to d content / d image,  into sr

    ``real`` gets no gradient: HR's logits are constants for the generator, even where its mask depends on SR
    (``detach: false``). ``apply: gradient`` scales the gradient on its way from ``fake`` to ``image``.
    """
    with autocast():
        sr = generator(lr)
    image = sr.detach().to(hr.dtype).requires_grad_()  # leaves bf16 here

    with autocast():
        content, parts = content_loss(image, hr, vgg, loss, pixel_range, share)
    gradient = torch.autograd.grad(content, image)[0] if content.requires_grad else torch.zeros_like(image)

    expected = None
    if expectation is not None:
        found = _expected_error(expectation, lr, image, hr, mask, pixel_range, autocast)
        expected, parts["expectation"] = found
    m = error_mask(image, hr, mask, pixel_range=pixel_range, expected=expected, rng=rng, share=share)  # eq. 8
    masked_sr, masked_hr = apply_mask(image, hr, m, mask.apply)  # figure 3
    fake, real = masked_sr.detach().requires_grad_(), masked_hr.detach()
    with autocast():
        logit_fake, logit_real = discriminator(fake), discriminator(real)

    gan = losses.generator_loss(loss.gan_type, logit_real, logit_fake, loss.focal_gamma, mean=share.mean)
    at_discriminator = torch.autograd.grad(gan, fake, retain_graph=True)[0]
    through_mask = torch.autograd.grad(masked_sr, image, at_discriminator)[0]
    sr.backward((gradient + loss.gan * through_mask).to(sr.dtype))

    loss_d = losses.discriminator_loss(loss.gan_type, logit_real, logit_fake, mean=share.mean)
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


def _expected_error(
    network: nn.Module, lr: Tensor, sr: Tensor, hr: Tensor, mask: Mask, pixel_range: float, autocast: Autocast
) -> tuple[Tensor, Tensor]:
    """Return the error that ``network`` expects at ``lr``, and its loss, whose gradient is left in it."""
    error = squared_error(sr.detach(), hr, mask) / pixel_range**2
    with autocast():
        log_expected = network(lr / pixel_range)
    loss = expectation_loss(log_expected, error)
    loss.backward()
    return log_expected.detach().exp() * pixel_range**2, loss.detach()
