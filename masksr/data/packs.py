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
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masksr.data.bicubic import imresize
from masksr.data.images import modcrop, read_image
from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.locks import alone

FORMAT = 2  # raise it when older packs can no longer be read
SCALE = 4  # of the official LR pictures, and what the sides of HR are cut to a multiple of
SCALES = (2, 4)  # both divide SCALE: the LR of an image then begins at its offset / scale^2

Side = Annotated[int, Field(gt=0, multiple_of=SCALE)]


class ImageEntry(BaseModel):
    """What the manifest says of one image."""

    model_config = ConfigDict(strict=True)

    name: str
    height: Side
    width: Side
    offset: int  # of its first value in hr.npy
    cut: bool  # whether the sides of the picture were no multiples of 4
    lr: dict[str, int | Literal["masksr"]]  # by array: the official LR's distance from ours in levels, at most; or ours
    sha256: dict[str, str]  # of its pixels, by array


class Manifest(BaseModel):
    """``manifest.json``; its fields in this order."""

    model_config = ConfigDict(strict=True)

    format: Literal[2]
    set: str
    title: str
    citation: str
    licence: str
    origin: str
    scales: Annotated[list[Literal[2, 4]], Field(min_length=1)]
    images: Annotated[list[ImageEntry], Field(min_length=1)]


