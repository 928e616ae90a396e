"""Where and how networks compute: precisions, memory formats, and what a device of too little memory does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from masksr.data.bicubic import imresize
from masksr.io import MasksrError
from masksr.models.edsr import EDSR
from masksr.results.evaluate import with_generator
from masksr.training.device import allow_tf32

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_tf32_is_refused_where_there_is_none_and_fp32_does_not_round_to_it() -> None:
    with pytest.raises(MasksrError, match=r"train\.precision: tf32 needs an NVIDIA GPU"):
        allow_tf32(CPU, "tf32")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    allow_tf32(CPU, "fp32")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_a_picture_too_large_for_the_device_is_upscaled_in_tiles(capsys, monkeypatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 2000, 3), dtype=np.uint8)
    pack = SimpleNamespace(names=["0"], lr=lambda *_: imresize(pixels, 0.25))
    network = EDSR(1, 8)
    upscale, forward = with_generator(network, CPU), network.forward
    whole = upscale(pack, 0)

    def of_little_memory(lr: Tensor) -> Tensor:
        if lr[0, 0].numel() > 12 * 400:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(lr)

    monkeypatch.setattr(network, "forward", of_little_memory)
    tiled = upscale(pack, 0)
    assert tiled.shape == whole.shape == pixels.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert "does not hold 0 as a whole; it is upscaled in tiles" in capsys.readouterr().out
