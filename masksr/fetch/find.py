"""Find pictures and weights: in packages, the data folder or the cache, else on the network."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import distribution
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from masksr.data.images import read_header
from masksr.data.packs import SCALES, Pack, Source, write_pack
from masksr.fetch import registry
from masksr.fetch.download import announce, download, first_that_works, unpack, verify
from masksr.fetch.registry import File, FolderSet, Layout, PackageSet, SetSpec, Weights
from masksr.io import MasksrError, alone, file_digest
from masksr.params import Params
from masksr.paths import cache_folder, find_data_folder, here_or_in_project, weight_places

CHECKPOINTS = (".pth", ".pt", ".safetensors")
SMALLEST = 32  # HR pixels on a side: 8 LR pixels, the smallest training patch params.yaml allows


def build_pack(
    spec: SetSpec | str, folder: Path | str, *, scales: tuple[int, ...] = SCALES, **options: Any
) -> Pack:
    """Find the pictures of a set (or of its name in data/registry.yaml) and write their pack to ``folder``.

    options: ``data_folder`` and ``limit`` of ``find_images``; scales and errors: see ``packs.write_pack``.
    """
    spec = registry.find_set(spec) if isinstance(spec, str) else spec
    return write_pack(spec, find_images(spec, **options), Path(folder), scales)


def find_images(
    spec: SetSpec, data_folder: Path | str | None = None, *, limit: int | None = None
) -> list[Source]:
    """Find the images of a set, in the order of the registry or of their names, without reading pixels.

    data_folder: holds the sets of kind ``folder``; by default what MASKSR_DATA names. A set that is not there
    is taken from the cache, or downloaded to it. limit: take only the first so many images, and accept a set
    that has no more. Raises MasksrError where pictures are missing, too many, too small, grey or damaged.
    """
    if isinstance(spec, PackageSet):
        return _in_packages(spec)[:limit]
    folder = find_data_folder(data_folder)
    there = folder and find_layout(folder, spec)[1]
    return images_in(folder if there else fetch_set(spec, folder), spec, limit)


def _in_packages(spec: PackageSet) -> list[Source]:
    sources = []
    for photograph in spec.photographs:
        path = Path(distribution(photograph.package).locate_file(photograph.file))
        if not path.is_file() or file_digest(path) != photograph.sha256:
            package = f"{photograph.package} {photograph.version}; install that version"
            raise MasksrError(f"{photograph.name}: {photograph.file} is missing or not that of {package}")
        if photograph.crops is None:
            sources.append(Source(photograph.name, path, sides=read_header(path)[0]))
        else:
            for name, box in photograph.crops.items():
                sides = box.height, box.width
                sources.append(Source(f"{photograph.name}-{name}", path, crop=box, sides=sides))
    return sources


def images_in(folder: Path, spec: FolderSet, limit: int | None = None) -> list[Source]:
    """Find the images of a set below ``folder`` and read their headers; otherwise as ``find_images``."""
    layout, images = find_layout(folder, spec, limit)
    if not images:
        places = ", ".join(layout.hr for layout in spec.layouts)
        raise MasksrError(f"{spec.name}: no pictures in {folder}; looked for {places} ({spec.origin})")
    parts = {name: re.split(r"(\d+)", name) for name in images}  # so that 2 comes before 10
    names = sorted(images, key=lambda name: [int(p) if p.isdecimal() else p for p in parts[name]])
    few = len(names) < min(limit or spec.images, spec.images)
    if few or (len(names) > spec.images and not spec.at_least):
        here = f"{spec.name}: {len(names)} pictures in {folder / layout.hr}, {spec.images} expected"
        otherwise = "move it away to fetch it" if spec.downloads else "correct images in data/registry.yaml"
        remedy = f"complete it, or {otherwise}" if few else "remove what does not belong there"
        raise MasksrError(f"{here}; {remedy}")
    names = names[:limit]
    official = {scale: _official_lr(folder, template, names) for scale, template in layout.lr.items()}
    sources = []
    for name in names:
        lr = {scale: paths[name] for scale, paths in official.items() if paths}
        sides, mode = read_header(images[name])
        if mode in ("1", "L", "LA") and not spec.grey:
            raise MasksrError(f"{images[name]}: is grey, but {spec.name} is not marked grey: true")
        if min(sides) < SMALLEST:
            raise MasksrError(f"{images[name]}: {sides} pixels, at least {SMALLEST} a side are needed")
        sources.append(Source(name, images[name], lr, sides=sides))
    return sources


def find_layout(folder: Path, spec: FolderSet, limit: int | None = None) -> tuple[Layout, dict[str, Path]]:
    """Return a set's layout below ``folder`` and its HR pictures by name; none where the set is not there.

    Among layouts that have pictures, a complete one is preferred, then one with official LR.
    """
    wanted = min(limit or spec.images, spec.images)

    def rank(candidate: tuple[Layout, dict[str, Path]]) -> tuple[bool, bool, int]:
        layout, images = candidate
        complete = len(images) >= wanted if spec.at_least or limit else len(images) == spec.images
        lr = [folder / path.format(name=name) for path in layout.lr.values() for name in images]
        return complete, any(path.is_file() for path in lr), len(images)

    return max(((layout, _hr_pictures(folder, layout, spec)) for layout in spec.layouts), key=rank)


def _hr_pictures(folder: Path, layout: Layout, spec: FolderSet) -> dict[str, Path]:
    before, after = PurePosixPath(layout.hr).name.split("{name}")
    paths = sorted(folder.glob(layout.hr.replace("{name}", "*")))
    named = {path.name.removeprefix(before).removesuffix(after): path for path in paths}
    return {name: path for name, path in named.items() if name not in spec.exclude and path.name[0] != "."}


def _official_lr(folder: Path, template: str, names: list[str]) -> dict[str, Path]:
    """Return the official LR of every image; empty where there is none at all, so LR is made from HR."""
    paths = {name: folder / template.format(name=name) for name in names}
    missing = [path for path in paths.values() if not path.is_file()]
    if len(missing) == len(paths):
        return {}
    if missing:
        gap = f"{missing[0]}: this LR picture and {len(missing) - 1} more are missing, others are there"
        raise MasksrError(f"{gap}; complete them, or remove the LR folder to have the LR made from the HR")
    return paths


def fetch_set(spec: FolderSet, searched: Path | None = None) -> Path:
    """Download, unpack and check a set, unless the cache has it; returns the folder of all sets there.

    searched: a folder where it was not found. Raises MasksrError with what is wrong with each way to get it.
    """
    folder = cache_folder() / "sets"
    try:
        lock = alone(folder / ".lock", f"the download of {spec.name}")
    except MasksrError:  # the cache may only be read
        images_in(folder, spec)
        return folder
    with lock:
        with suppress(MasksrError):
            images_in(folder, spec)
            return folder
        places = " or ".join(map(str, filter(None, [searched, folder])))
        problem = f"{spec.name} is not in {places} and cannot be downloaded"
        by_hand = "put it into a folder that data.local of params.yaml or MASKSR_DATA names, such as "
        by_hand += f"{spec.layouts[0].hr} (data/registry.yaml has all layouts)"
        if not spec.downloads:
            raise MasksrError(f"{problem}; get it from {spec.origin} and {by_hand}")

        def get(files: Sequence[File]) -> Path:
            archives = [download(file, cache_folder() / "downloads") for file in files]
            unpack(archives, folder)
            images_in(folder, spec)
            for archive in archives:
                archive.unlink()
            return folder

        announce(spec)
        return first_that_works(spec.downloads, get, problem, f". Or {by_hand}")


# ---- Weights -----------------------------------------------------------------------------------------------
def weights_there(spec: Weights, data_folder: Path | None = None) -> Path | None:
    """Find weights in ``paths.weight_places``: a file, or the folder of those that come in one archive.

    Raises MasksrError for a file that has a published name but not the published size or checksum.
    """
    if spec.archive:
        folder = cache_folder() / "weights" / spec.name
        return folder if any(folder.glob("[!.]*")) else None  # not one whose unpacking failed
    published = {file.name: file for file in spec.downloads}
    for place, name in product(weight_places(data_folder), [*published, *spec.also_named]):
        if (place / name).is_file():
            if name in published:
                verify(published[name], place / name)
            return place / name
    return None


def fetch_weights(spec: Weights, data_folder: Path | None = None) -> Path:
    """Find weights, or download them to the cache; returns the file, or the folder of those from one archive.

    Raises MasksrError with what is wrong with each way to get them.
    """
    if there := weights_there(spec, data_folder):
        return there

    def get(file: File) -> Path:
        path = download(file, cache_folder() / "weights")
        announce(spec)
        if spec.archive:
            unpack([path], path.with_name(spec.name))
            path.unlink()
        return path.with_name(spec.name) if spec.archive else path

    problem = f"{spec.name} ({spec.origin}) could not be had"
    with alone(cache_folder() / f"weights/.{spec.name}.fetch.lock", f"the download of {spec.name}"):
        return weights_there(spec, data_folder) or first_that_works(spec.downloads, get, problem)


def fetch_pretrained(name: str, data_folder: Path | None = None) -> Path:
    """Find a checkpoint: a path, or the name of an entry of ``weights``, which is downloaded if need be.

    A file in an archive is named ``entry/file``, as in ``pesr/psnr.pt``. Raises MasksrError when there is no
    such file or entry, and when the name stands for several checkpoints.
    """
    path = here_or_in_project(name)
    if path.is_file():  # outside a project there is no registry
        return path
    known = {key: spec for key, spec in registry.load_registry().weights.items() if spec.architecture}
    entry, _, member = name.partition("/")
    if entry not in known or (member and not known[entry].archive):
        raise MasksrError(f"there is no file {name}, and no such checkpoint (there are: {', '.join(known)})")
    found = fetch_weights(known[entry], data_folder)
    if not found.is_dir():
        return found
    whole = {*found.glob("[!.]*"), *found.glob("[!.]*/**/*")}  # without what a killed process left
    inside = [path for path in sorted(whole) if path.suffix in CHECKPOINTS]
    if found / member in inside:
        return found / member
    names = ", ".join(f"{entry}/{path.relative_to(found).as_posix()}" for path in inside)
    raise MasksrError(f"{name}: {entry} is an archive of several checkpoints; name one of its files: {names}")


# ---- python -m masksr fetch --------------------------------------------------------------------------------
def fetch(names: Sequence[str], params: Params) -> None:
    """Download and check whatever of ``names``, or else of what the profile needs, is not on this disk.

    A name asks for the whole set, even where the profile has a limit. Raises MasksrError about those that
    could not be had, after fetching the others.
    """
    folder, problems = find_data_folder(params.data.local), []
    for spec in _look_up(names or _needed(params)):
        try:
            if isinstance(spec, Weights):
                fetch_weights(spec, folder)
            else:
                find_images(spec, folder, limit=None if names else params.data.limit_of(spec.name))
            print(f"{spec.name}: in {_place(spec, folder)}", flush=True)
        except MasksrError as problem:
            problems.append(str(problem))
    if problems:
        raise MasksrError("\n".join(problems))


def listing(names: Sequence[str], params: Params) -> str:
    """Describe each of these names, or all: title, where it is or what to download, and its licence."""
    lines, folder = [], find_data_folder(params.data.local)
    for spec in _look_up(names):
        try:
            place = _place(spec, folder)
            where = f"in {place}" if place else f"to download: {_size(spec)}"
        except MasksrError as error:  # the others are still of interest
            where = str(error)
        lines.append(f"{spec.name:17s} {spec.title}")
        lines.append(f"{'':17s} {where}")
        if not isinstance(spec, PackageSet):
            lines.append(f"{'':17s} licence: {spec.licence}")
    return "\n".join(lines)


def _look_up(names: Iterable[str]) -> list[SetSpec | Weights]:
    known = registry.load_registry().sets | registry.load_registry().weights
    return [registry.look_up(name, known, "entry") for name in names or known]


def _needed(params: Params) -> list[str]:
    """List by name what a profile needs: sets, VGG19, NIQE, Ma, and the checkpoints it starts from."""
    names = [params.data.train, params.data.validation, *params.data.test]
    names += ["vgg19"] if params.weights.vgg == "imagenet" and not params.weights.vgg_file else []
    names += ["niqe", "ma"] if params.weights.quality == "official" else []
    starts = [params.models[model].start.init for model in params.table1.models]
    entries = dict.fromkeys(init.partition("/")[0] for init in starts if init)
    return names + [entry for entry in entries if entry in registry.load_registry().weights]


def _place(spec: SetSpec | Weights, folder: Path | None) -> Path | str | None:
    """Return where something already is, or None if it would have to be downloaded."""
    if isinstance(spec, PackageSet):
        return "the installed packages"
    if isinstance(spec, Weights):
        return weights_there(spec, folder)
    places = filter(None, [folder, cache_folder() / "sets"])
    return next((place for place in places if find_layout(place, spec)[1]), None)


def _size(spec: FolderSet | Weights) -> str:
    """Say how much the first way to get something would download."""
    files = spec.downloads[:1] if isinstance(spec, Weights) else next(iter(spec.downloads), [])
    sizes = [file.bytes or file.about for file in files]
    return f"{sum(sizes) / 1e6:,.3g} MB" if sizes and all(sizes) else "size unknown"
