"""Equation 8 in numbers: what the mask is for each network in each reading of the error's range, and over k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from masksr.inspection.networks import READINGS, Sample
from masksr.params import Mask
from masksr.training.mask import ErrorRange

RANGES = tuple(2.0 ** (step / 4) for step in range(-4, 45))  # 1/2 to 2048


def mask_table(samples: Sequence[Sample], settings: Mask) -> pd.DataFrame:
    """What the mask is for each network in each reading: a row per model, when and error_range.

    Columns: native (whether the reading is the network's own), k, b, mean, sd (over all pixels), at_one (share clipped
    at 1), near_b (share below b + 0.01), k_halfway (the k with which the mean would lie half way between b and 1).
    """
    rows = []
    for sample in samples:
        for reading in READINGS:
            mask = sample.mask(settings, reading)
            names = {"model": sample.model, "when": sample.when, "error_range": reading}
            shares = {"at_one": mask >= 1, "near_b": mask < settings.b + 0.01}
            rows.append(
                names
                | {"native": reading == sample.native, "k": settings.k, "b": settings.b}
                | {"mean": mask.double().mean().item(), "sd": mask.double().std().item()}
                | {name: share.double().mean().item() for name, share in shares.items()}
                | {"k_halfway": k_for_mean(sample, settings, reading, (settings.b + 1) / 2)}
            )
    return pd.DataFrame(rows)


def k_for_mean(sample: Sample, settings: Mask, reading: ErrorRange, mean: float) -> float:
    """The k with which the mask, else as ``settings`` have it, has this mean; NaN where no k gives it.

    The mean rises with k, so halving the interval finds it, in powers of ten from 1e-9 to 1e9.
    """
    low, high = -9.0, 9.0
    exceeds = [sample.mask(settings, reading, 10**end).double().mean().item() > mean for end in (low, high)]
    if exceeds != [False, True]:
        return float("nan")
    while high - low > 1e-6:
        middle = (low + high) / 2
        if sample.mask(settings, reading, 10**middle).double().mean() > mean:
            high = middle
        else:
            low = middle
    return 10**low


def over_range(samples: Sequence[Sample], settings: Mask, ranges: Sequence[float] = RANGES) -> pd.DataFrame:
    """Mean and sd of the mask, had the error been counted in [0, R], for each R of ``ranges``.

    Columns: model, when, R, mean, sd, relative (the R with which the relative reading agrees: 255 over the RMSE).
    """
    rows = []
    for sample in samples:
        names = {"model": sample.model, "when": sample.when}
        relative = 255 / sample.error().double().mean().item() ** 0.5
        for R in ranges:  # k on [0, R] acts as k R^2 on [0, 1]
            mask = sample.mask(settings, "1", settings.k * R**2).double()
            values = {"R": R, "mean": mask.mean().item(), "sd": mask.std().item()}
            rows.append(names | values | {"relative": relative})
    return pd.DataFrame(rows)


def histograms(samples: Sequence[Sample], settings: Mask, bins: int = 50) -> pd.DataFrame:
    """How the mask's values are spread: columns model, when, error_range, mask (left edge of a bin) and share."""
    rows = []
    for sample in samples:
        for reading in READINGS:
            counts, edges = np.histogram(sample.mask(settings, reading).numpy(), bins, (0, 1))
            names = {"model": sample.model, "when": sample.when, "error_range": reading}
            rows.append(pd.DataFrame(names | {"mask": edges[:-1], "share": counts / counts.sum()}))
    return pd.concat(rows, ignore_index=True)
