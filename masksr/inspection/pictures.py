"""What ``masksr.plots`` draws of the inspected networks, as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from masksr.data.images import to_image
from masksr.inspection import gradient
from masksr.inspection.networks import READINGS, Sample, most_structured, some
from masksr.params import Mask, Params
from masksr.plots.gradient import GradientMaps, Inputs
from masksr.plots.inspection import OverTraining, Readings
from masksr.plots.schematic import Flow


def flow(samples: Sequence[Sample], settings: Mask) -> Flow:
    """The most structured patch of the first trained network, with its relative mask, to see something."""
    sample = next(sample for sample in samples if sample.when == "end")
    number = most_structured(sample, settings)
    error, one = sample.error(), some(sample, slice(number, number + 1))
    images = [to_image(image, one.pixel_range) for image in (one.lr, one.sr, one.hr)]
    return Flow(*images, error[number].numpy(), _mask(sample, settings, "relative", number),
                k=settings.k / error.mean().item(), b=settings.b)  # fmt: skip


def over_training(
    photographs: Sequence[Sample], histories: dict[str, pd.DataFrame], settings: Mask, params: Params
) -> list[OverTraining]:
    """A row per model: SR and mask before and after the adversarial training, in the range the variant trained with."""
    rows = []
    for before, after in _pairs(photographs):
        reading = before.native if settings.error_range == "native" else settings.error_range
        images = [
            image
            for sample in (before, after)
            for image in (to_image(sample.sr, sample.pixel_range), _mask(sample, settings, reading))
        ]
        title = f"{params.models[before.model].title}\n{READINGS[reading]}"
        rows.append(OverTraining(title, *images, histories[before.model]))
    return rows


def readings(photographs: Sequence[Sample], settings: Mask, params: Params) -> list[Readings]:
    """A row per model, after the adversarial training: the squared error, and the mask in each reading of its range."""
    return [
        Readings(
            params.models[after.model].title,
            after.error()[0].numpy(),
            {title: _mask(after, settings, reading) for reading, title in READINGS.items()},
            READINGS[after.native],
        )
        for _, after in _pairs(photographs)
    ]


def inputs(samples: Sequence[Sample], settings: Mask) -> dict[str, Inputs]:
    """By ``apply``, what the discriminator sees of one patch of the first trained network, with the relative mask."""
    sample = next(sample for sample in samples if sample.when == "end")
    number = most_structured(sample, settings)
    shown = {}
    for apply in gradient.APPLIES:
        mask = settings.model_copy(update={"kind": "error", "error_range": "relative", "apply": apply})
        shown[apply] = Inputs(*(to_image(batch[number], 255) for batch in gradient.inputs(sample, mask)))
    return shown


def gradient_maps(samples: Sequence[Sample], settings: Mask, params: Params) -> GradientMaps:
    """On one patch of the first model: error, relative mask, and the gradient's size at each pixel without and with."""
    sample = gradient.starts(samples)[0]
    number = most_structured(sample, settings)
    relative = settings.model_copy(update={"kind": "error", "error_range": "relative"})
    masks = {apply: relative.model_copy(update={"apply": apply, "detach": True}) for apply in ("gradient", "both")}
    recipe, seed = params.models[sample.model], params.table1.seeds[0]
    sizes = {
        name: gradient.at_sr(sample, mask, recipe, seed)[number].norm(dim=0).numpy()
        for name, mask in ({"plain": Mask(kind="none")} | masks).items()
    }
    one = some(sample, slice(number, number + 1))
    return GradientMaps(
        to_image(one.sr, one.pixel_range), one.error()[0].numpy(), _mask(sample, settings, "relative", number), **sizes
    )


def _pairs(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Before and after, of each model."""
    return list(zip(samples[::2], samples[1::2], strict=True))


def _mask(sample: Sample, settings: Mask, reading: str, number: int = 0) -> NDArray[np.float32]:
    """(H, W), the mean over its channels where it has several."""
    return sample.mask(settings, reading)[number].mean(dim=0).numpy()
