"""Images in and out: photographers' files, uint8 arrays (H, W, 3), float tensors (B, 3, H, W), and luma."""

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
BITS_PER_SAMPLE = 258  # tag of TIFF
READABLE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # Pillow's names for at most 8 bits a channel


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
    found: dict[str, Path] = {}
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
        # Links are not followed: each name is a picture, whatever else has the same file.
        found |= {os.path.abspath(file): file for file in sorted(files)}
    return list(found.values())


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 RGB: grey as three equal channels, 16 bits rounded to 8.

    Colour profiles count for nothing: the levels are taken as they are. Raises MasksrError for what
    ``read_photo`` refuses and where any pixel is transparent: there is no telling what should be behind it.
    """
    photo = read_photo(path)
    if photo.alpha is not None and (photo.alpha < photo.levels).any():
        raise MasksrError(f"{path}: has transparent pixels; put it on a background and save it as RGB")
    pixels = photo.pixels if photo.levels == 255 else np.rint(photo.pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def read_photo(path: Path | str) -> Photo:
    """Read a picture with all that it holds; what has 8 bits is turned upright as its EXIF data says.

    PNG keeps its 16 bits; all else has 8. Palettes are looked up. Raises MasksrError, naming the file and
    what to do, where there is no such file, it is damaged, moves, has several pages, or is a TIFF of more
    than 8 bits, CMYK or of another colour mode.
    """
    with open_image(path) as image:
        content = np.fromfile(path, np.uint8)
        if image.format == "PNG" and content[24] == 16:  # bits; Pillow would cut colours to 8
            import cv2

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
    space = b"GRAY" if pixels.shape[2] < 3 else b"RGB "
    if profile and profile[16:20] != space:  # of other colours: with these pixels no viewer would take it
        profile = None
    if pixels.shape[2] in (1, 3):
        return Photo(pixels, None, profile)
    return Photo(np.ascontiguousarray(pixels[..., :-1]), pixels[..., -1].copy(), profile)


def read_header(path: Path | str) -> tuple[tuple[int, int], str]:
    """The sides of a picture, in any order (EXIF may turn it), and Pillow's mode; decodes no pixels."""
    with open_image(path) as image:
        return image.size, image.mode


@contextmanager
def open_image(path: Path | str) -> Iterator[Image.Image]:
    """``Image.open``, with all that goes wrong, then or while decoding, as a MasksrError about the file."""
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
        import cv2

        write_atomic(path, cv2.imencode(".png", pixels[..., order])[1].tobytes())


def write_png(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or (H, W) uint8 as a PNG, as ``write_photo`` does."""
    write_photo(path, Photo(image.reshape(*image.shape[:2], -1), None, None))


def to_tensor(image: NDArray[np.uint8], pixel_range: float) -> "Tensor":
    """Pixels as a network wants them: (H, W, 3) uint8 -> float32 (1, 3, H, W) in [0, pixel_range]."""
    import torch  # here, because most who read pictures need no torch, and importing it costs seconds

    return torch.tensor(image).permute(2, 0, 1)[None].contiguous().float() / (255 / pixel_range)


def to_image(tensor: "Tensor", pixel_range: float) -> NDArray[np.uint8]:
    """What a network gave, as a picture: (3, H, W) or (1, 3, H, W) float in pixel_range -> (H, W, 3) uint8.

    Clamped to the range and rounded to the nearest level. Raises MasksrError when a value is NaN.
    """
    levels = tensor.detach().reshape(3, *tensor.shape[-2:]).float() * (255 / pixel_range)
    if levels.isnan().any():
        raise MasksrError("the network's output holds NaN: its training has diverged; there is no picture")
    return levels.clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The Y of ITU-R BT.601, 16 to 235, as MATLAB's ``rgb2ycbcr`` of floats: (H, W, 3) uint8 -> (H, W)."""
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    return 16 + (65481 * red + 128553 * green + 24966 * blue) / 255000


def modcrop(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Cut the bottom and the right so that both sides are multiples of ``scale``: a view of (H, W, ...)."""
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def cut(image: NDArray, box: Sequence[int]) -> NDArray:
    """The square (top, left, size) of an image (H, W, ...)."""
    top, left, size = box
    return image[top : top + size, left : left + size]
