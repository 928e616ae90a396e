"""Pictures as photographers keep them: 8 or 16 bits, grey or colour, with transparency and a colour profile."""

from __future__ import annotations

import glob
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masksr.data.images import READABLE_MODES, open_image
from masksr.errors import MasksrError
from masksr.files import user_path, write_atomic

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".avif")
_ORIENTATION = 0x0112  # tag of EXIF; section 4.6.4 of EXIF 2.3
_MIRRORED = (2, 4, 5, 7)
_QUARTER_TURNS = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}  # counter-clockwise, after the mirror
_BITS_PER_SAMPLE = 258  # tag of TIFF


@dataclass(frozen=True)
class Photo:
    """A picture, upright. All arrays are uint8 or all are uint16."""

    pixels: Pixels  # (H, W, 3) RGB, or (H, W, 1) grey
    alpha: Pixels | None  # (H, W); 0 is transparent
    profile: bytes | None  # ICC

    @property
    def levels(self) -> int:
        """255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)


def find_photos(inputs: Sequence[str]) -> list[Path]:
    """Find the files that are meant, each once.

    inputs: files; folders, for the pictures in them (not in folders below), told by their suffix; patterns of names,
    such as ``scans/*.tif``. Raises MasksrError where one of them leads to no file.
    """
    found = {path.resolve(): path for text in inputs for path in _find(text)}
    return list(found.values())


def _find(text: str) -> list[Path]:
    path = user_path(text)
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if photos := [file for file in files if file.is_file() and not file.name.startswith(".")]:
            return photos
        raise MasksrError(f"{path}: no picture in this folder ({', '.join(SUFFIXES)})")
    if path.exists():
        return [path]
    if matches := sorted(glob.glob(str(path), recursive=True)):  # a shell on Windows leaves patterns to us
        return [file for match in matches for file in _find(match)]
    raise MasksrError(f"{text}: there is no such file")


def read_photo(path: Path | str) -> Photo:
    """Read a picture with all that it holds, turned upright as its EXIF data says.

    PNG keeps its 16 bits; all else has 8. Palettes are looked up. Raises MasksrError, naming the file and what to do,
    where there is no such file, it is damaged, moves, has several pages, or is a TIFF of more than 8 bits, CMYK or of
    another colour mode.
    """
    with open_image(path) as image:
        deep = image.format == "PNG" and _bits_of_png(path) == 16
        if image.mode not in READABLE_MODES and not deep:
            raise MasksrError(f"{path}: mode {image.mode} is not supported; save it as RGB PNG, 8 or 16 bits")
        if image.format == "TIFF" and max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8:
            raise MasksrError(f"{path}: TIFF is read with 8 bits a channel only; save it as 16-bit PNG")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # of phones: a JPEG comes first
            raise MasksrError(f"{path}: has several pictures; save the one you want as PNG")
        image.load()  # before its metadata is asked for: in PNG some may follow the pixels
        pixels = _read_16_bits(path, image) if deep else _read_8_bits(image)
        orientation = image.getexif().get(_ORIENTATION, 1)
        profile = image.info.get("icc_profile")
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    pixels = np.rot90(pixels, _QUARTER_TURNS.get(orientation, 0))
    transparent = pixels.shape[2] in (2, 4)
    colours, alpha = (pixels[..., :-1], pixels[..., -1].copy()) if transparent else (pixels, None)
    return Photo(np.ascontiguousarray(colours), alpha, profile)


def _bits_of_png(path: Path | str) -> int:
    """Bits a channel: the byte after the signature, the length and name of the first chunk, and two sides."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def _read_8_bits(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, channels): grey, grey and alpha, RGB or RGBA."""
    grey = image.mode in ("1", "L", "LA")
    transparent = "A" in image.mode or "transparency" in image.info
    if image.mode == "1":
        image = image.convert("L")
    image = image.convert(("L" if grey else "RGB") + ("A" if transparent else ""))
    return np.array(image).reshape(image.height, image.width, -1)


def _read_16_bits(path: Path | str, image: Image.Image) -> NDArray[np.uint16]:
    """(H, W, channels) of a PNG, which OpenCV decodes: Pillow would cut colours to 8 bits."""
    if "transparency" in image.info:
        raise MasksrError(f"{path}: has one transparent colour in 16 bits; save it with an alpha channel")
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("OpenCV cannot decode it")
    if pixels.ndim == 2:
        return pixels[..., None]
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV has BGR


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a PNG of 8 or 16 bits, as the photo has: all of it or, when interrupted, nothing. Makes missing folders.

    OpenCV, which writes 16 bits, leaves out the colour profile, and writes grey with alpha as colours.
    """
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    if photo.levels == 255:
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
            buffer, format="PNG", icc_profile=photo.profile
        )
        write_atomic(path, buffer.getvalue())
        return
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    _, encoded = cv2.imencode(".png", pixels[..., order])
    write_atomic(path, encoded.tobytes())
