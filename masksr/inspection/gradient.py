"""What the mask does to the discriminator's input, and to the gradient that comes back from it to the SR image.

Trainings keep no discriminator. So the gradient is that of their first step: the start's SR images before the freshly
initialised discriminator that the training began with, where the patches have its size, else one of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from masksr.inspection.networks import READINGS, Sample, some
from masksr.models.checkpoints import build_discriminator, seed_for
from masksr.params import Mask, Model, Params
from masksr.training import losses
from masksr.training.mask import Apply, apply_mask, error_mask

APPLIES: tuple[Apply, ...] = ("both", "sr", "gradient")
PLAIN = "no mask"


def variants(settings: Mask) -> dict[str, Mask]:
    """The masks whose gradients are compared: none, each reading, the controls and each ``apply`` of the relative."""
    named = {PLAIN: Mask(kind="none")}
    for reading, title in READINGS.items():
        named[title] = settings.model_copy(update={"kind": "error", "error_range": reading})
    relative = named["relative"]
    for control in ("constant", "shuffled"):
        named[f"relative, {control}"] = relative.model_copy(update={"kind": control})
    for apply in APPLIES:
        if apply != settings.apply:
            detach = settings.detach or apply == "gradient"
            named[f"relative, apply: {apply}"] = relative.model_copy(update={"apply": apply, "detach": detach})
    return named


def inputs(sample: Sample, mask: Mask) -> tuple[Tensor, Tensor]:
    """The fake and the real input of the discriminator, (B, 3, H, W) in 8-bit grey levels."""
    m = error_mask(sample.sr, sample.hr, mask, pixel_range=sample.pixel_range, rng=torch.Generator().manual_seed(0))
    fake, real = apply_mask(sample.sr, sample.hr, m, mask.apply)
    return fake * (255 / sample.pixel_range), real * (255 / sample.pixel_range)


def brightness_table(samples: Sequence[Sample], settings: Mask) -> pd.DataFrame:
    """Whether brightness alone gives the fakes away: a row per model, when, error_range and apply.

    Columns: fake, real (mean grey level of the discriminator's inputs), told_apart: the share of all pairs of a fake
    and a real patch in which the fake is the darker one. One half is chance.
    """
    rows = []
    for sample in samples:
        for reading in READINGS:
            for apply in APPLIES:
                changes = {"kind": "error", "error_range": reading, "apply": apply}
                levels = [x.mean(dim=(1, 2, 3)).numpy() for x in inputs(sample, settings.model_copy(update=changes))]
                names = {"model": sample.model, "when": sample.when, "error_range": reading, "apply": apply}
                means = {name: float(level.mean()) for name, level in zip(("fake", "real"), levels, strict=True)}
                rows.append(names | means | {"told_apart": _share_darker(*levels)})
    return pd.DataFrame(rows)


def _share_darker(fake: np.ndarray, real: np.ndarray) -> float:
    """P(fake < real) over all pairs, ties counted half (Mann and Whitney's U, divided by the number of pairs)."""
    ranks = rankdata(np.concatenate([fake, real]))[len(fake) :]
    return float((ranks.sum() - len(real) * (len(real) + 1) / 2) / (len(fake) * len(real)))


def at_sr(sample: Sample, mask: Mask, recipe: Model, seed: int) -> Tensor:
    """The gradient of the generator's GAN term with respect to SR, (B, 3, H, W).

    seed: of the training, whose first discriminator this is.
    """
    discriminator = build_discriminator(recipe.discriminator, sample.sr.shape[-1], seed_for(seed, "discriminator"))
    image = sample.sr.clone().requires_grad_()
    rng = torch.Generator().manual_seed(0)
    m = error_mask(image, sample.hr, mask, pixel_range=sample.pixel_range, rng=rng)
    fake, real = apply_mask(image, sample.hr, m, mask.apply)
    with torch.no_grad():
        logit_real = discriminator(real)
    gan = losses.generator_loss(recipe.loss.gan_type, logit_real, discriminator(fake), recipe.loss.focal_gamma)
    return torch.autograd.grad(gan, image)[0]


def gradient_table(samples: Sequence[Sample], settings: Mask, params: Params) -> pd.DataFrame:
    """Where the GAN's gradient falls with each mask of ``variants``: a row per model and mask.

    Columns: share (of the gradient's size, summed over pixels, that falls on the quarter of the pixels with the largest
    error), correlation (Spearman, of a pixel's gradient with its error), size (norm of the whole gradient, that of the
    plain one being 1).
    """
    rows = []
    for sample in starts(samples):
        recipe, plain = params.models[sample.model], None
        error = sample.error().flatten().numpy()
        largest = error > np.quantile(error, 0.75)
        for title, mask in variants(settings).items():
            size = at_sr(sample, mask, recipe, params.table1.seeds[0]).norm(dim=1).flatten().double().numpy()
            total = float(np.sqrt(np.square(size).sum()))
            plain = plain or total
            measured = {
                "share": float(size[largest].sum() / size.sum()),
                "correlation": float(spearmanr(size, error).statistic),
                "size": total / plain,
            }
            rows.append({"model": sample.model, "when": sample.when, "mask": title} | measured)
    return pd.DataFrame(rows)


def starts(samples: Sequence[Sample]) -> list[Sample]:
    """Every other patch of the networks before their adversarial training: enough, and half the work."""
    return [some(sample, slice(None, None, 2)) for sample in samples if sample.when == "start"]


def largest_share(b: float) -> float:
    """What the mask can bring of an evenly spread gradient to a quarter of the pixels: 1 there, b everywhere else."""
    return 0.25 / (0.25 + 0.75 * min(max(b, 0), 1))
