"""What ``data/registry.yaml`` knows: where each thing is, what it would cost to get, and whether it is unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masksr.fetch import download
from masksr.fetch.registry import FolderSet, PackageSet, SetSpec, Weights, load_registry, named
from masksr.fetch.sets import fetch_set, find_images, set_folder
from masksr.fetch.sources import count_pictures
from masksr.fetch.staging import is_whole, verify_folder
from masksr.fetch.weights import fetch_weights, weights_folder, weights_there
from masksr.files import readable
from masksr.params import Params

Spec = SetSpec | Weights


def specs(names: Sequence[str] = ()) -> list[Spec]:
    """The sets and weights of these names, or all. Raises MasksrError for a name that is unknown."""
    registry = load_registry()
    known: dict[str, Spec] = registry.sets | registry.weights
    return [named(name, known, "entry") for name in names or known]


def needed(params: Params) -> list[str]:
    """The names of what a profile cannot do without: sets, VGG19, NIQE, Ma, and the checkpoints it starts from."""
    names = [params.data.train, params.data.validation, *params.data.test]
    names += ["vgg19"] if params.weights.vgg == "imagenet" and not params.weights.vgg_file else []
    names += ["niqe", "ma"] if params.weights.quality == "official" else []
    known = load_registry().weights
    starts = [params.models[model].start.init for model in params.table1.models]
    return names + [init for init in dict.fromkeys(starts) if init in known]


def where(spec: Spec, data_folder: Path | None) -> str | None:
    """Where something already is, in words; None if it would have to be downloaded."""
    if isinstance(spec, PackageSet):
        return "the installed packages"
    if isinstance(spec, Weights):
        found = weights_there(spec, data_folder)
        return str(found) if found else None
    if data_folder and (count := count_pictures(data_folder, spec)):
        return str(data_folder) if count == spec.images else f"{data_folder} ({count} of {spec.images} pictures)"
    return str(set_folder(spec)) if is_whole(set_folder(spec)) else None


def size_to_fetch(spec: Spec) -> int | None:
    """Bytes of the first way to get something; None where some of it is unknown."""
    if isinstance(spec, PackageSet):
        return 0
    files = spec.downloads[:1] if isinstance(spec, Weights) else next(iter(spec.downloads), [])
    sizes = [file.size for file in files]
    return None if not sizes or None in sizes else sum(size for size in sizes if size)


def get(spec: Spec, data_folder: Path | None, limit: int | None = None) -> str:
    """Download something unless it is there already, and check it; returns where it is, in words.

    limit: be content with so many pictures of a set in the data folder.
    """
    if isinstance(spec, PackageSet):
        find_images(spec)
    elif not where(spec, data_folder):
        if isinstance(spec, Weights):
            fetch_weights(spec, data_folder)
        else:
            fetch_set(spec, [data_folder] if data_folder else [])
    elif isinstance(spec, FolderSet):
        find_images(spec, data_folder, limit=limit)
    return f"in {where(spec, data_folder)}"


def listing(specs: Sequence[Spec], data_folder: Path | None) -> str:
    """Some lines for each set and each entry of weights: where it is or what it would cost, and its licence."""
    lines = []
    for spec in specs:
        there = where(spec, data_folder)
        lines.append(f"{spec.name:17s} {spec.title}")
        lines.append(f"{'':17s} {f'in {there}' if there else f'to download: {readable(size_to_fetch(spec))}'}")
        if not isinstance(spec, PackageSet):
            lines.append(f"{'':17s} licence: {spec.licence}")
    return "\n".join(lines)


def verify(spec: Spec) -> str | None:
    """Read all of what the cache has of something and compare its checksums; in words what was found, None if nothing.

    Raises MasksrError that names the first file that is missing or not what was fetched.
    """
    if isinstance(spec, FolderSet) and is_whole(set_folder(spec)):
        return verify_folder(set_folder(spec), spec.name)
    if isinstance(spec, Weights) and spec.archive and (folder := weights_there(spec)):
        return verify_folder(folder, spec.name)
    if isinstance(spec, Weights):
        for file in spec.downloads:
            if (path := weights_folder() / file.name).is_file():
                download.verify(file, path, weights_folder())
                return f"{path}: as {'published' if file.vouched_for else 'first downloaded'}"
    return None
