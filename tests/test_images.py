"""Files, arrays, tensors and luma."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from masksr.data.images import luma, read_header, read_image, to_image, to_tensor, write_png
from masksr.io import MasksrError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_a_png_comes_back_as_it_was_written(tmp_path, picture):
    path = tmp_path / "new" / "picture.png"
    write_png(path, picture)
    np.testing.assert_array_equal(read_image(path), picture)
    assert read_header(path) == ((20, 12), "RGB")


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_becomes_three_channels_and_palettes_are_looked_up(tmp_path, picture, mode):
    image = Image.fromarray(picture).convert(mode)
    image.save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), np.array(image.convert("RGB")))


def test_opaque_alpha_is_dropped_and_exif_turns(tmp_path, picture):
    path = tmp_path / "alpha.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    alpha = np.full((12, 20, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(picture, -1))


def test_pictures_that_cannot_be_used_are_named(tmp_path, picture):
    image, cut = Image.fromarray(picture), tmp_path / "cut.png"
    image.putalpha(254)
    image.save(tmp_path / "alpha.png")
    Image.fromarray(picture).quantize(16).save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(picture).save(cut)
    cut.write_bytes(cut.read_bytes()[:-40])
    for name, says in {
        "alpha.png": "transparent",
        "palette.png": "transparent",
        "cmyk.jpg": "RGB PNG",
        "cut.png": "cannot be read",
        "nothing.png": "no such file",
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
