"""imresize: published LR images bit for bit, an independent formula in exact arithmetic, and invariants."""

import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from masksr.data.bicubic import imresize


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100", "Urban100"])
def test_the_benchmarks_lr_images_bit_for_bit(name):
    if "MASKSR_DATA" not in os.environ:
        pytest.skip("MASKSR_DATA is not set: no benchmark images to compare with")
    folder = Path(os.environ["MASKSR_DATA"]) / "test" / name
    files = sorted(folder.glob("HR/*.png"))
    assert files, f"no images in {folder}"
    for file in files:
        hr, lr = (np.asarray(Image.open(folder / kind / file.name)) for kind in ("HR", "LR_x4"))
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
        np.testing.assert_array_equal(imresize(hr, 0.25), lr, err_msg=file.name)


def cubic(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x < 2 else Fraction(0)


def resize_line(line: list[int], scale: Fraction, border: str) -> list[int]:
    """One line of pixels, an output pixel at a time, in fractions: pixel i covers [i, i + 1)."""
    stretch = min(scale, Fraction(1))
    result = []
    for i in range(math.ceil(scale * len(line))):
        centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
        reach = range(math.floor(centre - 2 / stretch), math.ceil(centre + 2 / stretch) + 1)
        weights = [cubic(stretch * (centre - j)) for j in reach]
        near = [(line + line[::-1])[j % (2 * len(line))] for j in reach]
        if border == "repeat":
            near = [line[min(max(j, 0), len(line) - 1)] for j in reach]
        value = sum(w * pixel for w, pixel in zip(weights, near, strict=True)) / sum(weights)
        result.append(min(max(math.floor(value + Fraction(1, 2)), 0), 255))
    return result


def resize_slowly(image: np.ndarray, scale: Fraction, border: str = "repeat") -> np.ndarray:
    columns = np.array([resize_line(column.tolist(), scale, border) for column in image.T]).T  # the height first
    return np.array([resize_line(row.tolist(), scale, border) for row in columns], dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 14), width=st.integers(1, 14),
    scale=st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(2), Fraction(4)]),
    seed=st.integers(0, 999), border=st.sampled_from(["repeat", "mirror"]),
)
def test_an_independent_formula_in_exact_arithmetic(height, width, scale, seed, border):
    """At these scales all weights are exact in floating point: even values halfway between levels agree."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    np.testing.assert_array_equal(imresize(image, float(scale), border), resize_slowly(image, scale, border))


@pytest.mark.parametrize("scale", [1 / 3, 3.0, 0.7, 1.3, 0.375, 1.25])
def test_odd_scales_agree_with_the_formula_but_for_rounding_and_borders_repeat_by_default(scale):
    image = np.random.default_rng(3).integers(0, 256, (17, 13), dtype=np.uint8)
    slow, fast = resize_slowly(image, Fraction(scale)), imresize(image, scale)
    assert np.abs(fast.astype(int) - slow).max() <= 1 and (fast != slow).mean() < 0.01
