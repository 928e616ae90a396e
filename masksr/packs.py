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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masksr.errors import MasksrError
from masksr.files import check_space, write_atomic
from masksr.locks import alone
from masksr.manifests import FORMAT, read_manifest
from masksr.pictures import check_kernel, load_image
from masksr.registry import SetSpec, find_set
from masksr.sources import SCALE, Source, find_images

SCALES = (2, 4)  # both divide SCALE, to which HR is cut: the LR of an image then begins at its offset / scale^2


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
            scale: _open_array(self.folder / f"{_key(scale)}.npy", total // scale**2) for scale in (1, *self.scales)
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
                if _sha256(self._view(index, scale)) != image["sha256"][_key(scale)]:
                    raise MasksrError(
                        f"{self.folder}: {image['name']} in {_key(scale)}.npy is not what was packed; build it again"
                    )

    def _view(self, index: int, scale: int) -> NDArray[np.uint8]:
        image = self._images[index]
        height, width, begin = image["height"] // scale, image["width"] // scale, image["offset"] // scale**2
        return self._arrays[scale][begin : begin + 3 * height * width].reshape(height, width, 3)


def build_pack(
    spec: SetSpec | str,
    folder: Path | str,
    *,
    scales: tuple[int, ...] = SCALES,
    data_folder: Path | str | None = None,
    limit: int | None = None,
) -> Pack:
    """Make the pack of a data set in ``folder``, in place of a pack that is there.

    It is written beside ``folder`` and moved there once complete: nothing half-made can be taken for a pack. Where
    another process is at the same pack, this one waits for it and takes what it made.
    spec: a data set or its name in data/registry.yaml; data_folder and limit: see ``sources.find_images``. HR is cut to
    sides that are multiples of 4; LR x4 is the official one where the set has it, every other LR is made by imresize.
    Raises MasksrError for all that can be wrong with the pictures, when the disk has too little room, and when
    ``folder`` holds something that is not a pack.
    """
    if not scales or not set(scales) <= set(SCALES):
        raise ValueError(f"scales must be some of {SCALES}, not {scales}")
    spec = find_set(spec) if isinstance(spec, str) else spec
    folder, scales = Path(folder), tuple(sorted(scales))
    if folder.exists() and not (folder.is_dir() and ((folder / "manifest.json").exists() or not os.listdir(folder))):
        raise MasksrError(f"{folder}: exists and is not a pack; name another folder, or remove it")
    sources = find_images(spec, data_folder, limit=limit)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f".{folder.name}.lock"), f"the pack of {spec.name}") as waited:
            if not (waited and _is_made_of(folder, spec, sources, scales)):
                _replace(folder, spec, sources, scales)
    except OSError as error:
        raise MasksrError(f"{folder}: the pack cannot be written ({error.strerror or error})") from None
    return Pack(folder)


def _replace(folder: Path, spec: SetSpec, sources: list[Source], scales: tuple[int, ...]) -> None:
    """Write the pack beside ``folder`` and move it there. Wherever this is killed, the next one finds a whole pack or
    none, and takes away what was left.
    """
    unfinished, replaced = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "replaced"))
    _settle(folder, unfinished, replaced)
    try:
        unfinished.mkdir()
        _write(unfinished, spec, sources, scales)
        if folder.exists():
            os.rename(folder, replaced)
        os.rename(unfinished, folder)
    finally:
        _settle(folder, unfinished, replaced)


def _settle(folder: Path, unfinished: Path, replaced: Path) -> None:
    if replaced.exists() and not folder.exists():
        os.rename(replaced, folder)
    for left_over in (unfinished, replaced):
        shutil.rmtree(left_over, ignore_errors=True)


def _is_made_of(folder: Path, spec: SetSpec, sources: list[Source], scales: tuple[int, ...]) -> bool:
    """Whether the pack that another process has just made is the one that these pictures would give."""
    try:
        manifest = Pack(folder).manifest
    except MasksrError:
        return False
    found = [(image["name"], {image["height"], image["width"]}) for image in manifest["images"]]
    wanted = [(source.name, {side - side % SCALE for side in source.sides}) for source in sources]
    return manifest["set"] == spec.name and tuple(manifest["scales"]) == scales and found == wanted


def _write(folder: Path, spec: SetSpec, sources: list[Source], scales: tuple[int, ...]) -> None:
    total = sum(3 * (a - a % SCALE) * (b - b % SCALE) for a, b in (source.sides for source in sources))
    sizes = {scale: total // scale**2 for scale in (1, *scales)}
    check_space(folder, sum(sizes.values()), f"the pack of {spec.name}")
    images: list[dict[str, Any]] = []
    deviations: dict[int, list[float]] = {scale: [] for scale in scales}
    offset = 0
    with ExitStack() as stack:
        files = {scale: stack.enter_context((folder / f"{_key(scale)}.npy").open("wb")) for scale in sizes}
        for scale, file in files.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (sizes[scale],)}
            np.lib.format.write_array_header_1_0(file, header)
        for source in sources:
            picture = load_image(source, scales)
            pixels = {1: picture.hr, **picture.lr}
            image = {
                "name": source.name,
                "height": picture.hr.shape[0],
                "width": picture.hr.shape[1],
                "offset": offset,
                "cut": picture.cut,  # the file's sides were no multiples of 4
                "lr": {  # official, then with its largest distance from ours in levels; or made by masksr
                    _key(scale): picture.difference.get(scale, "masksr") for scale in scales
                },
                "sha256": {_key(scale): _sha256(pixels[scale]) for scale in files},
            }
            images.append(image)
            for scale, file in files.items():
                file.write(pixels[scale].data)
            for scale, deviation in picture.deviation.items():
                deviations[scale].append(deviation)
            offset += picture.hr.size
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    if offset != total:
        raise MasksrError(f"{spec.name}: its pictures changed while they were read; build the pack again")
    for scale, found in deviations.items():
        check_kernel(spec.name, scale, found)
    about = {key: getattr(spec, key) for key in ("title", "citation", "licence", "origin")}
    manifest = {"format": FORMAT, "set": spec.name, **about, "scales": scales, "images": images}
    write_atomic(folder / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())


def _key(scale: int) -> str:
    return "hr" if scale == 1 else f"lr_x{scale}"


def _sha256(pixels: NDArray[np.uint8]) -> str:
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
