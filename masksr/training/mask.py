"""The mask module: equation 8, everything the paper leaves open about it, and its controls."""

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masksr.data.batch_share import WHOLE, Share
from masksr.models.layers import conv3x3, in_full_precision
from masksr.params import Mask


def error_mask(
    sr: Tensor,
    hr: Tensor,
    mask: Mask,
    *,
    pixel_range: float = 1.0,
    expected: Tensor | None = None,
    rng: torch.Generator | None = None,
    share: Share = WHOLE,
) -> Tensor:
    """Compute where the adversarial loss counts: equation 8, ``clip(k * error + b, 0, 1)``, or a control.

    The squared error of ``sr`` estimates the variance of the class of HR images that share one LR image (eqs.
    6-7): near zero where the class mean is a good answer, large in texture.

    sr, hr: (B, 3, H, W), pixel values in [0, ``pixel_range``]. mask: an entry of ``masks`` in params.yaml.
    Returns (B, 1, H, W), or (B, 3, H, W) with ``per_channel``, in [0, 1]; without gradient unless ``detach``
    is false; all ones for the kind ``none``, the baseline.

    expected: for the kind of that name, the squared error that an ``ErrorNetwork`` expects, (B, C, H, W).
    rng: what ``shuffled`` and ``random`` draw from, for the whole batch where the images are a ``share``.
    """
    if mask.kind == "none":
        return sr.new_ones(()).expand(sr.shape[0], 1, *sr.shape[2:])
    if mask.kind == "expected":
        return mask_from_error(expected, mask, pixel_range, share)
    error = squared_error(sr.detach() if mask.detach else sr, hr, mask)
    m = mask_from_error(error, mask, pixel_range, share)
    if mask.kind == "constant":  # every value of an image replaced by their mean
        return m.mean(dim=(1, 2, 3), keepdim=True).expand_as(m)
    if mask.kind == "shuffled":
        return at_random_places(m, rng, share)
    if mask.kind == "random":
        return at_random(m, rng, share)
    return m


