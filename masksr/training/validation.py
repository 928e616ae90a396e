"""PSNR-Y on a few fixed patches of the validation set: the pulse of a training, never a reason to choose a model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from masksr.data.bicubic import imresize
from masksr.data.images import to_image
from masksr.data.packed import Pack
from masksr.data.patches import validation_patches
from masksr.quality.fidelity import psnr


class Validation:
    """The fixed patches, LR of ``lr_size`` pixels at ``scale``, and the mean PSNR-Y in dB of what is made of them.

    Where an image of the set is smaller (one of Set5, against the paper's LR patches of 64), so are all patches.
    """

    def __init__(self, pack: Pack, *, lr_size: int, scale: int, count: int) -> None:
        smallest = min(min(pack.lr(number, scale).shape[:2]) for number in range(len(pack)))
        self._lr, hr = validation_patches(pack, lr_size=min(lr_size, smallest), scale=scale, count=count)
        self._truth = list(hr.permute(0, 2, 3, 1).numpy())
        self.bicubic = self._mean([imresize(patch, scale) for patch in self._lr.permute(0, 2, 3, 1).numpy()])

    def row(self, generator: nn.Module) -> dict[str, float]:
        """What the history records: the generator's PSNR-Y and that of bicubic enlargement, to be passed."""
        return {"psnr": self.of_generator(generator), "psnr_bicubic": self.bicubic}

    @torch.inference_mode()
    def of_generator(self, generator: nn.Module) -> float:
        """The generator is left in the mode and on the device it was."""
        device, training = next(generator.parameters()).device, generator.training
        lr = self._lr.to(device).float() * (generator.pixel_range / 255)
        sr = generator.eval().forward(lr).cpu()  # past train.compile: these shapes are not worth a compilation
        generator.train(training)
        return self._mean([to_image(patch, generator.pixel_range) for patch in sr])

    def _mean(self, images: list[np.ndarray]) -> float:
        return float(np.mean([psnr(image, truth) for image, truth in zip(images, self._truth, strict=True)]))
