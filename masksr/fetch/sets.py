"""Data sets from archives on the network to a folder in the cache."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.staging import first_that_works, is_whole, locked, made, staged, unpack
from masksr.files import cache_folder
from masksr.pictures import load_image
from masksr.registry import File, FolderSet, load_registry
from masksr.sources import images_in


def set_folder(spec: FolderSet) -> Path:
    """Where the cache has, or would have, the pictures of a set."""
    return cache_folder() / "sets" / spec.name


def fetch_set(spec: FolderSet, searched: Sequence[Path] = ()) -> Path:
    """Download, unpack and check a set; returns its folder in the cache, at once if it is there.

    searched: folders in which it was not, for the message. Raises MasksrError, which names what is wrong with every way
    to get it, when none works; nothing that a later run could take for the set is left then.
    """
    folder = set_folder(spec)
    with locked(folder):
        if is_whole(folder):
            return folder
        layouts = ", ".join(layout.hr for layout in spec.layouts)
        by_hand = f"put it into a folder that data.local of params.yaml or MASKSR_DATA names, as one of: {layouts}"
        where = f" is not in {' or '.join(map(str, searched))} and" if searched else ""
        if not spec.downloads:
            raise MasksrError(f"{spec.name}{where} cannot be downloaded; get it from {spec.homepage}, {by_hand}")
        print(f"{spec.name}: {spec.title}\n  licence: {spec.licence}\n  cite: {spec.cite}", flush=True)
        return first_that_works(
            spec.downloads, lambda files: _get(spec, files), f"{spec.name}{where} could not be downloaded", by_hand
        )


def _get(spec: FolderSet, files: list[File]) -> Path:
    folder, downloads = set_folder(spec), made(cache_folder() / "downloads")
    archives = [download.download(file, downloads) for file in files]
    unknown = [file for file in files if not (file.sha256 or file.md5)]
    try:
        with staged(folder, archives) as unfinished:
            for archive in archives:
                unpack(archive, unfinished, lambda path: _is_picture(spec, path))
            for source in images_in(unfinished, spec):
                if unknown:  # no published checksum vouches for the pixels
                    load_image(source, (4, 2))
    except MasksrError:
        for file in unknown:  # a first download that was none must not be what later ones are held to
            download.forget(file, downloads)
        raise
    others = [other for other in load_registry().sets.values() if isinstance(other, FolderSet) and other != spec]
    shared = {file.name for other in others for way in other.downloads for file in way}
    for archive in archives:
        if archive.name not in shared:
            archive.unlink()  # its pictures are unpacked, and their checksums recorded
    return folder


def _is_picture(spec: FolderSet, path: str) -> bool:
    templates = [t for layout in spec.layouts for t in (layout.hr, layout.lr_x4, layout.lr_x2) if t]
    patterns = [template.replace("{name}", "*") for template in templates]
    # A "*" of fnmatch passes "/", so the depth has to agree too.
    return any(fnmatch.fnmatchcase(path, p) and path.count("/") == p.count("/") for p in patterns)