def squared_error(sr: Tensor, hr: Tensor, mask: Mask) -> Tensor:
    """Compute equation 8's error: (B, 1, H, W), with ``per_channel`` (B, 3, H, W), in squared pixel values.

    sr, hr: (B, 3, H, W). Each value is the mean over a box of ``window`` pixels a side; 1 is per pixel.
    """
    error = (sr - hr).square()
    if not mask.per_channel:
        error = error.mean(dim=1, keepdim=True)
    if mask.window > 1:  # at the border the mean is over the pixels inside the image
        error = F.avg_pool2d(error, mask.window, stride=1, padding=mask.window // 2, count_include_pad=False)
    return error


def mask_from_error(error: Tensor, mask: Mask, pixel_range: float, share: Share = WHOLE) -> Tensor:
    """Apply equation 8 to an error (B, C, H, W) >= 0, measured or expected, in [0, ``pixel_range``]².

    ``error_range`` is the pixel range in which the error is counted: ``native`` takes the images as they are,
    ``1`` and ``255`` convert from ``pixel_range`` (so k on a range of 255 acts as 255² k on a range of 1),
    and ``relative`` divides by the mean error of the batch, of which the images may be a ``share``.
    """
    if mask.error_range == "relative":
        error = error / share.mean(error).clamp_min(torch.finfo(error.dtype).tiny)
    elif mask.error_range != "native":
        error = error * (float(mask.error_range) / pixel_range) ** 2
    return (mask.k * error + mask.b).clamp(0, 1)


def at_random_places(mask: Tensor, rng: torch.Generator | None, share: Share = WHOLE) -> Tensor:
    """Make the control ``shuffled``: the values of each image's (B, C, H, W) mask at random places in it.

    Equal seeds give equal places: numbers are drawn on the device of ``rng`` and sorted on that of the mask
    (a million takes a CPU core a tenth of a second), stably, so that equal numbers keep one order.
    """
    order = _uniform(mask, 1, rng, share).flatten(2).argsort(dim=2, stable=True)
    return mask.flatten(2).gather(2, order.expand(-1, mask.shape[1], -1)).view_as(mask)


def at_random(mask: Tensor, rng: torch.Generator | None, share: Share = WHOLE) -> Tensor:
    """Make the control ``random``: noise, independent at every pixel, with the mean of each image's mask.

    For u uniform in [0, 1], u^((1 - m) / m) has the mean m: a beta distribution, flat for m = 1/2.
    """
    uniform = _uniform(mask, mask.shape[1], rng, share).to(mask.dtype)
    mean = mask.mean(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(mask.dtype).tiny)
    return uniform ** ((1 - mean) / mean)


def _uniform(mask: Tensor, channels: int, rng: torch.Generator | None, share: Share) -> Tensor:
    """Draw numbers in [0, 1), on the device of ``rng``, for this share of the batch: (B, channels, H, W)."""
    batch, _, height, width = mask.shape
    device = rng.device if rng is not None else mask.device
    everywhere = torch.rand(share.ranks * batch, channels, height, width, generator=rng, device=device)
    return everywhere[share.rank * batch :][:batch].to(mask.device)


def apply_mask(
    sr: Tensor, hr: Tensor, mask: Tensor, apply: Literal["both", "sr", "gradient"]
) -> tuple[Tensor, Tensor]:
    """Make the fake and the real input of the discriminator, (B, 3, H, W) each (figure 3).

    ``both`` multiplies SR and HR by the mask; ``sr`` SR alone (the letter of the text); ``gradient`` shows
    both unchanged and multiplies only the gradient on its way back to the generator.

    A discriminator whose first convolution has no bias and is normalised (SRGAN's, so that of PESR and EDSR)
    cannot see a factor that a whole batch of SR or of HR shares: there ``both`` and ``sr`` act through the
    mask's contrast alone, within images and between them.
    """
    if apply == "gradient":
        shown = sr.view_as(sr)
        if shown.requires_grad:
            shown.register_hook(lambda gradient: (gradient * mask).to(gradient.dtype))
        return shown, hr
    return mask * sr, (mask * hr if apply == "both" else hr)


# The mask that the paper leaves to the future: equation 8 with the expected error. The paper writes this, but
# takes the error of a single SR image, one noisy sample of it. Here a small network learns to predict it from
# the LR patch alone while the GAN trains, and converges to the mean error of all HR images that share that LR
# patch, which by equations 6 and 7 is the variance of their class.

FIRST_GUESS = 0.003  # the squared error in [0, 1]² before anything is learned: about 14 grey levels
_LIMITS = (math.log(1e-9), math.log(4.0))


class ErrorNetwork(nn.Module):
    """Maps LR (B, 3, h, w) in [0, 1] to the log expected squared error (B, channels, 4h, 4w), in [0, 1]²."""

    def __init__(self, channels: int = 1, num_feat: int = 32, scale: int = 4) -> None:
        super().__init__()
        widths = [3, num_feat, num_feat, num_feat]
        layers = [layer for width in pairwise(widths) for layer in (conv3x3(*width), nn.LeakyReLU(0.2))]
        self.body = nn.Sequential(*layers, conv3x3(num_feat, channels * scale**2), nn.PixelShuffle(scale))
        nn.init.constant_(self.body[-2].bias, math.log(FIRST_GUESS))
        with torch.no_grad():
            self.body[-2].weight.mul_(0.1)  # or the first guess would be lost in noise

    def forward(self, lr: Tensor) -> Tensor:
        found = self.body[-1](in_full_precision(self.body[-2], self.body[:-2](lr)))
        return found.to(torch.promote_types(found.dtype, torch.float32)).clamp(*_LIMITS)


def expectation_loss(log_expected: Tensor, error: Tensor) -> Tensor:
    """Rate how badly an expected error fits the measured one: mean of ``error / expected + log expected``.

    For any distribution of errors it is lowest at their mean, like a squared distance; but it weighs ratios,
    so that smooth regions, whose errors are a thousand times smaller, are learned as well as texture (the
    likelihood of a gamma distribution; Patton, "Volatility forecast comparison using imperfect volatility
    proxies", Journal of Econometrics 160(1), 2011).

    log_expected, error: (B, C, H, W), the second in the units of ``exp(log_expected)``.
    """
    return (error * torch.exp(-log_expected) + log_expected).mean()
