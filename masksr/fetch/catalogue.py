"""What ``data/registry.yaml`` knows: where each thing is, what it would cost to get, and whether it is unchanged."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.sets import fetch_set, set_folder
from masksr.fetch.staging import is_whole, verify_folder
from masksr.fetch.weights import fetch_weights, weights_folder, weights_there
from masksr.params import Params
from masksr.registry import FolderSet, PackageSet, SetSpec, Weights, load_registry
from masksr.sources import count_pictures, find_images

Spec = SetSpec | Weights


def specs(names: Sequence[str] = ()) -> list[Spec]:
    """The sets and weights of these names, or all. Raises MasksrError for a name that is unknown."""
    registry = load_registry()
    known: dict[str, Spec] = registry.sets | registry.weights
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise MasksrError(f"there is no {name!r} in data/registry.yaml (there are: {', '.join(known)}){hint}")
    return [known[name] for name in names or known]


def needed(params: Params) -> list[str]:
    """The names of what a profile uses: sets, weights of VGG19, NIQE and Ma, and the checkpoints it starts from."""
    names = [params.data.train, params.data.validation, *params.data.test]
    names += ["vgg19"] if params.weights.vgg == "imagenet" and not params.weights.vgg_file else []
    names += ["niqe", "ma"] if params.weights.quality != "standin" else []
    known = load_registry().weights
    starts = [params.models[model].start.init for model in params.table1.models]
    return names + [init for init in dict.fromkeys(starts) if init in known]


def where(spec: Spec, data_folder: Path | None) -> str | None:
    """Where something already is, in words; None if it would have to be downloaded."""
    if isinstance(spec, PackageSet):
        return "the installed packages"
    if isinstance(spec, Weights):
        torch = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache/torch")) / "hub"
        places = [data_folder, data_folder / "weights"] if data_folder else []
        places += [torch / "checkpoints", torch / "pyiqa"]  # where torchvision and pyiqa keep theirs
        named = [place / file.name for place in places for file in spec.downloads]
        found = next((path for path in named if path.is_file()), None) or weights_there(spec)
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
        fetch_weights(spec) if isinstance(spec, Weights) else fetch_set(spec, [data_folder] if data_folder else [])
    elif isinstance(spec, FolderSet):
        find_images(spec, data_folder, limit=limit)
    return f"in {where(spec, data_folder)}"


def listing(specs: Sequence[Spec], data_folder: Path | None) -> str:
    """Some lines for each set and each entry of weights: where it is or what it would cost, and its licence."""
    lines = []
    for spec in specs:
        there = where(spec, data_folder)
        lines.append(f"{spec.name:17s} {spec.title}")
        lines.append(f"{'':17s} {f'in {there}' if there else f'to download: {in_words(size_to_fetch(spec))}'}")
        if not isinstance(spec, PackageSet):
            lines.append(f"{'':17s} licence: {spec.licence}")
    return "\n".join(lines)


def in_words(size: int | None) -> str:
    """A number of bytes as people say it."""
    if size is None:
        return "size unknown"
    number = float(size)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def verify(spec: Spec) -> str:
    """Read all of what the cache has of something and compare its checksums; returns in words what was found.

    Raises MasksrError that names the first file that is missing or not what was fetched.
    """
    if isinstance(spec, Weights):
        found = weights_there(spec)
        if found is None:
            return "not in the cache"
        if found.is_dir():
            return verify_folder(found, spec.name)
        file = next(file for file in spec.downloads if file.name == found.name)
        download.verify(file, found, weights_folder())
        return f"{found}: as {'published' if file.sha256 or file.md5 else 'first downloaded'}"
    if isinstance(spec, FolderSet) and is_whole(set_folder(spec)):
        return verify_folder(set_folder(spec), spec.name)
    return "not in the cache"
