"""The parameters of NIQE and Ma: the official files where they can be had, labelled stand-ins elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masksr import project
from masksr.errors import MasksrError
from masksr.quality.download import fetch
from masksr.quality.ma import MaModel
from masksr.quality.matfiles import read_ma, read_niqe, write_ma, write_niqe
from masksr.quality.niqe import NiqeModel

Source = Literal["official", "stand-in"]
Mode = Literal["official", "standin", "auto"]
Photograph = tuple[str, NDArray[np.uint8]]  # name, (H, W, 3)
RECORD = "quality_weights.json"


class _Half(NamedTuple):
    """One of the two metrics: its name in the record, its official file, its file in a weights folder."""

    name: str
    official: str
    file: str
    read: Callable[[Path], Any]

    @property
    def address(self) -> str:
        """Where pyiqa takes the file from."""
        return f"https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/{self.official}"


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
    record, network = dict[str, Any](), mode != "standin"
    for half in HALVES:
        found = find_official(half.name, data_folder) if mode != "standin" else None
        if found is None and network:
            found = fetch(half.address, _our_cache() / half.official, half.read)
            network = found is not None  # one address that does not answer is enough
        if found is None and mode == "official":
            raise _missing(half, data_folder)
        file = into / half.file
        file.unlink(missing_ok=True)  # it may be a link into DVC's cache
        if found is not None:
            half.read(found)  # a damaged file must not reach the evaluation
            shutil.copyfile(found, file)
            how: dict[str, Any] = {"source": "official", "address": half.address}
        else:
            how = {"source": "stand-in", "fit": _fit(half, photographs, file, seed, workers)}
        record[half.name] = {"file": half.file, "sha256": _sha256(file), **how}
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
        if not (folder / half.file).is_file() or _sha256(folder / half.file) != sha256:
            raise MasksrError(f"{folder / half.file}: is not the file that {RECORD} describes; `dvc repro weights`")
    sources, sums = zip(*entries, strict=True)
    return QualityWeights(*(half.read(folder / half.file) for half in HALVES), *sources, *sums)


def _read_record(folder: Path) -> list[tuple[Source, str]]:
    """The source and the checksum of each half."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return [(record[half.name]["source"], record[half.name]["sha256"]) for half in HALVES]
    except (OSError, ValueError, KeyError, TypeError):
        raise MasksrError(f"{folder}: holds no quality weights (no readable {RECORD}); `dvc repro weights`") from None


def default_weights() -> QualityWeights:
    """What :func:`masksr.quality.score` uses without being told: each official file on this machine.

    In place of a missing half stands what the weights stage of the project you are in has made, of the first profile in
    the alphabet. Nothing is downloaded or fitted here. Raises MasksrError where a half is nowhere.
    """
    found: dict[str, tuple[Path, Source]]
    found = {half.name: (path, "official") for half in HALVES if (path := find_official(half.name))}
    for folder in _made_here():
        for half, (source, _) in zip(HALVES, _read_record(folder), strict=True):
            found.setdefault(half.name, (folder / half.file, source))
    for half in HALVES:
        if half.name not in found:
            raise MasksrError(
                f"there are no weights for {half.name}: run `dvc repro weights` in the project, or put {half.official} "
                f"({half.address}) in {_our_cache()}"
            )
    return _loaded(found["niqe"], found["ma"])


def _made_here() -> list[Path]:
    """The folders that the weights stage of the project you are in has made, a profile each."""
    try:
        return sorted(record.parent for record in (project.root() / "data/weights").glob(f"*/quality/{RECORD}"))
    except MasksrError:  # not inside a project
        return []


def find_official(name: Literal["niqe", "ma"], data_folder: Path | None = None) -> Path | None:
    """The official file of a half: in the data folder or its ``weights``, in pyiqa's cache or ours; else None."""
    official = {half.name: half.official for half in HALVES}[name]
    return next((place / official for place in _places(data_folder) if (place / official).is_file()), None)


def _places(data_folder: Path | None) -> list[Path]:
    named = data_folder or os.environ.get("MASKSR_DATA")
    folder = Path(named).expanduser() if named else None
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    torch = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return [*([folder, folder / "weights"] if folder else []), torch / "hub/pyiqa", _our_cache()]


def _our_cache() -> Path:
    return Path(os.environ.get("MASKSR_CACHE", Path.home() / ".cache/masksr")).expanduser()


def _missing(half: _Half, data_folder: Path | None) -> MasksrError:
    places = ", ".join(map(str, _places(data_folder)))
    return MasksrError(
        f"{half.official} (official, for {half.name}) is not in {places}, and {half.address} did not answer; download "
        "it there with a browser and put it in one of these folders, or set weights.quality: auto for a stand-in"
    )


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
    sums = (_sha256(niqe[0]), _sha256(ma[0]))
    return QualityWeights(read_niqe(niqe[0]), read_ma(ma[0]), niqe[1], ma[1], *sums)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
