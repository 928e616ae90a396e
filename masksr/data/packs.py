"""Making a pack of a data set (see ``masksr.packed``), and in one import both: ``Pack`` and ``build_pack``."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from masksr.errors import MasksrError
from masksr.files import check_space, write_atomic
from masksr.locks import alone
from masksr.manifests import FORMAT
from masksr.packed import Pack, array_name, pixel_digest
from masksr.pictures import check_kernel, load_image
from masksr.registry import SetSpec, find_set
from masksr.sources import SCALE, Source, find_images

__all__ = ["SCALES", "Pack", "build_pack"]

SCALES = (2, 4)  # both divide SCALE, to which HR is cut: the LR of an image then begins at its offset / scale^2


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
        raise MasksrError(f"{spec.name}: its pictures changed while they were read; build the pack again")
    for scale, found in deviations.items():
        check_kernel(spec.name, scale, found)
    about = {key: getattr(spec, key) for key in ("title", "citation", "licence", "origin")}
    manifest = {"format": FORMAT, "set": spec.name, **about, "scales": scales, "images": images}
    write_atomic(folder / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
