"""A data set as one memory-mapped array per resolution: what training and evaluation read.

A pack is a folder:

    hr.npy           all HR images, row by row, one after the other: 1-D uint8
    lr_x2.npy        their LR images in the same order; image i begins at a quarter of its offset in hr.npy
    lr_x4.npy        likewise, at a sixteenth
    manifest.json    what the set is, and for each image its name, size, offset and checksums of its pixels

The same pictures give the same bytes everywhere, so checksums tell what a network was trained on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from masksr.data.bicubic import imresize
from masksr.data.images import modcrop, read_image
from masksr.io import MasksrError, alone

SCALE = 4  # of the official LR pictures; the sides of HR are cut to multiples of it
SCALES = (2, 4)  # both divide SCALE: the LR of an image then begins at its offset / scale^2


class ImageEntry(BaseModel):
    """The manifest's entry for one image."""

    name: str
    height: int
    width: int
    offset: int  # of its first value in hr.npy
    cut: bool  # whether a side of the picture was not a multiple of 4
    lr: dict[str, int | Literal["masksr"]]  # by array: official LR's largest distance from ours, or ours
    sha256: dict[str, str]  # of its pixels, by array


class Manifest(BaseModel):
    """The content of ``manifest.json``, in this order of fields."""

    format: Literal[2]  # raise it when older packs can no longer be read
    set: str
    title: str
    citation: str
    licence: str
    origin: str
    scales: list[int]
    images: list[ImageEntry]


class Pack:
    """A pack on disk.

    Raises MasksrError when something is missing, truncated or of another format, and when an image, on its
    first reading, does not match its checksum.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        try:
            self.manifest = Manifest.model_validate_json((self.folder / "manifest.json").read_bytes())
            self.names = [image.name for image in self.manifest.images]
            self.scales = tuple(self.manifest.scales)
            total = sum(3 * image.height * image.width for image in self.manifest.images)
            self._arrays = {scale: self._open(scale, total // scale**2) for scale in (1, *self.scales)}
            self._verified: set[tuple[int, int]] = set()  # image and scale
        except FileNotFoundError as error:
            raise MasksrError(f"no pack is here: {error.filename} is missing; build it first") from None
        except (OSError, ValueError, EOFError) as error:  # pydantic's are ValueErrors
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise MasksrError(f"{self.folder}: damaged or old ({reason}); build the pack again") from None

    def __len__(self) -> int:
        return len(self.names)

    def hr(self, index: int) -> NDArray[np.uint8]:
        """The HR image, (H, W, 3) uint8: a read-only view of the file, no copy."""
        return self._read(index, 1)

    def lr(self, index: int, scale: int = 4) -> NDArray[np.uint8]:
        """The LR image, (H/scale, W/scale, 3) uint8: a read-only view of the file, no copy."""
        return self._read(index, scale)

    @property
    def digest(self) -> str:
        """64 hex digits that identify the pixels, sizes, names and order of the images, and nothing else."""
        content = [[image.name, image.height, image.width, image.sha256] for image in self.manifest.images]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def verify(self) -> None:
        """Check all images that were not read yet against their checksums. Raises MasksrError."""
        for index in range(len(self)):
            for scale in (1, *self.scales):
                self._read(index, scale)

    def _open(self, scale: int, size: int) -> NDArray[np.uint8]:
        path = self.folder / f"{array_name(scale)}.npy"
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype != np.uint8 or array.shape != (size,):
            raise ValueError(f"{path.name} has not the size that the manifest gives")
        return np.asarray(array)  # the plain array: slicing a memmap costs several times as much

    def _read(self, index: int, scale: int) -> NDArray[np.uint8]:
        image = self.manifest.images[index]
        height, width, begin = image.height // scale, image.width // scale, image.offset // scale**2
        pixels = self._arrays[scale][begin : begin + 3 * height * width].reshape(height, width, 3)
        if (index, scale) not in self._verified:
            name = array_name(scale)
            if hashlib.sha256(pixels).hexdigest() != image.sha256[name]:
                damaged = f"{name}.npy is damaged at {image.name}"
                raise MasksrError(f"{self.folder}: {damaged}; remove the folder and build the pack again")
            self._verified.add((index, scale))
        return pixels


def array_name(scale: int) -> str:
    """Return the name of a scale's array in a pack, such as ``hr`` or ``lr_x4``."""
    return "hr" if scale == 1 else f"lr_x{scale}"


# ---- One image of a set: HR, and LR that is checked against it or made from it -----------------------------
@dataclass(frozen=True)
class Source:
    """The files of one image of a set."""

    name: str
    hr: Path
    lr: Mapping[int, Path] = field(default_factory=dict)  # official LR, as far as the set has it, by scale
    crop: Any = None  # of hr, with top, left, height and width in pixels; None: all of it
    sides: tuple[int, int] = (0, 0)  # of HR before it is cut to multiples of 4, in either order


