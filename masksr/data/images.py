"""Images in and out: files, uint8 arrays (H, W, 3), float tensors (B, 3, H, W), and luma."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from masksr.io import MasksrError, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

READABLE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # Pillow's names for at most 8 bits a channel


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 RGB, turned upright as its EXIF data says.

    Grey pictures get three equal channels, palettes are looked up. Raises MasksrError, naming the file, when
    it cannot be read, when any pixel is transparent (there is no telling what should be behind it) and for
    16-bit grey, CMYK and other colour modes.
    """
    with open_image(path) as image:
        if image.mode not in READABLE_MODES:
            raise MasksrError(f"{path}: pictures of mode {image.mode} are not read; save it as 8-bit RGB")
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
            raise MasksrError(f"{path}: has transparent pixels; put it on a background and save it as RGB")
        return np.array(image.convert("RGB"))


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


def write_png(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or (H, W) uint8 as a PNG: all of it or nothing. Makes missing folders."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def to_tensor(image: NDArray[np.uint8], pixel_range: float) -> Tensor:
    """Pixels as a network wants them: (H, W, 3) uint8 -> float32 (1, 3, H, W) in [0, pixel_range]."""
    import torch  # here, because most who read pictures need no torch, and importing it costs seconds

    return torch.tensor(image).permute(2, 0, 1)[None].contiguous().float() / (255 / pixel_range)


def to_image(tensor: Tensor, pixel_range: float) -> NDArray[np.uint8]:
    """What a network gave, as a picture: (3, H, W) or (1, 3, H, W) float in pixel_range -> (H, W, 3) uint8.

    Clamped to the range and rounded to the nearest level. Raises MasksrError when a value is NaN.
    """
    levels = tensor.detach().reshape(3, *tensor.shape[-2:]).float() * (255 / pixel_range)
    if levels.isnan().any():
        raise MasksrError("the network's output holds NaN: its training has diverged; there is no picture")
    return levels.clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def luma(image: NDArray[np.uint8], *, rounded: bool = False) -> NDArray[np.float64]:
    """The Y of ITU-R BT.601 in studio range, 16 to 235, as MATLAB's ``rgb2ycbcr``: (H, W, 3) uint8 -> (H, W).

    rounded: to whole levels, as ``rgb2ycbcr`` does with uint8 pictures and the PIRM 2018 protocol has it.
    """
    # In integers, so that levels that fall on a half are the same on every machine.
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    y = 16 + (65481 * red + 128553 * green + 24966 * blue) / 255000
    return np.floor(y + 0.5) if rounded else y


def modcrop(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Cut the bottom and the right so that both sides are multiples of ``scale``: a view of (H, W, ...)."""
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def cut(image: NDArray, box: Sequence[int]) -> NDArray:
    """The square (top, left, size) of an image (H, W, ...)."""
    top, left, size = box
    return image[top : top + size, left : left + size]
