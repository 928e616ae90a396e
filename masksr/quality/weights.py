"""The parameters of NIQE and Ma: the official files where they can be had, labelled stand-ins elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masksr import project
from masksr.documents import read_json
from masksr.errors import MasksrError
from masksr.fetch.registry import find_weights
from masksr.files import cache_folder, file_digest, weight_places
from masksr.quality.ma import MaModel
from masksr.quality.matfiles import read_ma, read_niqe, write_ma, write_niqe
from masksr.quality.niqe import NiqeModel

Source = Literal["official", "stand-in"]
Mode = Literal["official", "standin", "auto"]
Photograph = tuple[str, NDArray[np.uint8]]  # name, (H, W, 3)
RECORD = "quality_weights.json"
ANSWER = 5.0  # seconds in which the mode ``auto`` wants to hear from the network


class _Half(NamedTuple):
    """One of the two metrics: its name in the record, its official file, its file in a weights folder."""

    name: str
    official: str
    file: str
    read: Callable[[Path], Any]


NIQE = _Half("niqe", "niqe_modelparameters.mat", "niqe.mat", read_niqe)
MA = _Half("ma", "NRQM_model.mat", "ma.mat", read_ma)
HALVES = (NIQE, MA)


@dataclass(frozen=True, eq=False)
class QualityWeights:
    """The parameters of both halves of PI, and what each of them is."""

    niqe: NiqeModel
    ma: MaModel
    niqe_source: Source
    ma_source: Source
    niqe_sha256: str
    ma_sha256: str


def resolve_weights(
    mode: Mode,
    into: Path,
    photographs: Sequence[Photograph] = (),
    *,
    data_folder: Path | None = None,
    seed: int = 0,
    workers: int = 1,
) -> QualityWeights:
    """Fill the folder ``into`` with niqe.mat, ma.mat and quality_weights.json, and load them.

    mode: ``official`` takes the published files from the data folder, pyiqa's or our own cache, or the network;
    ``standin`` fits both halves on ``photographs`` (name, (H, W, 3) uint8); ``auto`` takes what is official where it
    can be had within seconds and fits the rest. data_folder: without it, the one that MASKSR_DATA names.

    Raises MasksrError where an official file is missing (it says how to place it by hand) or damaged, and where no
    photograph is there to fit a stand-in on.
    """
    into.mkdir(parents=True, exist_ok=True)
    record = dict[str, Any]()
    network = mode != "standin"
    for half in HALVES:
        found = find_official(half.name, data_folder) if mode != "standin" else None
        if found is None and network:
            found = _downloaded(half, mode, data_folder)
            network = found is not None  # one address that does not answer is enough
        file = into / half.file
        file.unlink(missing_ok=True)  # it may be a link into DVC's cache
        if found is not None:
            half.read(found)  # a damaged file must not reach the evaluation
            shutil.copyfile(found, file)
            how: dict[str, Any] = {"source": "official", "published_as": half.official}
        else:
            how = {"source": "stand-in", "fit": _fit(half, photographs, file, seed, workers)}
        record[half.name] = {"file": half.file, "sha256": file_digest(file), **how}
    (into / RECORD).unlink(missing_ok=True)
    (into / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return load_weights(into)


def load_weights(folder: Path | str) -> QualityWeights:
    """The weights in a folder that :func:`resolve_weights` made.

    Raises MasksrError where the folder is not one, or where a file is not the one that its record describes.
    """
    folder = Path(folder)
    entries = _read_record(folder)
    for half, (_, sha256) in zip(HALVES, entries, strict=True):
        if not (folder / half.file).is_file() or file_digest(folder / half.file) != sha256:
            raise MasksrError(f"{folder / half.file}: is not the file that {RECORD} describes; `dvc repro weights`")
    sources, sums = zip(*entries, strict=True)
    return QualityWeights(*(half.read(folder / half.file) for half in HALVES), *sources, *sums)


def _downloaded(half: _Half, mode: Mode, data_folder: Path | None) -> Path | None:
    """The official file from the network; None in the mode ``auto``, where it cannot be had or not within seconds."""
    from masksr.fetch import download  # here, because who only scores images needs no network
    from masksr.fetch.weights import fetch_weights

    try:
        published = find_weights(half.name)
        if mode == "auto" and not download.answers(published.downloads[0].urls[0], ANSWER):
            return None
        return fetch_weights(published, data_folder)
    except MasksrError as error:
        if mode == "auto":
            return None
        places = ", ".join(map(str, weight_places(data_folder)))
        raise MasksrError(
            f"{half.official} (official, for {half.name}) is not in {places}; {error}. Or set weights.quality: auto "
            "for a stand-in"
        ) from None


def _read_record(folder: Path) -> list[tuple[Source, str]]:
    """The source and the checksum of each half."""
    try:
        record = read_json(folder / RECORD)
        entries = [(record[half.name]["source"], record[half.name]["sha256"]) for half in HALVES]
        if not all(source in ("official", "stand-in") and isinstance(sha256, str) for source, sha256 in entries):
            raise ValueError
        return entries
    except (OSError, MasksrError, ValueError, LookupError, TypeError):
        raise MasksrError(f"{folder}: holds no quality weights (no readable {RECORD}); `dvc repro weights`") from None


def default_weights(data_folder: Path | None = None) -> QualityWeights:
    """What :func:`masksr.quality.score` uses without being told: each official file on this machine.

    In place of a missing half stands what the weights stage of the project you are in has made, of the first profile in
    the alphabet. Nothing is downloaded or fitted here. Raises MasksrError where a half is nowhere.
    """
    found: dict[str, tuple[Path, Source]]
    found = {half.name: (path, "official") for half in HALVES if (path := find_official(half.name, data_folder))}
    for folder in _made_here():
        for half, (source, _) in zip(HALVES, _read_record(folder), strict=True):
            found.setdefault(half.name, (folder / half.file, source))
    for half in HALVES:
        if half.name not in found:
            raise MasksrError(
                f"there are no weights for {half.name}: run `dvc repro weights` in the project, or put {half.official} "
                f"in {cache_folder() / 'weights'}; `python -m masksr fetch {half.name}` does so"
            )
    return _loaded(found["niqe"], found["ma"])


def _made_here() -> list[Path]:
    """The folders that the weights stage of the project you are in has made, a profile each."""
    try:
        return sorted(record.parent for record in (project.root() / "data/weights").glob(f"*/quality/{RECORD}"))
    except MasksrError:  # not inside a project
        return []


def find_official(name: Literal["niqe", "ma"], data_folder: Path | None = None) -> Path | None:
    """The official file of a half, in one of ``files.weight_places``; else None.

    Raises MasksrError for a file of that name that is not the published one, as far as data/registry.yaml knows.
    """
    from masksr.fetch.weights import weights_there  # here, because it imports what the network needs

    try:
        published = find_weights(name)
    except MasksrError:  # outside of a project there is no registry
        official = {half.name: half.official for half in HALVES}[name]
        return next((path for place in weight_places(data_folder) if (path := place / official).is_file()), None)
    return weights_there(published, data_folder)


def _fit(half: _Half, photographs: Sequence[Photograph], file: Path, seed: int, workers: int) -> dict[str, Any]:
    from masksr.quality import standin  # imports scikit-learn

    if half is NIQE:
        niqe_model, fit = standin.fit_niqe(photographs)
        write_niqe(file, niqe_model)
    else:
        ma_model, fit = standin.fit_ma(photographs, seed=seed, workers=workers)
        write_ma(file, ma_model)
    return fit


@lru_cache(maxsize=1)
def _loaded(niqe: tuple[Path, Source], ma: tuple[Path, Source]) -> QualityWeights:
    sums = (file_digest(niqe[0]), file_digest(ma[0]))
    return QualityWeights(read_niqe(niqe[0]), read_ma(ma[0]), niqe[1], ma[1], *sums)
