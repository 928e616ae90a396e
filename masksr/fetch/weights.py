"""Find or download published weights, and checkpoints by their names."""

from __future__ import annotations

from pathlib import Path

from masksr.fetch import download
from masksr.fetch.registry import File, Weights, load_registry
from masksr.io import MasksrError
from masksr.paths import cache_folder, here_or_in_project, weight_places

CHECKPOINTS = (".pth", ".pt", ".safetensors")


def weights_folder() -> Path:
    """The folder of weights in the cache."""
    return cache_folder() / "weights"


def weights_there(spec: Weights, data_folder: Path | None = None) -> Path | None:
    """Find weights in ``paths.weight_places``: a file, or the folder of those that come in one archive.

    Raises MasksrError for a file of a published name that has not the published size or checksum.
    """
    if spec.archive:
        folder = weights_folder() / spec.name
        return folder if folder.is_dir() else None
    for place in weight_places(data_folder):
        for file in spec.downloads:
            if (place / file.name).is_file():
                download.verify(file, place / file.name)
                return place / file.name
        for name in spec.also_named:
            if (place / name).is_file():
                return place / name
    return None


def fetch_weights(spec: Weights, data_folder: Path | None = None) -> Path:
    """Find weights, or download them to the cache; returns the file, or the folder of those from one archive.

    Only the checksum is looked at, not what is in the file. Raises MasksrError, with what is wrong with every
    way to get them, when none works.
    """
    if there := weights_there(spec, data_folder):
        return there
    download.announce(spec, weights_folder())

    def get(file: File) -> Path:
        path, folder = download.download(file, weights_folder()), weights_folder() / spec.name
        if spec.archive:
            download.unpack([path], folder)
            path.unlink()
        return folder if spec.archive else path

    return download.first_that_works(spec.downloads, get, f"{spec.name} ({spec.origin}) could not be had")


def find_pretrained(name: str, data_folder: Path | None = None) -> Path:
    """Find a checkpoint: a path, or the name of an entry of ``weights``, which is downloaded if need be.

    Raises MasksrError when there is neither, and when the name stands for several checkpoints.
    """
    path = here_or_in_project(name)
    if path.is_file():  # outside of a project there is no registry
        return path
    known = {key: spec for key, spec in load_registry().weights.items() if spec.architecture}
    if name not in known:
        problem = f"there is no file {name}, and no checkpoint of that name"
        raise MasksrError(f"{problem} (there are: {', '.join(known)})")
    found = fetch_weights(known[name], data_folder)
    if found.is_dir():
        inside = ", ".join(str(path) for path in sorted(found.rglob("*")) if path.suffix in CHECKPOINTS)
        raise MasksrError(f"{name} is an archive of several checkpoints; name one of its files: {inside}")
    return found
