"""A photograph through a network, for looking at."""

from __future__ import annotations

from pathlib import Path

from masksr.data.packs import Pack
from masksr.models.checkpoints import load_generator
from masksr.plots.images import Pixels
from masksr.results.evaluate import with_bicubic, with_generator
from masksr.training.device import choose_device


def upscale_first(pack: Pack, folder: Path) -> dict[str, Pixels]:
    """Return the first photograph of a pack as LR, bicubic, SR and HR, by these names.

    folder: of the generator. Each is (H, W, 3) uint8; LR is a quarter as large on each side.
    """
    upscale = with_generator(load_generator(folder / "generator.safetensors"), choose_device("cpu"))
    return {"LR": pack.lr(0, 4), "bicubic": with_bicubic(pack, 0), "SR": upscale(pack, 0), "HR": pack.hr(0)}