def load_image(
    source: Source, scales: Sequence[int] = (SCALE,), offset: int = 0
) -> tuple[dict[int, NDArray[np.uint8]], ImageEntry, dict[int, float]]:
    """Read one image; official LR is compared with ours, and ours is used where there is none.

    Returns the pixels (H/s, W/s, 3) by scale s, where 1 is HR, cut to sides that are multiples of 4; their
    entry for the manifest, with this offset; and, by scale, the mean distance of each official LR from
    imresize(hr, 1/s), in units of the contrast. Raises MasksrError when a file is damaged, or an LR does not
    have the size that its HR shrinks to.
    """
    hr = read_image(source.hr)
    if box := source.crop:
        hr = hr[box.top : box.top + box.height, box.left : box.left + box.width]
    whole, hr = hr.shape, np.ascontiguousarray(modcrop(hr, SCALE))
    pixels, origin, deviation = {1: hr}, {}, {}
    for scale in scales:
        ours = pixels[scale] = imresize(hr, 1 / scale)
        origin[array_name(scale)] = "masksr"
        if path := source.lr.get(scale):
            lr = pixels[scale] = read_image(path)
            if lr.shape != ours.shape:
                sizes = [f"{image.shape[0]} x {image.shape[1]}" for image in (lr, ours)]
                raise MasksrError(f"{path}: is {sizes[0]}, but {source.hr} shrinks to {sizes[1]}; {_REMEDY}")
            distance = np.abs(lr.astype(np.int16) - ours)
            origin[array_name(scale)] = int(distance.max())
            # The added level keeps flat pictures from being refused for mere rounding.
            contrast = np.abs(ours - ours.mean(axis=(0, 1))).mean() + 1
            deviation[scale] = float(distance.mean() / contrast)
    about = {"name": source.name, "height": hr.shape[0], "width": hr.shape[1], "cut": hr.shape != whole}
    sha256 = {array_name(scale): hashlib.sha256(image.data).hexdigest() for scale, image in pixels.items()}
    return pixels, ImageEntry(**about, offset=offset, lr=origin, sha256=sha256), deviation


_REMEDY = "fetch both from one distribution of the set, or remove the LR folder to have LR made from HR"


def _check_lr(name: str, scale: int, deviations: Sequence[float]) -> None:
    """Raise MasksrError where official LR does not belong to its HR, or was not made as MATLAB makes it.

    deviations: of its images. A single image proves nothing: where there is little detail, all kernels agree.
    """
    # Medians measured on BSD100: other antialiased kernels (box, bilinear, Lanczos) stay below 0.05; a shift
    # by half an LR pixel gives 0.16, shrinking without antialiasing 0.23, a shift by one pixel 0.29; mirrored
    # pictures begin at 0.33, other pictures at 0.6.
    if deviations and np.median(deviations) > 0.1:
        median = f"median deviation {np.median(deviations):.2f} of the contrast"
        what = "it is of other pictures, mirrored, shifted, or shrunk without antialiasing"
        raise MasksrError(f"{name}: its LR at x{scale} does not fit its HR ({median}): {what}; {_REMEDY}")


# ---- Writing a pack ----------------------------------------------------------------------------------------
def write_pack(info: Any, sources: list[Source], folder: Path, scales: Sequence[int] = SCALES) -> Pack:
    """Make the pack of these pictures in ``folder``, replacing any pack that is there.

    It is written beside ``folder`` and moved there once complete: nothing unfinished can pass for a pack.
    info: an entry of data/registry.yaml. Images are those of ``load_image``. Raises MasksrError for anything
    wrong with the pictures, when the disk is full, and when ``folder`` holds something that is not a pack.
    """
    if folder.exists() and not (folder / "manifest.json").exists():
        raise MasksrError(f"{folder}: exists and is not a pack; name another folder, or remove it")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with alone(folder.with_name(f".{folder.name}.lock"), f"the pack of {info.name}"):
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed process
        try:
            unfinished.mkdir()
            _write(unfinished, info, sources, sorted(scales))
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(unfinished, folder)
        except OSError as error:
            raise MasksrError(f"{folder}: the pack cannot be written ({error.strerror or error})") from None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Pack(folder)


def _write(folder: Path, info: Any, sources: list[Source], scales: list[int]) -> None:
    total = sum(3 * (a - a % SCALE) * (b - b % SCALE) for a, b in (source.sides for source in sources))
    images: list[ImageEntry] = []
    deviations: dict[int, list[float]] = {scale: [] for scale in scales}
    offset = 0
    with ExitStack() as stack:
        files = {}
        for scale in (1, *scales):
            files[scale] = stack.enter_context((folder / f"{array_name(scale)}.npy").open("wb"))
            header = {"descr": "|u1", "fortran_order": False, "shape": (total // scale**2,)}
            np.lib.format.write_array_header_1_0(files[scale], header)
        for source in sources:
            pixels, entry, deviation = load_image(source, scales, offset)
            for scale, file in files.items():
                file.write(pixels[scale].data)
            for scale, of_image in deviation.items():
                deviations[scale].append(of_image)
            images.append(entry)
            offset += pixels[1].size
    for scale, of_images in deviations.items():
        _check_lr(info.name, scale, of_images)
    about = {key: getattr(info, key) for key in ("title", "citation", "licence", "origin")}
    manifest = Manifest(format=2, set=info.name, **about, scales=scales, images=images)
    (folder / "manifest.json").write_text(json.dumps(manifest.model_dump(), indent=1) + "\n")
