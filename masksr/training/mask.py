"""The mask module: equation 8, everything the paper leaves open about it, and its controls."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from masksr.data.share import WHOLE, Share

ErrorRange = Literal["native", "1", "255", "relative"]
Kind = Literal["none", "error", "expected", "constant", "shuffled", "random"]
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
    share: Share = WHOLE,
) -> Tensor:
    """Where the adversarial loss should count: equation 8, ``clip(k * error + b, 0, 1)``.

    The squared error of ``sr`` estimates the variance of the class of HR images that share one LR image (eqs. 6-7):
    near zero where the class mean is a good answer, large in texture.

    sr, hr: (B, 3, H, W), pixel values in [0, ``pixel_range``]. Returns (B, 1, H, W), or (B, 3, H, W) with
    ``per_channel``, in [0, 1]; without gradient unless ``detach`` is false.

    error_range: the pixel range in which the error is counted. ``native`` takes the images as they are, ``1`` and
    ``255`` convert from ``pixel_range`` (so k on a range of 255 acts as 255² k on a range of 1), ``relative``
    divides by the mean error of the batch, of which the images may be a ``share``. window: side in pixels of a box
    mean of the error, odd; 1 is per pixel.

    Raises ValueError where the shapes differ or the window is even.
    """
    sr = sr.detach() if detach else sr
    error = squared_error(sr, hr, window=window, per_channel=per_channel)
    return mask_of_error(error, k=k, b=b, error_range=error_range, pixel_range=pixel_range, share=share)


def squared_error(sr: Tensor, hr: Tensor, *, window: int = 1, per_channel: bool = False) -> Tensor:
    """The local error of equation 8, (B, 1, H, W), or (B, 3, H, W) with ``per_channel``, in squared units of a pixel.

    sr, hr: (B, 3, H, W). Raises ValueError where the shapes differ or the window is even.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have one shape, got {tuple(sr.shape)} and {tuple(hr.shape)}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and positive, got {window}")
    error = (sr - hr).square()
    if not per_channel:
        error = error.mean(dim=1, keepdim=True)
    if window > 1:  # at the border the mean is over the pixels inside the image
        error = F.avg_pool2d(error, window, stride=1, padding=window // 2, count_include_pad=False)
    return error


def mask_of_error(
    error: Tensor, *, k: float, b: float, error_range: ErrorRange, pixel_range: float, share: Share = WHOLE
) -> Tensor:
    """Equation 8 of an error (B, C, H, W) >= 0 that was measured, or expected, in [0, ``pixel_range``]²."""
    if error_range == "relative":
        error = error / share.mean(error).clamp_min(torch.finfo(error.dtype).tiny)
    elif error_range != "native":
        error = error * (float(error_range) / pixel_range) ** 2
    return (k * error + b).clamp(0, 1)


def without_structure(mask: Tensor) -> Tensor:
    """The control ``constant``: every value of an image's (B, C, H, W) mask replaced by their mean."""
    return mask.mean(dim=(1, 2, 3), keepdim=True).expand_as(mask)


def at_random_places(mask: Tensor, rng: torch.Generator | None, share: Share = WHOLE) -> Tensor:
    """The control ``shuffled``: the values of each image's (B, C, H, W) mask at random places of that image.

    The places are the same for equal seeds: the numbers are drawn where ``rng`` is and sorted, which takes a CPU core a
    tenth of a second for a million of them, where the mask is; stably, so that equal numbers keep one order.
    """
    batch, channels, height, width = mask.shape
    device = rng.device if rng is not None else mask.device
    everywhere = torch.rand(share.ranks * batch, 1, height * width, generator=rng, device=device)
    order = everywhere[share.rank * batch :][:batch].to(mask.device).argsort(dim=2, stable=True)
    return mask.flatten(2).gather(2, order.expand(-1, channels, -1)).view(batch, channels, height, width)


def at_random(mask: Tensor, rng: torch.Generator | None, share: Share = WHOLE) -> Tensor:
    """The control ``random``: noise that is independent from pixel to pixel, with the mean of each image's mask.

    u^((1 - m) / m) has the mean m where u is uniform in [0, 1]: a beta distribution, flat for m = 1/2.
    """
    batch, channels, height, width = mask.shape
    device = rng.device if rng is not None else mask.device
    everywhere = torch.rand(share.ranks * batch, channels, height, width, generator=rng, device=device)
    uniform = everywhere[share.rank * batch :][:batch].to(mask)
    mean = mask.mean(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(mask.dtype).tiny)
    return uniform ** ((1 - mean) / mean)


def mask_of(
    settings: MaskSettings,
    sr: Tensor,
    hr: Tensor,
    *,
    pixel_range: float,
    expected: Tensor | None = None,
    rng: torch.Generator | None = None,
    share: Share = WHOLE,
) -> Tensor:
    """The mask that ``settings`` describe for this batch: (B, 1 or 3, H, W) in [0, 1]; ones for the plain variant.

    sr, hr: (B, 3, H, W) in [0, ``pixel_range``]. expected: what ``training.expected`` says of their squared error, for
    that kind. rng: where ``shuffled`` and ``random`` draw from, for the whole batch where the images are a ``share``
    of it. Raises ValueError where the expected error is wanted and missing.
    """
    if settings.kind == "none":
        return sr.new_ones(()).expand(sr.shape[0], 1, *sr.shape[2:])
    if settings.kind == "expected":
        if expected is None:
            raise ValueError("kind: expected takes the error that a network expects, and none was given")
        of = {"k": settings.k, "b": settings.b, "error_range": settings.error_range}
        return mask_of_error(expected, **of, pixel_range=pixel_range, share=share)
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
        share=share,
    )
    if settings.kind == "constant":
        return without_structure(mask)
    if settings.kind == "shuffled":
        return at_random_places(mask, rng, share)
    if settings.kind == "random":
        return at_random(mask, rng, share)
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
