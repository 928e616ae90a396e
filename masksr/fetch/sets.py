"""The pictures of a data set: in packages, in the data folder, in the cache, or from archives on the network."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from masksr.data.images import read_header
from masksr.data.packs import SCALES, Pack, Source, load_image, write_pack
from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.registry import File, FolderSet, PackageSet, Photograph, SetSpec, find_set, load_registry
from masksr.fetch.sources import count_pictures, images_in
from masksr.fetch.staging import first_that_works, is_whole, locked, made, staged, unpack
from masksr.files import cache_folder
from masksr.files import data_folder as _data_folder


def build_pack(
    spec: SetSpec | str,
    folder: Path | str,
    *,
    scales: tuple[int, ...] = SCALES,
    data_folder: Path | str | None = None,
    limit: int | None = None,
) -> Pack:
    """Find the pictures of a set, or of its name in data/registry.yaml, and write their pack to ``folder``.

    data_folder and limit: see ``find_images``; scales and errors: see ``data.packs.write_pack``.
    """
    spec = find_set(spec) if isinstance(spec, str) else spec
    return write_pack(spec, find_images(spec, data_folder, limit=limit), Path(folder), scales)


def find_images(spec: SetSpec, data_folder: Path | str | None = None, *, limit: int | None = None) -> list[Source]:
    """The images of a set, without reading their pixels: in the order of the registry, or of their names in a folder.

    data_folder: what holds the sets of kind ``folder``; without one, the variable MASKSR_DATA names it. A set that is
    not there is taken from the cache, or downloaded to it. limit: take at most the first so many, and be content if no
    more than those are there; without it the set must be complete.
    Raises MasksrError, naming what and what to do, when the folder, a picture or a package is missing, the number of
    images is wrong, a file is not the expected one, or a picture is grey, too small or damaged.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be positive, not {limit}")
    if isinstance(spec, PackageSet):
        return _in_packages(spec)[:limit]
    return images_in(_find_folder(spec, data_folder), spec, limit)


def _in_packages(spec: PackageSet) -> list[Source]:
    sources = []
    for photograph in spec.photographs:
        path = _package_file(photograph)
        sides, _ = read_header(path)
        if photograph.crops is None:
            sources.append(Source(photograph.name, path, sides=sides))
        else:
            for name, box in photograph.crops.items():
                full_name = f"{photograph.name}-{name}"
                sources.append(Source(full_name, path, crop=box, sides=(box.height, box.width)))
    return sources


def _package_file(photograph: Photograph) -> Path:
    """A file inside an installed package, found without importing it: importing skimage or sklearn takes seconds."""
    expected = f"{photograph.package} {photograph.version}"
    module, *rest = PurePosixPath(photograph.file).parts
    found = importlib.util.find_spec(module)  # of a top-level name, so nothing is run
    if found is None or not found.submodule_search_locations:
        raise MasksrError(f"{photograph.name}: the package {photograph.package} is missing; install {expected}")
    path = Path(found.submodule_search_locations[0], *rest)
    if not path.is_file():
        raise MasksrError(f"{photograph.name}: {path} is missing; install {expected}, which comes with it")
    if hashlib.sha256(path.read_bytes()).hexdigest() != photograph.sha256:
        raise MasksrError(
            f"{photograph.name}: {path} is not the file of {expected} (sha256 {photograph.sha256[:12]}...); installed "
            f"is {photograph.package} {_version(photograph.package)}, so install {expected} again"
        )
    return path


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return "of another name"


def _find_folder(spec: FolderSet, data_folder: Path | str | None) -> Path:
    """What holds the pictures of a set: the data folder, else the cache, to which they are downloaded if need be."""
    folder = _data_folder(data_folder)
    if folder and count_pictures(folder, spec):
        return folder
    return fetch_set(spec, [folder] if folder else [])  # at once, if the cache has it


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
