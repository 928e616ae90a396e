"""Run pictures of any size through a network, tile by tile, without seams.

A tile is upscaled with context around it, and the upscaled context is discarded. How much is enough was
measured: the largest difference, in grey levels of 255, from the same pixels with 40 to 80 pixels of context;
x4, fp32, 24 x 24 LR pixels of at least 4 pictures of BSD100 and Urban100 for each trained network.

    LR pixels of context                                        8      16     24     32     40     48     64
    ESRGAN, 23 blocks, GAN-trained (RealSR's public weights)   30     8.9    5.4    2.8    0.7   0.13  0.004
    ESRGAN, 6 blocks; EDSR and PESR, 16 blocks; trained for
      a CPU's hours (800 steps of GAN)                       0.04  0.0001
    EDSR and PESR, 32 blocks, untrained                    0.0003

So only a network as published shows how far it looks. In theory an ESRGAN of 23 blocks sees 349 LR pixels
far, and an EDSR or PESR of 32 blocks 68; with that much context, only the order of sums can differ.
"""

from itertools import pairwise, product
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from masksr.io import MasksrError
from masksr.training.device import is_out_of_memory

TILE = 320  # LR pixels a side: in fp32 about 1.5 GB of activations in a full ESRGAN, 4 GB in an EDSR or PESR
OVERLAP = 48


def check_tiles(tile: int, overlap: int) -> None:
    """Raise MasksrError unless a tile is larger than its context."""
    if overlap < 0 or tile <= 2 * overlap:
        raise MasksrError(f"tiles of {tile} pixels cannot overlap by {overlap}; change --tile or --overlap")


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Cut a side of ``length`` LR pixels into equal tiles, at most ``tile`` long: (start, stop, first, last).

    The network sees ``start`` to ``stop``, of which ``first`` to ``last`` is kept. What is kept covers the
    side once; each of its pixels has ``overlap`` pixels of context or the picture's border. There are no more
    tiles than necessary, and none larger than needed: 300 pixels become 182 + 182, not 256 + 256.
    """
    check_tiles(tile, overlap)
    count = max(1, ceil((length - 2 * overlap) / (tile - 2 * overlap)))
    size = ceil((length + 2 * overlap * (count - 1)) / count)
    starts = [number * (length - size) // max(1, count - 1) for number in range(count)]
    cuts = [0, *((left + size + right) // 2 for left, right in pairwise(starts)), length]
    return [(start, start + size, *kept) for start, kept in zip(starts, pairwise(cuts), strict=True)]


@torch.inference_mode()
def upscale_tiled(
    network: nn.Module,
    lr: Tensor,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    levels: Literal[255, 65535] = 255,
    title: str | None = None,
) -> Tensor:
    """Upscale one picture with a generator of ``masksr.models``, in the memory that one tile needs.

    lr: float (1, 3, H, W) in [0, ``network.pixel_range``], on the CPU; one tile at a time goes to the
    network's device. tile: how many LR pixels a side the network sees at once. overlap: how many of them are
    context, at each side that is not the picture's border; less than half a tile. levels: of the result.
    title: of a progress bar, which a terminal shows while tiles are left; None: no bar.

    Returns (1, 3, scale H, scale W) on the CPU, rounded: uint8, or uint16 for 65535 levels. It equals the
    network's output for the whole picture where one tile holds it, else within one of 255 levels in fp32 (see
    above). For bf16, call it under ``device.autocast``. Raises MasksrError where the device has too little
    memory for a tile, where the output is NaN, and for tiles that ``check_tiles`` refuses.
    """
    scale, device = network.scale, next(network.parameters()).device
    height, width = lr.shape[2:]
    dtype = torch.uint8 if levels == 255 else torch.uint16
    # The layout that files have, so that a picture of gigapixels is not copied once more.
    sr = torch.empty((1, 3, scale * height, scale * width), dtype=dtype, memory_format=torch.channels_last)
    grid = list(product(spans(height, tile, overlap), spans(width, tile, overlap)))
    for rows, columns in tqdm(grid, desc=title, unit="tile", leave=False, disable=None if title else True):
        (top, bottom, a, b), (left, right, c, d) = rows, columns  # kept: rows a to b, columns c to d
        try:
            upscaled = network(lr[..., top:bottom, left:right].to(device)).float().cpu()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MasksrError(f"{device.type} has too little memory; try a --tile below {tile}") from None
        if upscaled.isnan().any():
            raise MasksrError("the network's output holds NaN: it has diverged, or its weights are damaged")
        kept = upscaled[..., scale * (a - top) : scale * (b - top), scale * (c - left) : scale * (d - left)]
        kept = (kept * (levels / network.pixel_range)).clamp(0, levels).round()
        sr[..., scale * a : scale * b, scale * c : scale * d] = kept
    return sr
