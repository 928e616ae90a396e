"""``python -m masksr fetch``: where everything in data/registry.yaml is, its size, its checksums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masksr.fetch import download
from masksr.fetch.find import count_pictures, find_images, set_folder
from masksr.fetch.registry import FolderSet, PackageSet, SetSpec, Weights, load_registry, look_up
from masksr.fetch.weights import fetch_weights, weights_folder, weights_there
from masksr.files import readable
from masksr.params import Params

Spec = SetSpec | Weights


def specs(names: Sequence[str] = ()) -> list[Spec]:
    """The sets and weights of these names, or all. Raises MasksrError for a name that is unknown."""
    registry = load_registry()
    known: dict[str, Spec] = registry.sets | registry.weights
    return [look_up(name, known, "entry") for name in names or known]


def needed(params: Params) -> list[str]:
    """The names of what a profile needs: sets, VGG19, NIQE, Ma, and the checkpoints it starts from."""
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
        return f"{data_folder}" + (f" ({count} of {spec.images} pictures)" if count != spec.images else "")
    return str(set_folder(spec)) if set_folder(spec).exists() else None


def get(spec: Spec, data_folder: Path | None, limit: int | None = None) -> str:
    """Download something unless it is there, and check it; returns where it is, in words.

    limit: accept so many pictures of a set in the data folder.
    """
    if isinstance(spec, Weights):
        fetch_weights(spec, data_folder)
    else:
        find_images(spec, data_folder, limit=limit)
    return f"in {where(spec, data_folder)}"


def listing(specs: Sequence[Spec], data_folder: Path | None) -> str:
    """Some lines for each set and each entry of weights: where it is or what it would cost; its licence."""
    lines = []
    for spec in specs:
        there = where(spec, data_folder)
        lines.append(f"{spec.name:17s} {spec.title}")
        place = f"in {there}" if there else f"to download: {readable(_bytes_to_fetch(spec))}"
        lines.append(f"{'':17s} {place}")
        if not isinstance(spec, PackageSet):
            lines.append(f"{'':17s} licence: {spec.licence}")
    return "\n".join(lines)


def _bytes_to_fetch(spec: FolderSet | Weights) -> int | None:
    """Bytes of the first way to get something; None where some of it is unknown."""
    files = spec.downloads[:1] if isinstance(spec, Weights) else next(iter(spec.downloads), [])
    sizes = [file.bytes or file.about for file in files]
    return None if not sizes or None in sizes else sum(size for size in sizes if size)


def verify(spec: Spec) -> str | None:
    """Compare the checksums of what the cache has of something; returns a summary, None if it has nothing.

    Raises MasksrError that names the first file that is missing or not what was fetched.
    """
    if isinstance(spec, PackageSet):
        return None
    folder = set_folder(spec) if isinstance(spec, FolderSet) else weights_folder() / spec.name
    if folder.is_dir():
        return download.verify_folder(folder, spec.name)
    if isinstance(spec, Weights):
        for file in spec.downloads:
            if (path := weights_folder() / file.name).is_file():
                download.verify(file, path)
                return f"{path}: {'as published' if file.sha256 or file.md5 else 'no checksum is published'}"
    return None
