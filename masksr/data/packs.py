"""Writing the pack of a data set (see ``masksr.data.packed``)."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from masksr.data.manifests import FORMAT
from masksr.data.packed import Pack, array_name, pixel_digest
from masksr.data.pictures import SCALE, Source, check_kernel, load_image
from masksr.errors import MasksrError
from masksr.files import check_space, write_atomic
from masksr.locks import alone

SCALES = (2, 4)  # both divide SCALE, to which HR is cut: the LR of an image then begins at its offset / scale^2


class About(Protocol):
    """What the manifest says of a set: an entry of data/registry.yaml."""

    name: str
    title: str

    @property
    def citation(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def origin(self) -> str: ...


def write_pack(about: About, sources: list[Source], folder: Path, scales: tuple[int, ...] = SCALES) -> Pack:
    """Make the pack of these pictures in ``folder``, in place of a pack that is there.

    It is written beside ``folder`` and moved there once complete: nothing half-made can be taken for a pack. Where
    another process is at the same pack, this one waits for it and takes what it made. HR is cut to sides that are
    multiples of 4; LR x4 is the official one where a source has it, every other LR is made by imresize.

    Raises MasksrError for all that can be wrong with the pictures, when the disk has too little room, and when
    ``folder`` holds something that is not a pack.
    """
    if not scales or not set(scales) <= set(SCALES):
        raise ValueError(f"scales must be some of {SCALES}, not {scales}")
    scales = tuple(sorted(scales))
    if folder.exists() and not (folder.is_dir() and ((folder / "manifest.json").exists() or not os.listdir(folder))):
        raise MasksrError(f"{folder}: exists and is not a pack; name another folder, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f".{folder.name}.lock"), f"the pack of {about.name}") as waited:
            if not (waited and _is_made_of(folder, about, sources, scales)):
                _replace(folder, about, sources, scales)
    except OSError as error:
        raise MasksrError(f"{folder}: the pack cannot be written ({error.strerror or error})") from None
    return Pack(folder)


def _replace(folder: Path, about: About, sources: list[Source], scales: tuple[int, ...]) -> None:
    """Write the pack beside ``folder`` and move it there. Wherever this is killed, the next one finds a whole pack or
    none, and takes away what was left.
    """
    unfinished, replaced = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "replaced"))
    _settle(folder, unfinished, replaced)
    try:
        unfinished.mkdir()
        _write(unfinished, about, sources, scales)
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


def _is_made_of(folder: Path, about: About, sources: list[Source], scales: tuple[int, ...]) -> bool:
    """Whether the pack that another process has just made is the one that these pictures would give."""
    try:
        manifest = Pack(folder).manifest
    except MasksrError:
        return False
    found = [(image["name"], {image["height"], image["width"]}) for image in manifest["images"]]
    wanted = [(source.name, {side - side % SCALE for side in source.sides}) for source in sources]
    return manifest["set"] == about.name and tuple(manifest["scales"]) == scales and found == wanted


def _write(folder: Path, about: About, sources: list[Source], scales: tuple[int, ...]) -> None:
    total = sum(3 * (a - a % SCALE) * (b - b % SCALE) for a, b in (source.sides for source in sources))
    sizes = {scale: total // scale**2 for scale in (1, *scales)}
    check_space(folder, sum(sizes.values()), f"the pack of {about.name}")
    images: list[dict[str, Any]] = []
    deviations: dict[int, list[float]] = {scale: [] for scale in scales}
    offset = 0
    with ExitStack() as stack:
        files = {scale: stack.enter_context((folder / f"{array_name(scale)}.npy").open("wb")) for scale in sizes}
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
                    array_name(scale): picture.difference.get(scale, "masksr") for scale in scales
                },
                "sha256": {array_name(scale): pixel_digest(pixels[scale]) for scale in files},
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
        raise MasksrError(f"{about.name}: its pictures changed while they were read; build the pack again")
    for scale, found in deviations.items():
        check_kernel(about.name, scale, found)
    described = {key: getattr(about, key) for key in ("title", "citation", "licence", "origin")}
    manifest = {"format": FORMAT, "set": about.name, **described, "scales": scales, "images": images}
    write_atomic(folder / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
