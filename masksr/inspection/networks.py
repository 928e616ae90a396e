"""The networks that are inspected, and what they make of fixed patches and of a photograph.

Both are bounded in number and size: a large network costs seconds here, and the same files give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from masksr.data.packs import Pack
from masksr.data.patches import validation_patches
from masksr.models.checkpoints import load_generator
from masksr.params import Mask, Params
from masksr.paths import Paths
from masksr.training.device import choose_device
from masksr.training.mask import ErrorRange, error_mask
from masksr.training.train import read_history

PATCHES = 16
LARGEST_PATCH = 32  # LR pixels on a side
LARGEST_PHOTOGRAPH = (48, 72)  # LR pixels
READINGS: dict[ErrorRange, str] = {"1": "[0, 1]", "255": "[0, 255]", "relative": "relative"}  # native is one of them


@dataclass(frozen=True)
class Sample:
    """Patches, and what one generator makes of them."""

    model: str
    when: str  # "start", before the adversarial training, or "end", after it
    pixel_range: float
    lr: Tensor  # (B, 3, h, w) in [0, pixel_range]
    sr: Tensor  # (B, 3, H, W), as the network gave it, not clipped
    hr: Tensor

    @property
    def native(self) -> ErrorRange:
        """The reading of the error's range that ``native`` is for this network."""
        return "1" if self.pixel_range == 1 else "255"

    def error(self) -> Tensor:
        """The squared error of each pixel, mean over the channels, in squared 8-bit grey levels: (B, H, W)."""
        return ((self.sr - self.hr) * (255 / self.pixel_range)).square().mean(dim=1)

    def mask(self, settings: Mask, reading: ErrorRange, k: float | None = None) -> Tensor:
        """The mask of equation 8, as ``settings`` have it but in this reading and, where given, with this k."""
        changes = {"kind": "error", "error_range": reading} | ({} if k is None else {"k": k})
        return error_mask(self.sr, self.hr, settings.model_copy(update=changes), pixel_range=self.pixel_range)


def inspected_mask(params: Params) -> tuple[str, Mask]:
    """The masked variant that is looked at, the first of ``table1.masks``, and its settings.

    Where Table 1 has plain variants only: these, with the settings of Figure 5's mask.
    """
    name = next((mask for mask in params.table1.masks if mask != "none"), "none")
    return name, params.masks[params.sweep.mask if name == "none" else name]


def folders(params: Params, paths: Paths) -> dict[tuple[str, str], Path]:
    """Where the generators lie that are looked at, by model and when: of the first seed, before and after the GAN."""
    mask, seed = inspected_mask(params)[0], params.table1.seeds[0]
    return {
        (model, when): paths.start(model, seed) if when == "start" else paths.variant(model, mask, seed)
        for model in params.table1.models
        for when in ("start", "end")
    }


def on_patches(params: Params, paths: Paths) -> list[Sample]:
    """Each model of Table 1 on the fixed validation patches, with its start and its final weights.

    The patches are as large as in training (``lr_patch``), but at most LARGEST_PATCH and what the smallest photograph
    has; in the latter case a multiple of 8, as discriminators want it.
    Raises MasksrError where a photograph is smaller than 16 LR pixels.
    """
    pack, samples = Pack(paths.set(params.data.validation)), []
    smallest = min(min(pack.lr(number, 4).shape[:2]) for number in range(len(pack)))
    for (model, when), folder in folders(params, paths).items():
        size = max(16, min(params.models[model].lr_patch, LARGEST_PATCH, smallest // 8 * 8))
        lr, hr = validation_patches(pack, lr_size=size, scale=4, count=PATCHES)
        samples.append(_sample(params, model, when, folder, lr, hr))
    return samples


def on_a_photograph(params: Params, paths: Paths) -> list[Sample]:
    """The same networks on the middle of the first validation photograph, a single image (1, 3, H, W)."""
    pack = Pack(paths.set(params.data.validation))
    lr, hr = pack.lr(0, 4), pack.hr(0)
    height, width = (min(side, most) for side, most in zip(lr.shape, LARGEST_PHOTOGRAPH, strict=False))
    top, left = (lr.shape[0] - height) // 2, (lr.shape[1] - width) // 2
    parts = [
        image[scale * top :, scale * left :][: scale * height, : scale * width].copy()
        for image, scale in ((lr, 1), (hr, 4))
    ]
    pair = [torch.from_numpy(part).permute(2, 0, 1)[None] for part in parts]
    return [_sample(params, *key, folder, *pair) for key, folder in folders(params, paths).items()]


@torch.no_grad()
def _sample(params: Params, model: str, when: str, folder: Path, lr: Tensor, hr: Tensor) -> Sample:
    device = choose_device(params.train.device)
    generator = load_generator(folder / "generator.safetensors").to(device)
    lr, hr = (batch.float() * (generator.pixel_range / 255) for batch in (lr, hr))
    sr = torch.cat([generator(patch[None].to(device)).float().cpu() for patch in lr])  # one by one: bounded memory
    return Sample(model, when, generator.pixel_range, lr, sr, hr)


def some(sample: Sample, patches: slice) -> Sample:
    """The sample with these of its patches only."""
    return replace(sample, lr=sample.lr[patches], sr=sample.sr[patches], hr=sample.hr[patches])


def most_structured(sample: Sample, settings: Mask) -> int:
    """The number of the patch on which the relative mask varies most: smooth and textured parts side by side."""
    return int(sample.mask(settings, "relative").std(dim=(1, 2, 3)).argmax())


def histories(params: Params, paths: Paths) -> dict[str, pd.DataFrame]:
    """By model, what its training with this mask recorded of it, step by step: columns step, mask_mean, ..."""
    found = {model: read_history(folder) for (model, when), folder in folders(params, paths).items() if when == "end"}
    return {model: history[history["mask_mean"].notna()] for model, history in found.items()}
