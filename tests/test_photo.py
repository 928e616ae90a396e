"""Pictures with all that they hold, read and written: depth, grey, transparency, profile, orientation."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from masksr.data import images
from masksr.errors import MasksrError
from masksr.tools.photo import Photo, find_photos, read_photo, write_photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk before its pixels."""
    at = png.index(b"IDAT") - 4
    return png[:at] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) + png[at:]


# ---- Written and read ------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    transparent=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    profile=st.sampled_from([None, PROFILE]),
)
def test_a_photo_comes_back_as_it_was_written(tmp_path_factory, height, width, channels, transparent, dtype, profile):
    pixels, alpha = noise(height, width, channels, dtype=dtype), noise(height, width, dtype=dtype)
    path = tmp_path_factory.getbasetemp() / "new" / "photo.png"
    write_photo(path, Photo(pixels, alpha if transparent else None, profile))
    back = read_photo(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.pixels.dtype == dtype and back.levels == np.iinfo(dtype).max and back.profile == profile
    if transparent:
        np.testing.assert_array_equal(back.alpha, alpha)
    else:
        assert back.alpha is None
    assert [file.name for file in path.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_are_those_that_opencv_writes_and_reads(tmp_path, channels):
    pixels = noise(11, 7, channels, dtype=np.uint16)
    bgr = pixels[..., [2, 1, 0, 3][:channels]]
    cv2.imwrite(str(tmp_path / "theirs.png"), bgr)
    theirs = read_photo(tmp_path / "theirs.png")
    np.testing.assert_array_equal(theirs.pixels, pixels[..., :3])
    write_photo(tmp_path / "ours.png", theirs)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "ours.png"), cv2.IMREAD_UNCHANGED), bgr)


def test_what_is_written_has_a_sound_profile_and_checksums(tmp_path):
    write_photo(tmp_path / "deep.png", Photo(noise(5, 6, 3, dtype=np.uint16), None, PROFILE))
    with Image.open(tmp_path / "deep.png") as image:  # Pillow compares the checksum of every chunk
        image.load()
        assert image.size == (6, 5) and image.info["icc_profile"] == PROFILE


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MasksrError, match="disk full"):
        write_photo(tmp_path / "photo.png", Photo(noise(4, 4, 3), None, None))
    assert not list(tmp_path.iterdir())


