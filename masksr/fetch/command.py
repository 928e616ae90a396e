"""``python -m masksr fetch``: get what data/registry.yaml names, or tell where it is and its size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from masksr.fetch.find import fetch_weights, find_images, find_layout, sets_folder, weights_there
from masksr.fetch.registry import FolderSet, PackageSet, SetSpec, Weights, load_registry, look_up
from masksr.io import MasksrError
from masksr.params import Params
from masksr.paths import data_folder

Spec = SetSpec | Weights


def fetch(names: Sequence[str], params: Params) -> None:
    """Download and check what is not on this disk of these names, or else of what the profile needs.

    A name asks for a whole set, also where the profile has a limit. Raises MasksrError about those that could
    not be had, after the others.
    """
    folder, problems = data_folder(params), []
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
    """Some lines for each of these names, or for all: where it is or what it would cost; its licence."""
    lines, folder = [], data_folder(params)
    for spec in _look_up(names):
        place = _place(spec, folder)
        lines.append(f"{spec.name:17s} {spec.title}")
        lines.append(f"{'':17s} {f'in {place}' if place else f'to download: {_size(spec)}'}")
        if not isinstance(spec, PackageSet):
            lines.append(f"{'':17s} licence: {spec.licence}")
    return "\n".join(lines)


def _look_up(names: Iterable[str]) -> list[Spec]:
    registry = load_registry()
    known: dict[str, Spec] = registry.sets | registry.weights
    return [look_up(name, known, "entry") for name in names or known]


def _needed(params: Params) -> list[str]:
    """The names of what a profile needs: sets, VGG19, NIQE, Ma, and the checkpoints it starts from."""
    names = [params.data.train, params.data.validation, *params.data.test]
    names += ["vgg19"] if params.weights.vgg == "imagenet" and not params.weights.vgg_file else []
    names += ["niqe", "ma"] if params.weights.quality == "official" else []
    starts = [params.models[model].start.init for model in params.table1.models]
    return names + [init for init in dict.fromkeys(starts) if init in load_registry().weights]


def _place(spec: Spec, folder: Path | None) -> str | None:
    """Where something already is, in words; None if it would have to be downloaded."""
    if isinstance(spec, PackageSet):
        return "the installed packages"
    if isinstance(spec, Weights):
        found = weights_there(spec, folder)
        return str(found) if found else None
    for place in filter(None, [folder, sets_folder()]):
        if count := len(find_layout(place, spec)[1]):
            return f"{place}" + (f" ({count} of {spec.images} pictures)" if count != spec.images else "")
    return None


def _size(spec: FolderSet | Weights) -> str:
    """What the first way to get something would download."""
    files = spec.downloads[:1] if isinstance(spec, Weights) else next(iter(spec.downloads), [])
    sizes = [file.bytes or file.about for file in files]
    return f"{sum(sizes) / 1e6:,.3g} MB" if sizes and all(sizes) else "size unknown"
