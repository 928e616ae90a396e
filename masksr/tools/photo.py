"""Pictures as photographers keep them: 8 or 16 bits, grey or colour, with transparency, a colour profile."""

from __future__ import annotations

import glob
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from masksr.data.images import READABLE_MODES, open_image
from masksr.io import MasksrError, write_atomic
from masksr.paths import user_path

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".avif")
BITS_PER_SAMPLE = 258  # tag of TIFF


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

    inputs: files; folders, for the pictures in them (not in folders below), told by their suffix; patterns of
    names, such as ``scans/*.tif``. Raises MasksrError where one of them leads to no file.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        path = user_path(text)
        if path.is_dir():
            files = [file for file in path.glob("[!.]*") if file.suffix.lower() in SUFFIXES]
        elif path.exists():
            files = [path]
        else:  # a shell on Windows leaves patterns to us
            files = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
        if not files:
            raise MasksrError(f"{text}: there is no such file, or no picture in this folder")
        found |= {file.resolve(): file for file in sorted(files)}
    return list(found.values())


def read_photo(path: Path | str) -> Photo:
    """Read a picture with all that it holds; what has 8 bits is turned upright as its EXIF data says.

    PNG keeps its 16 bits; all else has 8. Palettes are looked up. Raises MasksrError, naming the file and
    what to do, where there is no such file, it is damaged, moves, has several pages, or is a TIFF of more
    than 8 bits, CMYK or of another colour mode.
    """
    with open_image(path) as image:
        content = np.fromfile(path, np.uint8)
        if image.format == "PNG" and content[24] == 16:  # bits; Pillow would cut colours to 8
            pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED).reshape(image.height, image.width, -1)
            if pixels.shape[2] > 1:
                pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV has BGR
        else:
            if image.mode not in READABLE_MODES:
                raise MasksrError(f"{path}: mode {image.mode} is not supported; save it as RGB PNG")
            if image.format == "TIFF" and max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) > 8:
                raise MasksrError(f"{path}: TIFF is read with 8 bits a channel only; save it as 16-bit PNG")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # of phones: a JPEG comes first
                raise MasksrError(f"{path}: has several pictures; save the one you want as PNG")
            colours = "L" if image.mode in ("1", "L", "LA") else "RGB"
            transparent = "A" in image.mode or "transparency" in image.info
            upright = ImageOps.exif_transpose(image).convert(colours + "A" * transparent)
            pixels = np.array(upright).reshape(upright.height, upright.width, -1)
        profile = image.info.get("icc_profile")
    if pixels.shape[2] in (1, 3):
        return Photo(pixels, None, profile)
    return Photo(np.ascontiguousarray(pixels[..., :-1]), pixels[..., -1].copy(), profile)


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a PNG of 8 or 16 bits, as the photo has: all of it or, when interrupted, nothing. Makes folders.

    OpenCV, which writes 16 bits, leaves out the colour profile, and writes grey with alpha as colours.
    """
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    if photo.levels == 255:
        buffer = io.BytesIO()
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        image.save(buffer, format="PNG", icc_profile=photo.profile)
        write_atomic(path, buffer.getvalue())
    else:
        order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
        write_atomic(path, cv2.imencode(".png", pixels[..., order])[1].tobytes())
