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
from masksr.sources import Source, images_in


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
        layouts = " or ".join(layout.hr for layout in spec.layouts[:2])
        by_hand = (
            f"put it into a folder that data.local of params.yaml or MASKSR_DATA names, such as {layouts} "
            "(data/registry.yaml has all layouts)"
        )
        missing = f"{spec.name} is not in {' or '.join(map(str, [*searched, folder]))}"
        if not spec.downloads:
            raise MasksrError(f"{missing} and cannot be downloaded; get it from {spec.homepage} and {by_hand}")
        downloads = made(cache_folder() / "downloads")
        at_hand = any(all((downloads / file.name).is_file() for file in way) for way in spec.downloads)
        if download.offline() and not at_hand:
            raise MasksrError(f"{missing}, and MASKSR_OFFLINE is set: unset it, or {by_hand}")
        print(f"{missing}: {'unpacked' if at_hand else 'downloaded'} now\n  {spec.title}", flush=True)
        print(f"  licence: {spec.licence}\n  cite: {spec.cite}", flush=True)
        return first_that_works(
            spec.downloads, lambda files: _get(spec, files), f"{spec.name} could not be downloaded", by_hand
        )


def _get(spec: FolderSet, files: list[File]) -> Path:
    folder, downloads = set_folder(spec), made(cache_folder() / "downloads")
    archives = [download.download(file, downloads) for file in files]
    unknown = [file for file in files if not file.vouched_for]
    try:
        with staged(folder, archives) as unfinished:
            for archive in archives:
                unpack(archive, unfinished, lambda path: _is_picture(spec, path))
            sources = images_in(unfinished, spec)
            _check_lr(spec, unfinished, sources)
            if unknown:  # no published checksum vouches for the pixels
                for source in sources:
                    load_image(source, (4, 2))
    except MasksrError:
        for file in unknown:  # a first download that was none must not be what later ones are held to
            download.forget(file, downloads)
        raise
    others = [other for other in load_registry().sets.values() if isinstance(other, FolderSet)]
    missing = [other for other in others if not is_whole(set_folder(other))]
    wanted = {file.name for other in missing for way in other.downloads[:1] for file in way}
    for archive in archives:
        if archive.name not in wanted:
            archive.unlink()  # its pictures are unpacked, and their checksums recorded
    return folder


def _check_lr(spec: FolderSet, folder: Path, sources: list[Source]) -> None:
    """Raises MasksrError when LR pictures came that no HR picture has."""
    used = {path for source in sources for path in source.lr.values()}
    templates = [template for layout in spec.layouts for template in (layout.lr_x4, layout.lr_x2) if template]
    names = {path for template in templates for path in folder.glob(template.replace("{name}", "*"))}
    if names and not used:
        raise MasksrError(
            f"{spec.name}: the LR pictures ({min(names).name}, ...) have other names than the HR pictures"
        )


def _is_picture(spec: FolderSet, path: str) -> bool:
    templates = [t for layout in spec.layouts for t in (layout.hr, layout.lr_x4, layout.lr_x2) if t]
    patterns = [template.replace("{name}", "*") for template in templates]
    # A "*" of fnmatch passes "/", so the depth has to agree too.
    return any(fnmatch.fnmatchcase(path, p) and path.count("/") == p.count("/") for p in patterns)
