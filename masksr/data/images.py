"""Read, write and convert images: files, uint8 arrays (H, W, 3), float tensors (B, 3, H, W), and luma."""

import glob
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from masksr.io import MasksrError, write_atomic
from masksr.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
SUFFIXES += (".ppm", ".pgm", ".pbm", ".pnm")
BITS_PER_SAMPLE = 258  # TIFF tag
READABLE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # Pillow's names for at most 8 bits a channel


@dataclass(frozen=True)
class Photo:
    """An upright picture. Its arrays are all uint8 or all uint16."""

    pixels: Pixels  # (H, W, 3) RGB, or (H, W, 1) grey
    alpha: Pixels | None  # (H, W); 0 is transparent
    profile: bytes | None  # ICC

    @property
    def levels(self) -> int:
        """The highest level, 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)


def find_photos(inputs: Sequence[str]) -> list[Path]:
    """Find the picture files that ``inputs`` stand for, each once.

    inputs: files; folders, for the pictures directly inside them, recognised by suffix; patterns of names,
    such as ``scans/*.tif``. Raises MasksrError where one of them leads to no file.
    """
    found: dict[str, Path] = {}
    for text in inputs:
        path = user_path(text)
        if path.is_dir():
            files = [file for file in path.glob("[!.]*") if file.suffix.lower() in SUFFIXES]
        elif path.exists():
            files = [path]
        else:  # shells on Windows do not expand patterns
            files = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
        if not files:
            raise MasksrError(f"{text}: there is no such file, or no picture in this folder")
        # Links are not resolved: each name is a picture, even where several lead to the same file.
        found |= {os.path.abspath(file): file for file in sorted(files)}
    return list(found.values())


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 RGB: grey as three equal channels, 16 bits rounded to 8.

    Colour profiles are ignored: levels are taken as they are. Raises MasksrError for what ``read_photo``
    refuses, and where any pixel is transparent: what should be behind it is unknown.
    """
    photo = read_photo(path)
    if photo.alpha is not None and (photo.alpha < photo.levels).any():
        raise MasksrError(f"{path}: has transparent pixels; put it on a background and save it as RGB")
    pixels = photo.pixels if photo.levels == 255 else np.rint(photo.pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def read_photo(path: Path | str) -> Photo:
    """Read a picture with its alpha and profile; at 8 bits it is turned upright as its EXIF data says.

    A PNG keeps its 16 bits; anything else has 8. Palettes are resolved. Raises MasksrError, naming the file
    and what to do, where the file is missing, damaged or animated, has several pages, is a TIFF of more than
    8 bits, or has CMYK or another unsupported colour mode.
    """
    with open_image(path) as image:
        content = np.fromfile(path, np.uint8)
        if image.format == "PNG" and content[24] == 16:  # bit depth; Pillow would cut colours to 8
            import cv2

            pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED).reshape(image.height, image.width, -1)
            if pixels.shape[2] > 1:
                pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV has BGR
        else:
            if image.mode not in READABLE_MODES:
                raise MasksrError(f"{path}: mode {image.mode} is not supported; save it as RGB PNG")
            if image.format == "TIFF" and max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) > 8:
                raise MasksrError(f"{path}: TIFF is read with 8 bits a channel only; save it as 16-bit PNG")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # from phones: a JPEG first
                raise MasksrError(f"{path}: has several pictures; save the one you want as PNG")
            colours = "L" if image.mode in ("1", "L", "LA") else "RGB"
            transparent = "A" in image.mode or "transparency" in image.info
            upright = ImageOps.exif_transpose(image).convert(colours + "A" * transparent)
            pixels = np.array(upright).reshape(upright.height, upright.width, -1)
        profile = image.info.get("icc_profile")
    space = b"GRAY" if pixels.shape[2] < 3 else b"RGB "
    if profile and profile[16:20] != space:  # of another colour space: viewers reject it with these pixels
        profile = None
    if pixels.shape[2] in (1, 3):
        return Photo(pixels, None, profile)
    return Photo(np.ascontiguousarray(pixels[..., :-1]), pixels[..., -1].copy(), profile)


def read_header(path: Path | str) -> tuple[tuple[int, int], str]:
    """Return a picture's sides, in either order (EXIF may turn it), and Pillow's mode; decodes no pixels."""
    with open_image(path) as image:
        return image.size, image.mode


@contextmanager
def open_image(path: Path | str) -> Iterator[Image.Image]:
    """``Image.open``, but any failure, on opening or while decoding, is a MasksrError about the file."""
    try:
        with Image.open(path) as image:
            yield image
    except MasksrError:
        raise
    except FileNotFoundError:
        raise MasksrError(f"{path}: there is no such file") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds, from SyntaxError to struct.error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MasksrError(f"{path}: cannot be read as a picture ({reason}); get the file again") from None


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a PNG of 8 or 16 bits, as the photo has, whole or (if interrupted) not at all. Makes folders.

    16 bits are written by OpenCV, which leaves out the colour profile and writes grey with alpha as colours.
    """
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    if photo.levels == 255:
        buffer = io.BytesIO()
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        image.save(buffer, format="PNG", icc_profile=photo.profile)
        write_atomic(path, buffer.getvalue())
    else:
        order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
        import cv2

        write_atomic(path, cv2.imencode(".png", pixels[..., order])[1].tobytes())


def write_png(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or (H, W) uint8 as a PNG, as ``write_photo`` does."""
    write_photo(path, Photo(image.reshape(*image.shape[:2], -1), None, None))


def to_tensor(image: NDArray[np.uint8], pixel_range: float) -> "Tensor":
    """Convert an image to network input: (H, W, 3) uint8 -> float32 (1, 3, H, W) in [0, pixel_range]."""
    import torch  # here, because reading pictures seldom needs torch, and importing it takes seconds

    return torch.tensor(image).permute(2, 0, 1)[None].contiguous().float() / (255 / pixel_range)


def to_image(tensor: "Tensor", pixel_range: float) -> NDArray[np.uint8]:
    """Convert network output to an image: (3, H, W) or (1, 3, H, W) float in pixel_range -> (H, W, 3) uint8.

    Clamped to the range and rounded to the nearest level. Raises MasksrError when a value is NaN.
    """
    levels = tensor.detach().reshape(3, *tensor.shape[-2:]).float() * (255 / pixel_range)
    if levels.isnan().any():
        raise MasksrError("the network's output holds NaN: its training has diverged; there is no picture")
    return levels.clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute BT.601 luma, 16 to 235, as MATLAB's ``rgb2ycbcr`` of floats: (H, W, 3) uint8 -> (H, W)."""
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    return 16 + (65481 * red + 128553 * green + 24966 * blue) / 255000


def modcrop(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Crop bottom and right so that both sides are multiples of ``scale``; returns a view of (H, W, ...)."""
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def cut(image: NDArray, box: Sequence[int]) -> NDArray:
    """Return the square (top, left, size) of an image (H, W, ...)."""
    top, left, size = box
    return image[top : top + size, left : left + size]
