"""The mask at work: what the networks of a profile make of fixed patches, and what reaches D and G.

Runs keep no discriminator. So the gradient of the GAN's loss is that of their first step: SR of the start
before the freshly initialised discriminator that the run began with, where the patches have its size, else
one of that kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masksr.data.images import to_image
from masksr.models.checkpoints import build_discriminator, load_generator, seed_for
from masksr.params import Mask, Model, Params
from masksr.paths import Paths
from masksr.training import losses
from masksr.training.device import choose_device
from masksr.training.mask import ErrorRange, apply_mask, error_mask

Inputs = Callable[[str], tuple[Tensor, Tensor]]  # model -> LR and HR, uint8 batches


@dataclass(frozen=True)
class Sample:
    """What one generator makes of some patches."""

    model: str
    when: str  # "start", before the adversarial training, or "end", after it
    pixel_range: float
    sr: Tensor  # (B, 3, H, W) in [0, pixel_range], as the network gave it, not clipped
    hr: Tensor

    @property
    def native(self) -> ErrorRange:
        """The reading of the error's range that ``native`` is for this network."""
        return "1" if self.pixel_range == 1 else "255"

    def error(self) -> Tensor:
        """Return the squared error in squared 8-bit grey levels: (B, H, W), the mean of the channels."""
        return ((self.sr - self.hr) * (255 / self.pixel_range)).square().mean(dim=1)

    def mask(self, settings: Mask, reading: ErrorRange, k: float | None = None) -> Tensor:
        """Return equation 8 of ``settings``, but in this reading and, where given, with this k."""
        k = settings.k if k is None else k
        settings = settings.model_copy(update={"kind": "error", "error_range": reading, "k": k})
        return error_mask(self.sr, self.hr, settings, pixel_range=self.pixel_range)

    def mask_map(self, settings: Mask, reading: ErrorRange, number: int = 0) -> np.ndarray:
        """Return the mask of one patch as (H, W), the mean over its channels where it has several."""
        return self.mask(settings, reading)[number].mean(dim=0).numpy()

    def image(self, number: int = 0) -> np.ndarray:
        """Return SR of one patch, (H, W, 3) uint8."""
        return to_image(self.sr[number], self.pixel_range)


def inspected_mask(params: Params) -> tuple[str, Mask]:
    """Return the masked variant that is looked at, the first of ``table1.masks``, and its settings.

    Where Table 1 has plain variants only: these, with the settings of Figure 5's mask.
    """
    name = next((mask for mask in params.table1.masks if mask != "none"), "none")
    return name, params.masks[params.sweep.mask if name == "none" else name]


@torch.no_grad()
def run_generators(params: Params, paths: Paths, inputs: Inputs) -> list[Sample]:
    """Run each model of Table 1 on ``inputs``, with its start and its final weights of the first seed."""
    name, seed, samples = inspected_mask(params)[0], params.table1.seeds[0], []
    device = choose_device(params.train.device)
    for model in params.table1.models:
        folders = {"start": paths.start(model, seed), "end": paths.variant(model, name, seed)}
        for when, folder in folders.items():
            generator = load_generator(folder / "generator.safetensors").to(device)
            lr, hr = (batch.float() * (generator.pixel_range / 255) for batch in inputs(model))
            # one by one: bounded memory
            sr = [generator(patch[None].to(device)).float().cpu() for patch in lr]
            samples.append(Sample(model, when, generator.pixel_range, torch.cat(sr), hr))
    return samples


def discriminator_inputs(sample: Sample, mask: Mask, sr: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the fake and the real input of the discriminator, (B, 3, H, W) in [0, pixel_range].

    sr: in place of the sample's own, such as one whose gradient is wanted.
    """
    sr = sample.sr if sr is None else sr
    rng = torch.Generator().manual_seed(0)
    m = error_mask(sr, sample.hr, mask, pixel_range=sample.pixel_range, rng=rng)
    return apply_mask(sr, sample.hr, m, mask.apply)


def gradient_at_sr(sample: Sample, mask: Mask, recipe: Model, seed: int) -> Tensor:
    """Return the gradient of the generator's GAN term with respect to SR, (B, 3, H, W).

    seed: of the run, whose first discriminator this is.
    """
    size = sample.sr.shape[-1]
    discriminator = build_discriminator(recipe.discriminator, size, seed_for(seed, "discriminator"))
    sr = sample.sr.clone().requires_grad_()
    fake, real = discriminator_inputs(sample, mask, sr)
    with torch.no_grad():
        logit_real = discriminator(real)
    gan, gamma = recipe.loss.gan_type, recipe.loss.focal_gamma
    return torch.autograd.grad(losses.generator_loss(gan, logit_real, discriminator(fake), gamma), sr)[0]
