"""Pictures as photographers keep them: 8 or 16 bits, grey or colour, with transparency and a colour profile."""

from __future__ import annotations

import glob
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masksr.data.images import READABLE_MODES, open_image
from masksr.errors import MasksrError
from masksr.files import user_path, write_atomic

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".avif")  # of pictures
_ORIENTATION = 0x0112  # tag of EXIF and of TIFF
_BITS_PER_SAMPLE = 258  # tag of TIFF
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {  # by orientation, section 4.6.4 of EXIF 2.3
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by the number of channels
_OPENCV_CHANNELS = {0: [0], 4: [0, -1], 2: [2, 1, 0], 6: [2, 1, 0, 3]}  # by colour type; it has BGR, and grey as BGR


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


def read_photo(path: Path | str) -> Photo:
    """Read a picture with all that it holds, turned upright as its EXIF data says.

    PNG keeps its 16 bits; all else has 8. Palettes are looked up. Raises MasksrError, naming the file and what to do,
    where there is no such file, it is damaged or absurdly large, moves, has several pages, is a TIFF of more than 8
    bits, or is CMYK or of another colour mode.
    """
    with open_image(path) as image:
        deep = image.format == "PNG" and _png_header(path)[0] == 16
        if image.mode not in READABLE_MODES and not deep:
            raise MasksrError(f"{path}: pictures of mode {image.mode} are not read; save it as RGB PNG, 8 or 16 bits")
        if image.format == "TIFF" and max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8:
            raise MasksrError(f"{path}: TIFF is read with 8 bits a channel only; save it as 16-bit PNG")
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # which phones write, a JPEG first
            raise MasksrError(f"{path}: has {frames} pictures, an animation or pages; save the one you want as PNG")
        image.load()  # before its metadata is asked for: in PNG some may follow the pixels
        pixels = _with_16_bits(path, image) if deep else _with_8_bits(image)
        turned = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1), np.asarray)(pixels)
        profile = image.info.get("icc_profile")
    transparent = turned.shape[2] in (2, 4)
    colours, alpha = (turned[..., :-1], turned[..., -1]) if transparent else (turned, None)
    return Photo(np.ascontiguousarray(colours), alpha if alpha is None else np.ascontiguousarray(alpha), profile)


def find_photos(inputs: Sequence[str]) -> list[Path]:
    """The files that are meant, each once.

    inputs: files; folders, for the pictures in them (not in folders below), told by their suffix; patterns of names,
    such as ``scans/*.tif``. Raises MasksrError where one of them leads to no file.
    """
    found = {path.resolve(): path for text in inputs for path in _found(text)}
    return list(found.values())


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a PNG of 8 or 16 bits, as the photo has: all of it or, when interrupted, nothing. Makes missing folders."""
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    if pixels.dtype == np.uint16:
        write_atomic(path, _png_with_16_bits(pixels, photo.profile))
        return
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
        buffer, format="PNG", icc_profile=photo.profile
    )
    write_atomic(path, buffer.getvalue())


def _found(text: str) -> list[Path]:
    path = user_path(text)
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if photos := [file for file in files if file.is_file() and not file.name.startswith(".")]:
            return photos
        raise MasksrError(f"{path}: no picture in this folder ({', '.join(SUFFIXES)})")
    if path.exists():
        return [path]
    if matches := sorted(glob.glob(str(path), recursive=True)):  # a shell on Windows leaves patterns to the program
        return [file for match in matches for file in _found(match)]
    raise MasksrError(f"{text}: there is no such file")


def _with_8_bits(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, channels): grey, grey and alpha, RGB or RGBA."""
    grey, transparent = image.mode in ("1", "L", "LA"), "A" in image.mode or "transparency" in image.info
    if image.mode == "1":
        image = image.convert("L")
    image = image.convert(("L" if grey else "RGB") + ("A" if transparent else ""))
    return np.array(image).reshape(image.height, image.width, -1)


def _with_16_bits(path: Path | str, image: Image.Image) -> NDArray[np.uint16]:
    """(H, W, channels) of a PNG, which OpenCV decodes: Pillow would cut colours to 8 bits."""
    import cv2

    decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (image.height, image.width):
        raise ValueError("OpenCV cannot decode it")
    pixels = np.atleast_3d(decoded)[..., _OPENCV_CHANNELS[_png_header(path)[1]]]
    transparent = image.info.get("transparency")  # one colour, in place of a channel
    if transparent is None:
        return pixels
    opaque = (pixels != np.array(transparent, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([pixels, np.where(opaque, 65535, 0).astype(np.uint16)], axis=2)


def _png_header(path: Path | str) -> tuple[int, int]:
    """Bits a channel and colour type: they follow the signature, the first chunk's length and name, and the sides."""
    with open(path, "rb") as file:
        bits, colour_type = file.read(26)[24:]
    return bits, colour_type


def _png_with_16_bits(pixels: NDArray[np.uint16], profile: bytes | None) -> bytes:
    """PNG (ISO/IEC 15948) of (H, W, channels): Pillow writes no colours of 16 bits."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = 1  # filter "Sub": each byte less the one a pixel before it, modulo 256
    before = 2 * channels
    lines[:, 1 : 1 + before] = rows[:, :before]
    np.subtract(rows[:, before:], rows[:, :-before], out=lines[:, 1 + before :])

    data = zlib.compress(lines)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0))]
    if profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    chunks += [(b"IDAT", data[first : first + 2**30]) for first in range(0, len(data), 2**30)]  # a chunk: below 2**31
    chunks.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
