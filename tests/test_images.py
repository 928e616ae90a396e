"""Files, arrays, tensors and luma."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masksr.data import images
from masksr.data.images import luma, modcrop, read_header, read_image, to_image, to_tensor, write_png
from masksr.errors import MasksrError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_a_png_comes_back_as_it_was_written(tmp_path, picture):
    path = tmp_path / "new" / "picture.png"
    write_png(path, picture)
    np.testing.assert_array_equal(read_image(path), picture)
    assert read_header(path) == ((20, 12), "RGB")
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_a_failed_write_leaves_the_old_picture_and_no_rubbish(tmp_path, picture, monkeypatch):
    path = tmp_path / "picture.png"
    write_png(path, picture)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MasksrError, match="disk full"):
        write_png(path, 255 - picture)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_image(path), picture)
    assert len(list(tmp_path.iterdir())) == 1


def test_only_uint8_is_written(tmp_path, picture):
    with pytest.raises(TypeError, match="uint8"):
        write_png(tmp_path / "picture.png", picture / 255)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_three_equal_channels(tmp_path, picture, mode):
    grey = Image.fromarray(picture).convert(mode)
    grey.save(tmp_path / "grey.png")
    read = read_image(tmp_path / "grey.png")
    assert read.shape == (12, 20, 3)
    np.testing.assert_array_equal(read, np.array(grey.convert("L"))[..., None].repeat(3, axis=2))


def test_palettes_are_looked_up(tmp_path, picture):
    palette = Image.fromarray(picture).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.array(palette.convert("RGB")))


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path, picture):
    path = tmp_path / "alpha.png"
    alpha = np.full((12, 20, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(path)
    np.testing.assert_array_equal(read_image(path), picture)
    alpha[3, 4] = 254
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(path)
    with pytest.raises(MasksrError, match=r"alpha\.png.*transparent"):
        read_image(path)


def test_a_transparent_colour_of_a_palette_or_of_rgb_is_refused(tmp_path, picture):
    Image.fromarray(picture).quantize(16).save(tmp_path / "palette.png", transparency=0)
    picture[0, 0] = 1, 2, 3
    Image.fromarray(picture).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    for name in ("palette.png", "rgb.png"):
        with pytest.raises(MasksrError, match="transparent"):
            read_image(tmp_path / name)


def test_cmyk_and_16_bit_are_refused(tmp_path, picture):
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.zeros((12, 20), np.uint16)).save(tmp_path / "deep.png")
    for name in ("cmyk.jpg", "deep.png"):
        with pytest.raises(MasksrError, match=f"{name}.*8-bit RGB"):
            read_image(tmp_path / name)


def test_exif_orientation_is_respected(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(picture, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(MasksrError, match=f"cut.{suffix}: cannot be read"):
            read_image(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(MasksrError, match="no such file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(MasksrError, match="cannot be read"):
        read_image(tmp_path)


def test_too_many_pixels_are_refused(tmp_path, picture, monkeypatch):
    write_png(tmp_path / "bomb.png", picture)
    monkeypatch.setattr(images.Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses more than twice as many
    with pytest.raises(MasksrError, match=r"bomb\.png.*megapixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("pixel_range", [1, 255])
def test_to_image_undoes_to_tensor(picture, pixel_range):
    tensor = to_tensor(picture, pixel_range)
    assert tensor.shape == (1, 3, 12, 20) and tensor.dtype == torch.float32
    assert tensor.max() <= pixel_range
    np.testing.assert_array_equal(to_image(tensor, pixel_range), picture)
    np.testing.assert_array_equal(to_image(tensor[0], pixel_range), picture)


def test_range_one_is_division_by_255_as_in_torchvision(picture):
    expected = torch.from_numpy(picture).permute(2, 0, 1).to(torch.float32).div(255)
    assert torch.equal(to_tensor(picture, 1)[0], expected)


def test_to_image_clamps_and_rounds_to_nearest():
    levels = torch.tensor([-3.0, 0.49, 0.51, 126.4, 126.6, 254.6, 400.0, 7.0])
    tensor = levels.expand(3, 2, 8)
    for pixel_range in (1, 255):
        image = to_image(tensor * (pixel_range / 255), pixel_range)
        assert image.shape == (2, 8, 3) and image.dtype == np.uint8
        assert image[0, :, 0].tolist() == [0, 0, 1, 126, 127, 255, 255, 7]


def test_to_image_takes_bfloat16_and_gradients():
    tensor = torch.full((1, 3, 4, 4), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert (to_image(tensor, 1) == 128).all()


def test_nan_is_a_diverged_network():
    with pytest.raises(MasksrError, match="diverged"):
        to_image(torch.full((3, 4, 4), torch.nan), 1)


def test_wrong_tensors_are_refused(picture):
    for bad in (picture / 255, picture[..., :2], torch.zeros(3, 4, 4, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="to_tensor"):
            to_tensor(bad, 1)
    for shape in ((2, 3, 4, 4), (4, 4, 3), (4, 4)):
        with pytest.raises(ValueError, match="to_image"):
            to_image(torch.zeros(shape), 1)


def test_luma_of_known_colours():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [16, 235, 81.481, 144.553, 40.966], rtol=1e-14)
    assert luma(colours, rounded=True)[0].tolist() == [16, 235, 81, 145, 41]


def test_luma_agrees_with_scikit_image(picture):
    from skimage.color import rgb2ycbcr

    np.testing.assert_allclose(luma(picture), rgb2ycbcr(picture)[..., 0], atol=1e-10)


@given(height=st.integers(4, 40), width=st.integers(4, 40), scale=st.integers(1, 4))
def test_modcrop_keeps_the_top_left_and_loses_less_than_a_block(height, width, scale):
    image = np.arange(height * width * 3).reshape(height, width, 3)
    cut = modcrop(image, scale)
    assert cut.shape[0] % scale == cut.shape[1] % scale == 0
    assert height - cut.shape[0] < scale and width - cut.shape[1] < scale
    np.testing.assert_array_equal(cut, image[: cut.shape[0], : cut.shape[1]])


def test_modcrop_of_too_little(picture):
    with pytest.raises(ValueError, match="3 x 20"):
        modcrop(picture[:3], 4)
