"""The mask at work: what equation 8 does to the networks of a profile, on fixed patches and on a photograph.

Both are bounded in number and size: a large network costs seconds here, and the same files give the same
numbers.

Runs keep no discriminator. So the gradient of the GAN's loss is that of their first step: SR of the start
before the freshly initialised discriminator that the run began with, where the patches have its size, else
one of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from masksr.data.images import to_image
from masksr.data.packed import Pack
from masksr.data.patches import validation_patches
from masksr.models.build import build_discriminator, load_generator, seed_for
from masksr.params import Mask, Model, Params
from masksr.paths import Paths
from masksr.training import devices, losses
from masksr.training.mask import Apply, ErrorRange, mask_of, what_the_discriminator_sees

PATCHES = 16
LARGEST_PATCH = 32  # LR pixels on a side
LARGEST_PHOTOGRAPH = (48, 72)  # LR pixels
READINGS: dict[ErrorRange, str] = {
    "1": "[0, 1]",
    "255": "[0, 255]",
    "relative": "relative",
}  # native is one of them
APPLIES: tuple[Apply, ...] = ("both", "sr", "gradient")
NO_MASK = "no mask"


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
        """Return the squared error of each pixel in squared 8-bit grey levels: (B, H, W), mean of the channels."""
        return ((self.sr - self.hr) * (255 / self.pixel_range)).square().mean(dim=1)

    def mask(self, settings: Mask, reading: ErrorRange, k: float | None = None) -> Tensor:
        """Return the mask of equation 8 of ``settings``, but in this reading and, where given, with this k."""
        changes = {"kind": "error", "error_range": reading} | ({} if k is None else {"k": k})
        return mask_of(settings.model_copy(update=changes), self.sr, self.hr, pixel_range=self.pixel_range)

    def mask_map(self, settings: Mask, reading: ErrorRange, number: int = 0) -> np.ndarray:
        """Return the mask of one patch as (H, W), the mean over its channels where it has several."""
        return self.mask(settings, reading)[number].mean(dim=0).numpy()

    def patches(self, which: slice) -> Sample:
        """Return the sample with these of its patches only."""
        return replace(self, lr=self.lr[which], sr=self.sr[which], hr=self.hr[which])

    def image(self, number: int = 0) -> np.ndarray:
        """Return SR of one patch, (H, W, 3) uint8."""
        return to_image(self.sr[number], self.pixel_range)


def inspected_mask(params: Params) -> tuple[str, Mask]:
    """Return the masked variant that is looked at, the first of ``table1.masks``, and its settings.

    Where Table 1 has plain variants only: these, with the settings of Figure 5's mask.
    """
    name = next((mask for mask in params.table1.masks if mask != "none"), "none")
    return name, params.masks[params.sweep.mask if name == "none" else name]


def folders(params: Params, paths: Paths) -> dict[tuple[str, str], Path]:
    """Return the folders of the inspected generators by model and when, of the first seed."""
    mask, seed = inspected_mask(params)[0], params.table1.seeds[0]
    return {
        (model, when): paths.start(model, seed) if when == "start" else paths.variant(model, mask, seed)
        for model in params.table1.models
        for when in ("start", "end")
    }


def on_patches(params: Params, paths: Paths) -> list[Sample]:
    """Run each model of Table 1 on the fixed validation patches, with its start and its final weights.

    The patches are as large as in training (``lr_patch``), but at most LARGEST_PATCH and what the smallest
    photograph has; in the latter case a multiple of 8, as discriminators want it. Raises MasksrError where a
    photograph is smaller than 16 LR pixels.
    """
    pack, samples = Pack(paths.set(params.data.validation)), []
    smallest = min(min(pack.lr(number, 4).shape[:2]) for number in range(len(pack)))
    for (model, when), folder in folders(params, paths).items():
        size = max(16, min(params.models[model].lr_patch, LARGEST_PATCH, smallest // 8 * 8))
        lr, hr = validation_patches(pack, lr_size=size, scale=4, count=PATCHES)
        samples.append(_sample(params, model, when, folder, lr, hr))
    return samples


def on_a_photograph(params: Params, paths: Paths) -> list[Sample]:
    """Run the same networks on the middle of the first validation photograph, a single image (1, 3, H, W)."""
    pack = Pack(paths.set(params.data.validation))
    lr, hr = pack.lr(0, 4), pack.hr(0)
    height, width = (min(side, most) for side, most in zip(lr.shape, LARGEST_PHOTOGRAPH, strict=False))
    top, left = (lr.shape[0] - height) // 2, (lr.shape[1] - width) // 2
    pair = []
    for image, scale in ((lr, 1), (hr, 4)):
        part = image[scale * top : scale * (top + height), scale * left : scale * (left + width)].copy()
        pair.append(torch.from_numpy(part).permute(2, 0, 1)[None])
    return [_sample(params, *key, folder, *pair) for key, folder in folders(params, paths).items()]


@torch.no_grad()
def _sample(params: Params, model: str, when: str, folder: Path, lr: Tensor, hr: Tensor) -> Sample:
    device = devices.choose_device(params.train.device)
    generator = load_generator(folder / "generator.safetensors").to(device)
    lr, hr = (batch.float() * (generator.pixel_range / 255) for batch in (lr, hr))
    sr = torch.cat(
        [generator(patch[None].to(device)).float().cpu() for patch in lr]
    )  # one by one: bounded memory
    return Sample(model, when, generator.pixel_range, lr, sr, hr)


def most_structured(sample: Sample, settings: Mask) -> int:
    """Return the number of the patch on which the relative mask varies most."""
    return int(sample.mask(settings, "relative").std(dim=(1, 2, 3)).argmax())


def mask_table(samples: Sequence[Sample], settings: Mask) -> pd.DataFrame:
    """Measure the mask of each network in each reading: a row per model, when and error_range.

    Columns: native (whether the reading is the network's own), k, b, mean, sd (over all pixels), at_one
    (share clipped at 1), near_b (share below b + 0.01), k_halfway (the k with which the mean would be half
    way between b and 1).
    """
    rows = []
    for sample in samples:
        for reading in READINGS:
            mask = sample.mask(settings, reading)
            row = {"model": sample.model, "when": sample.when, "error_range": reading}
            row |= {"native": reading == sample.native, "k": settings.k, "b": settings.b}
            row |= {"mean": mask.double().mean().item(), "sd": mask.double().std().item()}
            row["at_one"] = (mask >= 1).double().mean().item()
            row["near_b"] = (mask < settings.b + 0.01).double().mean().item()
            row["k_halfway"] = k_for_mean(sample, settings, reading, (settings.b + 1) / 2)
            rows.append(row)
    return pd.DataFrame(rows)


def k_for_mean(sample: Sample, settings: Mask, reading: ErrorRange, mean: float) -> float:
    """Find the k with which the mask, else as ``settings`` have it, has this mean; NaN where no k gives it.

    The mean rises with k, so halving the interval finds it, in powers of ten from 1e-9 to 1e9.
    """

    def exceeds(exponent: float) -> bool:
        return sample.mask(settings, reading, 10**exponent).double().mean().item() > mean

    low, high = -9.0, 9.0
    if exceeds(low) or not exceeds(high):
        return float("nan")
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if exceeds(middle) else (middle, high)
    return 10**low


def discriminator_inputs(sample: Sample, mask: Mask) -> tuple[Tensor, Tensor]:
    """Return the fake and the real input of the discriminator, (B, 3, H, W) in 8-bit grey levels."""
    rng = torch.Generator().manual_seed(0)
    m = mask_of(mask, sample.sr, sample.hr, pixel_range=sample.pixel_range, rng=rng)
    fake, real = what_the_discriminator_sees(sample.sr, sample.hr, m, mask.apply)
    return fake * (255 / sample.pixel_range), real * (255 / sample.pixel_range)


def share_darker(fake: np.ndarray, real: np.ndarray) -> float:
    """Return P(fake < real) over all pairs, ties counted half (Mann and Whitney's U by the number of pairs)."""
    ranks = rankdata(np.concatenate([fake, real]))[len(fake) :]
    return float((ranks.sum() - len(real) * (len(real) + 1) / 2) / (len(fake) * len(real)))


def gradient_at_sr(sample: Sample, mask: Mask, recipe: Model, seed: int) -> Tensor:
    """Return the gradient of the generator's GAN term with respect to SR, (B, 3, H, W).

    seed: of the run, whose first discriminator this is.
    """
    discriminator = build_discriminator(
        recipe.discriminator, sample.sr.shape[-1], seed_for(seed, "discriminator")
    )
    image = sample.sr.clone().requires_grad_()
    rng = torch.Generator().manual_seed(0)
    m = mask_of(mask, image, sample.hr, pixel_range=sample.pixel_range, rng=rng)
    fake, real = what_the_discriminator_sees(image, sample.hr, m, mask.apply)
    with torch.no_grad():
        logit_real = discriminator(real)
    gan = losses.generator_loss(
        recipe.loss.gan_type, logit_real, discriminator(fake), recipe.loss.focal_gamma
    )
    return torch.autograd.grad(gan, image)[0]


def compared_masks(settings: Mask) -> dict[str, Mask]:
    """Return the masks to compare: none, each reading, controls, each ``apply`` of the relative."""
    masks = {NO_MASK: Mask(kind="none")}
    for reading, title in READINGS.items():
        masks[title] = settings.model_copy(update={"kind": "error", "error_range": reading})
    relative = masks["relative"]
    for control in ("constant", "shuffled"):
        masks[f"relative, {control}"] = relative.model_copy(update={"kind": control})
    for apply in APPLIES:
        if apply != settings.apply:
            detach = settings.detach or apply == "gradient"
            masks[f"relative, apply: {apply}"] = relative.model_copy(
                update={"apply": apply, "detach": detach}
            )
    return masks


def gradient_table(starts: Sequence[Sample], settings: Mask, params: Params) -> pd.DataFrame:
    """Measure where the GAN's gradient falls with each mask of ``compared_masks``: a row per model and mask.

    starts: samples before the adversarial training. Columns: share (of the gradient's size, summed over
    pixels, that falls on the quarter of the pixels with the largest error), correlation (Spearman, of a
    pixel's gradient with its error), size (norm of the whole gradient, that without a mask being 1).
    """
    rows = []
    for sample in starts:
        recipe, without = params.models[sample.model], None
        error = sample.error().flatten().numpy()
        largest = error > np.quantile(error, 0.75)
        for title, mask in compared_masks(settings).items():
            gradient = gradient_at_sr(sample, mask, recipe, params.table1.seeds[0])
            size = gradient.norm(dim=1).flatten().double().numpy()
            total = float(np.sqrt(np.square(size).sum()))
            without = without or total
            row = {"model": sample.model, "when": sample.when, "mask": title}
            row["share"] = float(size[largest].sum() / size.sum())
            row["correlation"] = float(spearmanr(size, error).statistic)
            rows.append(row | {"size": total / without})
    return pd.DataFrame(rows)
