"""Files, arrays, tensors and luma."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from masksr.data.images import luma, read_image, to_image, to_tensor
from masksr.io import MasksrError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_pictures_that_cannot_be_used_are_named(tmp_path, picture):
    image, cut = Image.fromarray(picture), tmp_path / "cut.png"
    image.putalpha(254)
    image.save(tmp_path / "alpha.png")
    Image.fromarray(picture).quantize(16).save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(picture).save(cut)
    cut.write_bytes(cut.read_bytes()[:-40])
    for name, says in {
        "alpha.png": "transparent", "palette.png": "transparent", "cmyk.jpg": "RGB PNG",
        "cut.png": "cannot be read", "nothing.png": "no such file",
    }.items():
        with pytest.raises(MasksrError, match=f"{name}.*{says}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("pixel_range", [1, 255])
def test_to_image_undoes_to_tensor(picture, pixel_range):
    tensor = to_tensor(picture, pixel_range)
    assert tensor.shape == (1, 3, 12, 20) and tensor.dtype == torch.float32
    assert torch.equal(tensor[0], torch.from_numpy(picture).permute(2, 0, 1).float() / (255 / pixel_range))
    np.testing.assert_array_equal(to_image(tensor, pixel_range), picture)
    np.testing.assert_array_equal(to_image(tensor[0], pixel_range), picture)


def test_a_diverged_network_is_named():
    with pytest.raises(MasksrError, match="diverged"):
        to_image(torch.full((3, 4, 4), torch.nan), 1)


def test_luma(picture):
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [16, 235, 81.481, 144.553, 40.966], rtol=1e-14)
    np.testing.assert_allclose(luma(picture), rgb2ycbcr(picture)[..., 0], atol=1e-10)
