"""Weights from the network to the cache, and checkpoints by their names."""

from __future__ import annotations

from pathlib import Path

from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.registry import File, Weights, load_registry
from masksr.fetch.staging import first_that_works, is_whole, locked, made, staged, unpack
from masksr.files import cache_folder, here_or_in_project, weight_places

CHECKPOINTS = (".pth", ".pt", ".safetensors")


def weights_folder() -> Path:
    """Where the cache keeps the files of weights."""
    return cache_folder() / "weights"


def weights_there(spec: Weights, data_folder: Path | None = None) -> Path | None:
    """The file of weights on this disk, in one of ``files.weight_places`` (or the folder of those from one archive).

    Raises MasksrError for a file of a published name that has not the published size or checksum.
    """
    if spec.archive:
        return folder if is_whole(folder := weights_folder() / spec.name) else None
    files: dict[str, File | None] = {file.name: file for file in spec.downloads} | dict.fromkeys(spec.also_named)
    for place in weight_places(data_folder):
        for name, file in files.items():
            path = place / name
            if path.is_file():
                if file and place != weights_folder():  # in ours, download() has seen to that
                    download.verify(file, path, weights_folder())
                return path
    return None


def fetch_weights(spec: Weights, data_folder: Path | None = None) -> Path:
    """The file of weights, or the folder of those from one archive: from this disk, else downloaded to the cache.

    What was downloaded is also read: a file that is not what it should be is removed again. Raises MasksrError, with
    what is wrong with every way to get it, when none works.
    """
    there = weights_there(spec, data_folder)
    if there and (spec.archive or there.parent != weights_folder() or there.name in spec.also_named):
        return there
    if not there and not download.offline():
        print(f"{spec.name} is downloaded to {weights_folder()}\n  {spec.title}", flush=True)
        print(f"  licence: {spec.licence}\n  cite: {spec.cite}", flush=True)

    def get(file: File) -> Path:
        path = download.download(file, made(weights_folder()))  # which also verifies a file that is there
        try:
            _read(spec, path)
            return _unpacked(spec, path) if spec.archive else path
        except MasksrError:
            download.forget(file, weights_folder())  # or all later ones would be held to this one
            raise

    ways = [file for file in spec.downloads if there is None or file.name == there.name]
    return first_that_works(ways, get, f"{spec.name} ({spec.homepage}) could not be had")


def find_pretrained(name: str, data_folder: Path | None = None) -> Path:
    """The file of a checkpoint: a path, or the name of an entry of ``weights``, which is downloaded if need be.

    Raises MasksrError when there is neither, and when the name stands for several checkpoints.
    """
    check_name(name)
    if (path := here_or_in_project(name)).is_file():
        return path
    found = fetch_weights(load_registry().weights[name], data_folder)
    if found.is_dir():
        inside = ", ".join(map(str, _checkpoints(found)))
        raise MasksrError(f"{name} is an archive of several checkpoints; name one of its files: {inside}")
    return found


def check_name(checkpoint: str) -> None:
    """Raises MasksrError where ``checkpoint`` is neither a file nor the name of a checkpoint of the registry."""
    if here_or_in_project(checkpoint).is_file():  # which needs no project, and so no registry
        return
    known = [key for key, spec in load_registry().weights.items() if spec.architecture]
    if checkpoint not in known:
        raise MasksrError(
            f"there is no file {checkpoint}, and no checkpoint of that name (there are: {', '.join(known)})"
        )


def _read(spec: Weights, path: Path) -> None:
    """Raises MasksrError where ``path`` does not hold what ``spec`` is."""
    if spec.name == "niqe":
        from masksr.quality.weights import read_niqe  # each of these only where it is needed: torch takes seconds

        read_niqe(path)
    elif spec.name == "ma":
        from masksr.quality.weights import read_ma

        read_ma(path)
    elif spec.name == "vgg19":
        from masksr.models import load_vgg19

        load_vgg19(path)
    elif spec.architecture and not spec.archive:
        from masksr.tools.pretrained import load_pretrained

        load_pretrained(path, spec.architecture, res_scale=spec.res_scale)


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
