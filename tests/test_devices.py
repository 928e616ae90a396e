"""Where and how networks compute: precisions, memory formats, and what a device of too little memory does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from masksr.data.packed import Pack
from masksr.errors import MasksrError
from masksr.fetch.sets import build_pack
from masksr.models import EDSR
from masksr.results.evaluate import with_generator
from masksr.training import devices

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(MasksrError, match=r"train\.precision: tf32 is a mode of NVIDIA GPUs"):
        devices.allow_tf32(CPU, "tf32")


def test_fp32_does_not_round_to_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    devices.allow_tf32(CPU, "fp32")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("device", "precision", "channels_last"),
    [(CPU, "fp32", True), (CPU, "bf16", True), (CUDA, "fp32", False), (CUDA, "tf32", True), (CUDA, "bf16", True)],
)
def test_memory_format_follows_the_precision(
    device: torch.device, precision: devices.Precision, channels_last: bool
) -> None:
    assert (devices.memory_format(device, precision) == torch.channels_last) == channels_last


def test_compiled_kernels_are_not_chosen_by_their_time() -> None:
    from torch._inductor import config

    devices.compile_network(nn.Identity(), True)
    assert config.deterministic


class OfLittleMemory(EDSR):
    """A network on a device that holds no more than 12 x 400 LR pixels."""

    def forward(self, lr: Tensor) -> Tensor:
        if lr[0, 0].numel() > 12 * 400:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(lr)


def test_a_picture_too_large_for_the_device_is_upscaled_in_tiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = _pack(tmp_path, 40, 4 * 500)
    torch.manual_seed(0)
    small = OfLittleMemory(1, 8)
    large = EDSR(1, 8)
    large.load_state_dict(small.state_dict())
    whole, tiled = (with_generator(network, CPU)(pack, 0) for network in (large, small))
    assert tiled.shape == whole.shape == pack.hr(0).shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert "does not hold 0 as a whole; it is upscaled in tiles" in capsys.readouterr().out


def test_other_errors_of_a_network_stay(tmp_path: Path) -> None:
    class Broken(EDSR):
        def forward(self, lr: Tensor) -> Tensor:
            raise RuntimeError("misaligned address")

    with pytest.raises(RuntimeError, match="misaligned"):
        with_generator(Broken(1, 8), CPU)(_pack(tmp_path, 40, 40), 0)


def _pack(folder: Path, height: int, width: int) -> Pack:
    from masksr.data.images import write_png
    from masksr.fetch.registry import FolderSet, Layout

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    write_png(folder / "hr/0.png", pixels)
    about = {"name": "one", "title": "-", "role": "train", "cite": "-", "licence": "-", "homepage": "-"}
    spec = FolderSet(**about, kind="folder", images=1, layouts=[Layout(hr="hr/{name}.png")])
    return build_pack(spec, folder / "pack", data_folder=folder)
