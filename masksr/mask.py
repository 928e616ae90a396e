"""The mask module: equation 8, everything the paper leaves open about it, and its controls."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

ErrorRange = Literal["native", "1", "255", "relative"]
Kind = Literal["none", "error", "constant", "shuffled"]
Apply = Literal["both", "sr", "gradient"]


class MaskSettings(Protocol):
    """What an entry of ``masks`` in ``params.yaml`` says (``masksr.params.Mask``)."""

    kind: Kind
    k: float
    b: float
    error_range: ErrorRange
    window: int
    per_channel: bool
    apply: Apply
    detach: bool


def error_mask(
    sr: Tensor,
    hr: Tensor,
    *,
    k: float,
    b: float,
    error_range: ErrorRange = "native",
    pixel_range: float = 1.0,
    window: int = 1,
    per_channel: bool = False,
    detach: bool = True,
) -> Tensor:
    """Where the adversarial loss should count: equation 8, ``clip(k * error + b, 0, 1)``.

    The squared error of ``sr`` estimates the variance of the class of HR images that share one LR image (eqs. 6-7):
    near zero where the class mean is a good answer, large in texture.

    sr, hr: (B, 3, H, W), pixel values in [0, ``pixel_range``]. Returns (B, 1, H, W), or (B, 3, H, W) with
    ``per_channel``, in [0, 1]; without gradient unless ``detach`` is false.

    error_range: the pixel range in which the error is counted. ``native`` takes the images as they are, ``1`` and
    ``255`` convert from ``pixel_range`` (so k on a range of 255 acts as 255² k on a range of 1), ``relative``
    divides by the mean error of the batch. window: side in pixels of a box mean of the error, odd; 1 is per pixel.

    Raises ValueError where the shapes differ or the window is even.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have one shape, got {tuple(sr.shape)} and {tuple(hr.shape)}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and positive, got {window}")
    sr = sr.detach() if detach else sr
    error = (sr - hr).square()
    if not per_channel:
        error = error.mean(dim=1, keepdim=True)
    if window > 1:  # at the border the mean is over the pixels inside the image
        error = F.avg_pool2d(error, window, stride=1, padding=window // 2, count_include_pad=False)
    if error_range == "relative":
        error = error / error.mean().clamp_min(torch.finfo(error.dtype).tiny)
    elif error_range != "native":
        error = error * (float(error_range) / pixel_range) ** 2
    return (k * error + b).clamp(0, 1)


def without_structure(mask: Tensor) -> Tensor:
    """The control ``constant``: every value of an image's (B, C, H, W) mask replaced by their mean."""
    return mask.mean(dim=(1, 2, 3), keepdim=True).expand_as(mask)


def at_random_places(mask: Tensor, rng: torch.Generator | None) -> Tensor:
    """The control ``shuffled``: the values of each image's (B, C, H, W) mask at random places of that image."""
    batch, channels, height, width = mask.shape
    device = rng.device if rng is not None else mask.device
    order = torch.rand(batch, 1, height * width, generator=rng, device=device).argsort(dim=2).to(mask.device)
    return mask.flatten(2).gather(2, order.expand(-1, channels, -1)).view(batch, channels, height, width)


def mask_of(
    settings: MaskSettings, sr: Tensor, hr: Tensor, *, pixel_range: float, rng: torch.Generator | None = None
) -> Tensor:
    """The mask that ``settings`` describe for this batch: (B, 1 or 3, H, W) in [0, 1]; ones for the plain variant.

    sr, hr: (B, 3, H, W) in [0, ``pixel_range``]. rng: where ``shuffled`` draws its places from.
    """
    if settings.kind == "none":
        return sr.new_ones(()).expand(sr.shape[0], 1, *sr.shape[2:])
    mask = error_mask(
        sr,
        hr,
        k=settings.k,
        b=settings.b,
        error_range=settings.error_range,
        pixel_range=pixel_range,
        window=settings.window,
        per_channel=settings.per_channel,
        detach=settings.detach,
    )
    if settings.kind == "constant":
        return without_structure(mask)
    if settings.kind == "shuffled":
        return at_random_places(mask, rng)
    return mask


def what_the_discriminator_sees(sr: Tensor, hr: Tensor, mask: Tensor, apply: Apply) -> tuple[Tensor, Tensor]:
    """Figure 3: the fake and the real input of the discriminator, (B, 3, H, W) each.

    ``both`` multiplies SR and HR by the mask; ``sr`` SR alone (the text's letter; the discriminator can then tell
    real from fake by brightness); ``gradient`` shows both as they are and scales by the mask only the gradient that
    comes back to the generator.
    """
    if apply == "gradient":
        return _ScaleGradient.apply(sr, mask), hr
    return mask * sr, (mask * hr if apply == "both" else hr)


class _ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a mask."""

    @staticmethod
    def forward(ctx, image: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(mask)
        return image.view_as(image)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return gradient * mask, None
