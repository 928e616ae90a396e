"""PSNR, SSIM and RMSE against pyiqa, scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyiqa.archs.psnr_arch import PSNR
from skimage import data
from skimage.metrics import structural_similarity

from masksr.data.bicubic import imresize
from masksr.data.images import luma
from masksr.quality import fidelity

COFFEE, CAT = data.coffee(), data.chelsea()


def as_pyiqa_has_it(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255


def test_fidelity_is_pyiqas_and_scikit_images():
    reference = np.ascontiguousarray(COFFEE[100:260, 180:360])
    image = imresize(imresize(reference, 1 / 4), 4)
    psnr = PSNR(test_y_channel=True, crop_border=4, data_range=255, color_space="ycbcr")
    assert fidelity.psnr(image, reference) == pytest.approx(
        psnr(as_pyiqa_has_it(image), as_pyiqa_has_it(reference)).item(), abs=1e-5
    )
    inner = (luma(image, rounded=True)[4:-4, 4:-4], luma(reference, rounded=True)[4:-4, 4:-4])
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    assert fidelity.ssim(image, reference) == pytest.approx(
        structural_similarity(*inner, **options)[1][5:-5, 5:-5].mean(), abs=1e-4
    )
    error = np.sqrt(np.mean((inner[0] - inner[1]) ** 2))
    assert fidelity.rmse(image, reference) == pytest.approx(error, abs=1e-3)
    assert fidelity.psnr(image, reference) == pytest.approx(20 * np.log10(255 / error), abs=1e-3)


def test_fidelity_of_an_image_to_itself_and_to_one_level_more():
    grey = np.full((30, 40, 3), 100, np.uint8)
    assert fidelity.psnr(grey, grey) == np.inf
    assert fidelity.ssim(grey, grey) == 1
    assert fidelity.rmse(grey, grey) == 0
    brighter = grey + np.uint8(7)
    assert fidelity.rmse(grey, brighter) == 6  # 7 levels of grey are 6 of luma
    assert fidelity.psnr(grey, brighter) == pytest.approx(20 * np.log10(255 / 6))


def test_the_border_does_not_count():
    spoilt = CAT.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 255, 9, 99
    assert fidelity.psnr(CAT, spoilt) == np.inf
    assert fidelity.psnr(CAT, spoilt, border=0) < 30