class Pack:
    """A pack on disk, opened. Raises MasksrError when something is missing, truncated or of another format."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self.names = [image.name for image in self.manifest.images]
        self.scales = tuple(self.manifest.scales)
        total = sum(3 * image.height * image.width for image in self.manifest.images)
        self._arrays = {
            scale: _open_array(self.folder / f"{array_name(scale)}.npy", total // scale**2)
            for scale in (1, *self.scales)
        }

    def __len__(self) -> int:
        return len(self.names)

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
        """All pixels at a scale (1: HR) in one array, where each image begins in it, and its width in pixels."""
        images = self.manifest.images
        offsets = [image.offset // scale**2 for image in images]
        return self._arrays[scale], offsets, [image.width // scale for image in images]

    def nbytes(self, scale: int) -> int:
        """The memory that all pixels at a scale (1: HR) take."""
        return self._arrays[scale].nbytes

    @property
    def digest(self) -> str:
        """64 hex digits that stand for the pixels, sizes, names and order of the images, and nothing else."""
        content = [[image.name, image.height, image.width, image.sha256] for image in self.manifest.images]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def verify(self) -> None:
        """Read everything and compare the checksums. Raises MasksrError that names the first image that differs."""
        for scale in (1, *self.scales):
            array = array_name(scale)
            for index, image in enumerate(self.manifest.images):
                if _pixel_digest(self._view(index, scale)) != image.sha256[array]:
                    raise MasksrError(
                        f"{self.folder}: {image.name} in {array}.npy is not what was packed; build it again"
                    )

    def _view(self, index: int, scale: int) -> NDArray[np.uint8]:
        image = self.manifest.images[index]
        height, width, begin = image.height // scale, image.width // scale, image.offset // scale**2
        return self._arrays[scale][begin : begin + 3 * height * width].reshape(height, width, 3)


def array_name(scale: int) -> str:
    """What the array of a scale is called in a pack: ``hr``, ``lr_x4``."""
    return "hr" if scale == 1 else f"lr_x{scale}"


def _pixel_digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(pixels.data).hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise MasksrError(f"{folder}: no pack is here (manifest.json is missing); build it first") from None
    except OSError as error:
        raise MasksrError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "not JSON"
        raise MasksrError(f"{path}: {where}: {first['msg']}; build the pack again") from None


def _open_array(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise MasksrError(f"{path}: is missing, truncated or damaged; build the pack again") from None
    if array.dtype != np.uint8 or array.shape != (size,) or path.stat().st_size != array.offset + size:
        raise MasksrError(f"{path}: does not have the size its manifest gives; build the pack again")
    return np.asarray(array)  # the plain array: slicing a memmap costs several times as much


# One image of a set: HR, and LR that is checked against it or made from it.


class Box(Protocol):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Source:
    """The files of one image of a set."""

    name: str
    hr: Path
    lr: Mapping[int, Path] = field(default_factory=dict)  # the official ones the set has, by scale
    crop: Box | None = None  # of hr; None: all of it
    sides: tuple[int, int] = (0, 0)  # of the HR image before it is cut to multiples of 4, in no promised order


@dataclass(frozen=True)
class Picture:
    """One image of a set: HR with sides that are multiples of 4, and its LR."""

    hr: NDArray[np.uint8]  # (H, W, 3)
    lr: dict[int, NDArray[np.uint8]]  # by scale s: (H/s, W/s, 3), official or imresize(hr, 1/s)
    difference: dict[int, int]  # of each official LR: its largest distance from imresize(hr, 1/s), in levels
    deviation: dict[int, float]  # and its mean distance, in units of its contrast
    cut: bool  # whether the sides of the file were no multiples of 4


def load_image(source: Source, scales: Sequence[int] = (SCALE,)) -> Picture:
    """Read one image; its official LR is checked against the HR, and where there is none the LR is made.

    Raises MasksrError when a file is damaged, a crop leaves its picture, or HR and LR do not belong together.
    """
    hr = read_image(source.hr)
    if box := source.crop:
        if box.top + box.height > hr.shape[0] or box.left + box.width > hr.shape[1]:
            raise MasksrError(f"{source.hr}: {hr.shape[0]} x {hr.shape[1]} pixels, too small for crop {source.name}")
        hr = hr[box.top : box.top + box.height, box.left : box.left + box.width]
    whole, hr = hr.shape, np.ascontiguousarray(modcrop(hr, SCALE))
    lr, difference, deviation = {}, {}, {}
    for scale in scales:
        lr[scale] = imresize(hr, 1 / scale)
        if scale in source.lr:
            official = read_image(source.lr[scale])
            difference[scale], deviation[scale] = _compare(source.lr[scale], official, lr[scale], source.hr)
            lr[scale] = official
    return Picture(hr, lr, difference, deviation, cut=hr.shape != whole)


def check_kernel(name: str, scale: int, deviations: Sequence[float]) -> None:
    """Raises MasksrError when the official LR of a set as a whole was shrunk in another way than its HR asks for.

    deviations: of its images. One image is no judge of that: where there is little detail, every kernel gives the same.
    """
    # Measured on BSD100, medians over its images: other antialiased kernels (box, bilinear, Lanczos) stay
    # below 0.05; shifted by half an LR pixel it is 0.16, shrunk without antialiasing 0.23, shifted by a pixel
    # 0.29.
    if deviations and np.median(deviations) > 0.1:
        raise MasksrError(
            f"{name}: its LR at x{scale} does not fit its HR (median deviation {np.median(deviations):.2f} of the "
            "contrast): it is shifted, or was shrunk without antialiasing; fetch both from the same distribution of "
            "the set, or remove the LR folder to have the LR made from the HR"
        )


def _compare(path: Path, lr: NDArray[np.uint8], ours: NDArray[np.uint8], hr: Path) -> tuple[int, float]:
    """How far an official LR is from ours: at most, in levels, and in the mean, in units of the contrast.

    Raises MasksrError when it cannot belong to its HR at all.
    """
    if lr.shape != ours.shape:
        raise MasksrError(
            f"{path}: is {lr.shape[0]} x {lr.shape[1]}, but {hr} shrinks to {ours.shape[0]} x {ours.shape[1]} "
            "(height x width); fetch both from the same distribution of the set"
        )
    difference = np.abs(lr.astype(np.int16) - ours)
    # Measured on BSD100, in units of the LR's contrast: other antialiased kernels stay below 0.21, mirrored
    # pictures begin at 0.33, other pictures at 0.6. The one level keeps flat pictures from being refused for
    # their rounding.
    contrast = np.abs(ours - ours.mean(axis=(0, 1))).mean()
    if difference.mean() > contrast / 4 + 1:
        raise MasksrError(
            f"{path}: does not fit {hr} (mean difference {difference.mean():.0f} levels): it is another picture, "
            "mirrored, or shrunk without antialiasing; fetch both from the same distribution of the set, or remove the "
            "LR folder to have the LR made from the HR"
        )
    return int(difference.max()), float(difference.mean() / (contrast + 1))


# Writing a pack.


class SetInfo(Protocol):
    """What the manifest says of a set: an entry of data/registry.yaml."""

    name: str
    title: str

    @property
    def citation(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def origin(self) -> str: ...


def write_pack(info: SetInfo, sources: list[Source], folder: Path, scales: Sequence[int] = SCALES) -> Pack:
    """Make the pack of these pictures in ``folder``, in place of a pack that is there.

    It is written beside ``folder`` and moved there once complete: nothing half-made can be taken for a pack.
    Where another process is at the same pack, this one waits for it and takes what it made. HR is cut to
    sides that are multiples of 4; LR x4 is the official one where a source has it, every other LR is made by
    imresize.

    Raises MasksrError for all that can be wrong with the pictures, when the disk is full, and when ``folder``
    holds something that is not a pack.
    """
    if not scales or not set(scales) <= set(SCALES):
        raise ValueError(f"scales must be some of {SCALES}, not {scales}")
    if folder.exists() and not (folder / "manifest.json").exists() and (folder.is_file() or os.listdir(folder)):
        raise MasksrError(f"{folder}: exists and is not a pack; name another folder, or remove it")
    unfinished, replaced = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "replaced"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f".{folder.name}.lock"), f"the pack of {info.name}") as waited:
            if waited and _is_made_of(folder, info, sources, sorted(scales)):
                return Pack(folder)
            _clean_up(folder, unfinished, replaced)
            try:
                unfinished.mkdir()
                _write(unfinished, info, sources, sorted(scales))
                if folder.exists():
                    os.rename(folder, replaced)
                os.rename(unfinished, folder)
            finally:
                _clean_up(folder, unfinished, replaced)
    except OSError as error:
        raise MasksrError(f"{folder}: the pack cannot be written ({error.strerror or error})") from None
    return Pack(folder)


def _clean_up(folder: Path, unfinished: Path, replaced: Path) -> None:
    """Remove what a killed process left, but for an old pack that it had moved aside and not yet replaced."""
    if replaced.exists() and not folder.exists():
        os.rename(replaced, folder)
    for left_over in (unfinished, replaced):
        shutil.rmtree(left_over, ignore_errors=True)


def _is_made_of(folder: Path, info: SetInfo, sources: list[Source], scales: list[int]) -> bool:
    """Whether the pack that another process has just made is the one that these pictures would give."""
    try:
        manifest = Pack(folder).manifest
    except MasksrError:
        return False
    packed = [(image.name, {image.height, image.width}) for image in manifest.images]
    given = [(source.name, {side - side % SCALE for side in source.sides}) for source in sources]
    return manifest.set == info.name and manifest.scales == scales and packed == given


def _write(folder: Path, info: SetInfo, sources: list[Source], scales: list[int]) -> None:
    total = sum(3 * (a - a % SCALE) * (b - b % SCALE) for a, b in (source.sides for source in sources))
    images: list[ImageEntry] = []
    deviations: dict[int, list[float]] = {scale: [] for scale in scales}
    offset = 0
    with ExitStack() as stack:
        files = {scale: stack.enter_context((folder / f"{array_name(scale)}.npy").open("wb")) for scale in (1, *scales)}
        for scale, file in files.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (total // scale**2,)}
            np.lib.format.write_array_header_1_0(file, header)
        for source in sources:
            picture = load_image(source, scales)
            pixels = {1: picture.hr, **picture.lr}
            entry = ImageEntry(
                name=source.name,
                height=picture.hr.shape[0],
                width=picture.hr.shape[1],
                offset=offset,
                cut=picture.cut,
                lr={array_name(scale): picture.difference.get(scale, "masksr") for scale in scales},
                sha256={array_name(scale): _pixel_digest(pixels[scale]) for scale in files},
            )
            images.append(entry)
            for scale, file in files.items():
                file.write(pixels[scale].data)
            for scale, deviation in picture.deviation.items():
                deviations[scale].append(deviation)
            offset += picture.hr.size
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    if offset != total:
        raise MasksrError(f"{info.name}: its pictures changed while they were read; build the pack again")
    for scale, of_images in deviations.items():
        check_kernel(info.name, scale, of_images)
    manifest = Manifest(
        format=FORMAT,
        set=info.name,
        title=info.title,
        citation=info.citation,
        licence=info.licence,
        origin=info.origin,
        scales=scales,
        images=images,
    )
    write_atomic(folder / "manifest.json", (json.dumps(manifest.model_dump(), indent=1) + "\n").encode())