# ---- Files of others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode,channels", [("RGB", 3), ("L", 1), ("1", 1), ("P", 3)])
@pytest.mark.parametrize("transparent", [False, True])
def test_every_8_bit_mode_is_read_as_grey_or_rgb(tmp_path, mode, channels, transparent):
    image = Image.fromarray(noise(8, 9, 3)).convert(mode)
    settings = {"transparency": image.getpixel((2, 3))} if transparent else {}
    image.save(tmp_path / "picture.png", **settings)
    photo = read_photo(tmp_path / "picture.png")
    expected = np.array(image.convert("L" if channels == 1 else "RGB")).reshape(8, 9, channels)
    np.testing.assert_array_equal(photo.pixels, expected)
    if transparent:
        np.testing.assert_array_equal(photo.alpha == 0, (expected == expected[3, 2]).all(axis=2))
        assert set(np.unique(photo.alpha)) == {0, 255}
    else:
        assert photo.alpha is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_16_bits(tmp_path, channels):
    pixels = noise(6, 5, channels, dtype=np.uint16)
    write_photo(tmp_path / "deep.png", Photo(pixels, None, None))
    colour = struct.pack(f">{channels}H", *pixels[2, 3])
    (tmp_path / "deep.png").write_bytes(with_chunk((tmp_path / "deep.png").read_bytes(), b"tRNS", colour))
    photo = read_photo(tmp_path / "deep.png")
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.alpha.dtype == np.uint16 and photo.alpha[2, 3] == 0 and np.count_nonzero(photo.alpha) == 29


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_photos_are_turned_upright_as_pillow_does(tmp_path, orientation, deep):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise(4, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        expected = np.array(ImageOps.exif_transpose(image))
    if deep:
        write_photo(tmp_path / "turned.png", Photo(pixels.astype(np.uint16) * 257, None, None))
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        (tmp_path / "turned.png").write_bytes(with_chunk((tmp_path / "turned.png").read_bytes(), b"eXIf", block))
    photo = read_photo(tmp_path / "turned.png")
    np.testing.assert_array_equal(photo.pixels // (257 if deep else 1), expected)
    write_photo(tmp_path / "upright.png", photo)
    assert not Image.open(tmp_path / "upright.png").getexif()  # or a viewer would turn it once more
    np.testing.assert_array_equal(read_photo(tmp_path / "upright.png").pixels, photo.pixels)


def test_the_profile_of_a_jpeg_is_kept(tmp_path):
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "camera.jpg", icc_profile=PROFILE)
    assert read_photo(tmp_path / "camera.jpg").profile == PROFILE


def test_the_first_picture_of_a_phone_is_the_picture(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (200, 20)]
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert (read_photo(tmp_path / "phone.jpg").pixels > 190).all()


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.webp", "pages.tif"])
def test_animations_and_pages_are_refused(tmp_path, name):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (200, 20, 90)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(MasksrError, match=rf"{name}: has 3 pictures.*save the one you want"):
        read_photo(tmp_path / name)


def test_cmyk_and_deep_pictures_that_are_no_png_are_refused(tmp_path):
    Image.fromarray(noise(8, 8, 4), "CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(noise(8, 8, dtype=np.uint16)).save(tmp_path / "grey.tif")
    cv2.imwrite(str(tmp_path / "colour.tif"), noise(8, 8, 3, dtype=np.uint16))
    Image.fromarray(noise(8, 8).astype(np.float32)).save(tmp_path / "float.tif")
    for name in ("print.jpg", "grey.tif", "colour.tif", "float.tif"):
        with pytest.raises(MasksrError, match=rf"{name}: .*save it as .*PNG"):
            read_photo(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_damaged_files_are_named(tmp_path, dtype):
    path = tmp_path / "cut.png"
    write_photo(path, Photo(noise(40, 40, 3, dtype=dtype), None, None))
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:30], whole[: len(whole) // 2], whole[:300] + b"xx" + whole[302:]):
        path.write_bytes(damaged)
        with pytest.raises(MasksrError, match=r"cut\.png: cannot be read"):
            read_photo(path)
    with pytest.raises(MasksrError, match="no such file"):
        read_photo(tmp_path / "nothing.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, dtype):
    write_photo(tmp_path / "bomb.png", Photo(noise(20, 20, 3, dtype=dtype), None, None))
    monkeypatch.setattr(images.Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(MasksrError, match=r"bomb\.png.*megapixels"):
        read_photo(tmp_path / "bomb.png")


# ---- Which files are meant -------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "below/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_stands_for_its_pictures(album):
    assert [path.name for path in find_photos([str(album)])] == ["a.png", "b.JPG"]


def test_patterns_are_expanded_and_nothing_comes_twice(album):
    inputs = [str(album / "b.JPG"), str(album / "*.png"), str(album), str(album / "**/c.*")]
    assert [path.name for path in find_photos(inputs)] == ["b.JPG", "a.png", "c.png"]


def test_a_name_with_brackets_is_a_name_first(album):
    (album / "[a].png").touch()
    assert find_photos([str(album / "[a].png")]) == [album / "[a].png"]


@pytest.mark.parametrize("wanted", ["nothing.png", "*.bmp", "empty"])
def test_inputs_that_lead_nowhere_are_named(album, wanted):
    (album / "empty").mkdir()
    with pytest.raises(MasksrError, match=r"(no such file|no picture)"):
        find_photos([str(album / "a.png"), str(album / wanted)])


def test_any_format_of_pillow_will_do(tmp_path):
    pixels = noise(8, 8, 3)
    for name in ("a.bmp", "a.webp", "a.tif", "a.ppm"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, Image.registered_extensions()[Path(name).suffix], lossless=True)
        (tmp_path / name).write_bytes(buffer.getvalue())
        np.testing.assert_array_equal(read_photo(tmp_path / name).pixels, pixels)
    assert len(find_photos([str(tmp_path)])) == 4
