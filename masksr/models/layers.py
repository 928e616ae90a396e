"""What the networks of this package share."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def conv3x3(channels_in: int, channels_out: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it with ``stride=2``."""
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=bias)


def through(blocks: nn.Sequential, x: Tensor, *, recompute: bool) -> Tensor:
    """Return ``blocks(x)``; with ``recompute``, keep only each block's input and rerun it in backward.

    This is gradient checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016): a
    third more operations in the generator, a fraction of the memory, the same gradients.
    """
    if not (recompute and torch.is_grad_enabled()):
        return blocks(x)
    for block in blocks:  # nothing in a block is random
        x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    return x


def in_full_precision(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """Return ``layer(x)`` in the precision of the layer's weights, even under autocast.

    For layers that output pixels or logits, and for the shift of pixels by their mean: bfloat16 has 8
    significant bits, so near white its steps are one grey level of 255 wide. The features of a first
    convolution tolerate them.
    """
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return layer(x)
    with torch.autocast(device, enabled=False):
        return layer(x.to(layer.weight.dtype))
