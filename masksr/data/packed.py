"""A data set as one memory-mapped array per resolution: what training and evaluation read instead of picture files.

A pack is a folder:

    hr.npy           all HR images, row by row, one after the other: 1-D uint8
    lr_x2.npy        their LR images in the same order; image i begins at a quarter of its offset in hr.npy
    lr_x4.npy        likewise, at a sixteenth
    manifest.json    what the set is, and of each image the name, the size, the offset and checksums of the pixels

The same pictures give the same bytes everywhere, so checksums tell what a network was trained on.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masksr.data.manifests import read_manifest
from masksr.errors import MasksrError


class Pack:
    """A pack on disk, opened. Raises MasksrError when something is missing, truncated or of another format."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self._images: list[dict[str, Any]] = self.manifest["images"]
        self.names: list[str] = [image["name"] for image in self._images]
        self.scales: tuple[int, ...] = tuple(self.manifest["scales"])
        total = sum(3 * image["height"] * image["width"] for image in self._images)
        self._arrays = {
            scale: _open_array(self.folder / f"{array_name(scale)}.npy", total // scale**2)
            for scale in (1, *self.scales)
        }

    def __len__(self) -> int:
        return len(self._images)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        return Pack, (self.folder,)  # a worker process opens the files again instead of being sent their content

    def hr(self, index: int) -> NDArray[np.uint8]:
        """The HR image, (H, W, 3) uint8: a read-only view of the file, no copy."""
        return self._view(index, 1)

    def lr(self, index: int, scale: int = 4) -> NDArray[np.uint8]:
        """The LR image, (H/scale, W/scale, 3) uint8: a read-only view of the file, no copy."""
        if scale not in self.scales:
            held = " and ".join(f"x{held}" for held in self.scales)
            raise MasksrError(f"{self.folder}: holds LR images at {held}, not at x{scale}; build the pack with it")
        return self._view(index, scale)

    def flat(self, scale: int) -> tuple[NDArray[np.uint8], list[int], list[int]]:
        """All pixels at a scale (1: HR) in one array, where in it each image begins, and how many pixels wide it is."""
        images = self._images
        offsets = [image["offset"] // scale**2 for image in images]
        return self._arrays[scale], offsets, [image["width"] // scale for image in images]

    def nbytes(self, scale: int) -> int:
        """The memory that all pixels at a scale (1: HR) take."""
        return self._arrays[scale].nbytes

    @property
    def digest(self) -> str:
        """64 hex digits that stand for the pixels, sizes, names and order of the images, and nothing else."""
        content = [[image[key] for key in ("name", "height", "width", "sha256")] for image in self._images]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def verify(self) -> None:
        """Read everything and compare the checksums. Raises MasksrError that names the first image that differs."""
        for scale in (1, *self.scales):
            for index, image in enumerate(self._images):
                if pixel_digest(self._view(index, scale)) != image["sha256"][array_name(scale)]:
                    file = f"{array_name(scale)}.npy"
                    raise MasksrError(
                        f"{self.folder}: {image['name']} in {file} is not what was packed; build it again"
                    )

    def _view(self, index: int, scale: int) -> NDArray[np.uint8]:
        image = self._images[index]
        height, width, begin = image["height"] // scale, image["width"] // scale, image["offset"] // scale**2
        return self._arrays[scale][begin : begin + 3 * height * width].reshape(height, width, 3)


def array_name(scale: int) -> str:
    """What the array of a scale is called in a pack: ``hr``, ``lr_x4``."""
    return "hr" if scale == 1 else f"lr_x{scale}"


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """sha256 of an image's pixels, as the manifest has it."""
    return hashlib.sha256(pixels.data).hexdigest()


def _open_array(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # numpy parses the header as Python, and raises what that raises
        raise MasksrError(f"{path}: is missing, truncated or damaged; build the pack again") from None
    if not isinstance(array, np.memmap):  # an .npz
        raise MasksrError(f"{path}: is no array; build the pack again")
    if array.dtype != np.uint8 or array.shape != (size,) or path.stat().st_size != array.offset + size:
        raise MasksrError(f"{path}: does not have the size its manifest gives; build the pack again")
    return np.asarray(array)  # the plain array: slicing a memmap costs several times as much
