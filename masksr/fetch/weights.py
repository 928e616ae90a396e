"""Weights from the network to the cache, and checkpoints by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.staging import first_that_works, is_whole, locked, made, staged, unpack
from masksr.files import cache_folder
from masksr.registry import File, Weights, load_registry

CHECKPOINTS = (".pth", ".pt", ".safetensors")


def weights_folder() -> Path:
    """Where the cache keeps the files of weights."""
    return cache_folder() / "weights"


def weights_there(spec: Weights) -> Path | None:
    """The file of weights in the cache (or the folder of those from one archive), if it is there."""
    if spec.archive:
        return folder if is_whole(folder := weights_folder() / spec.name) else None
    return next((path for file in spec.downloads if (path := weights_folder() / file.name).is_file()), None)


def fetch_weights(spec: Weights, check: Callable[[Path], Any] | None = None) -> Path:
    """Download weights unless they are there; returns the file in the cache, or the folder of those from one archive.

    check: reads a file and raises MasksrError if it is not what it should be; such a file is removed again.
    Raises MasksrError, with what is wrong with every way to get it, when none works.
    """
    there = weights_there(spec)
    if spec.archive and there:
        return there
    if not there:
        print(f"{spec.name}: {spec.title}\n  licence: {spec.licence}\n  cite: {spec.cite}", flush=True)

    def get(file: File) -> Path:
        path = download.download(file, made(weights_folder()))  # which also verifies a file that is there
        try:
            if check:
                check(path)
            return _unpacked(spec, path) if spec.archive else path
        except MasksrError:
            download.forget(file, weights_folder())
            raise

    ways = [file for file in spec.downloads if there is None or file.name == there.name]
    return first_that_works(ways, get, f"{spec.name} ({spec.homepage}) could not be had")


def find_pretrained(name: str) -> Path:
    """The file of a checkpoint: a path, or the name of an entry of ``weights``, which is downloaded if need be.

    Raises MasksrError when there is neither, and when the name stands for several checkpoints.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = {key: spec for key, spec in load_registry().weights.items() if spec.architecture}
    if name not in known:
        raise MasksrError(f"there is no file {name}, and no checkpoint of that name (there are: {', '.join(known)})")
    found = fetch_weights(known[name])
    if found.is_dir():
        inside = ", ".join(map(str, _checkpoints(found)))
        raise MasksrError(f"{name} is an archive of several checkpoints; name one of its files: {inside}")
    return found


def _unpacked(spec: Weights, archive: Path) -> Path:
    folder = weights_folder() / spec.name
    with locked(folder):
        if not is_whole(folder):
            with staged(folder, [archive]) as unfinished:
                unpack(archive, unfinished, lambda path: path.endswith(CHECKPOINTS))
                if not _checkpoints(unfinished):
                    raise MasksrError(f"{archive}: holds no checkpoint ({', '.join(CHECKPOINTS)})")
    archive.unlink(missing_ok=True)
    return folder


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in CHECKPOINTS)
