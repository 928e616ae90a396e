"""The parameters of NIQE and Ma: their authors' files, and the folder that the weights stage makes.

Nothing is downloaded or fitted here: that is the weights stage's (``tools.weights``).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from masksr import project
from masksr.errors import MasksrError
from masksr.files import cache_folder, file_digest, weight_places
from masksr.quality.ma import FEATURES, Forest, MaModel
from masksr.quality.niqe import NiqeModel

Source = Literal["official", "stand-in"]
Mode = Literal["official", "standin", "auto"]
RECORD = "quality_weights.json"
FIELDS = ("lDau", "rDau", "nodestatus", "nrnodes", "upper", "avnode", "mbest")  # of regRF_train, in its order


@dataclass(frozen=True, eq=False)
class QualityWeights:
    """The parameters of both halves of PI, and what each of them is."""

    niqe: NiqeModel
    ma: MaModel
    niqe_source: Source
    ma_source: Source
    niqe_sha256: str
    ma_sha256: str


def load_weights(folder: Path | str) -> QualityWeights:
    """Load the weights in a folder that the weights stage made.

    Raises MasksrError where the folder is not one, or where a file is not the one that its record describes.
    """
    folder = Path(folder)
    entries = _read_record(folder)
    for half, (_, sha256) in zip(HALVES, entries, strict=True):
        file = folder / half.file
        if not file.is_file() or file_digest(file) != sha256:
            raise MasksrError(f"{file}: is not the file that {RECORD} describes; run `dvc repro weights`")
    sources, sums = zip(*entries, strict=True)
    return QualityWeights(*(half.read(folder / half.file) for half in HALVES), *sources, *sums)


def default_weights(data_folder: Path | None = None) -> QualityWeights:
    """Load what :func:`masksr.quality.index.score` uses by default: the official files on this machine.

    A missing half comes from the weights stage of the project you are in, of the first profile in the
    alphabet. data_folder: see :func:`find_official`. Raises MasksrError where a half is nowhere.
    """
    found: dict[str, tuple[Path, Source]] = {}
    for half in HALVES:
        if path := find_official(half.name, data_folder):
            found[half.name] = path, "official"
    try:
        records = sorted((project.root() / "data/weights").glob(f"*/quality/{RECORD}"))
    except MasksrError:  # not inside a project
        records = []
    for folder in (record.parent for record in records):
        for half, (source, _) in zip(HALVES, _read_record(folder), strict=True):
            found.setdefault(half.name, (folder / half.file, source))
    for half in HALVES:
        if half.name not in found:
            raise MasksrError(
                f"there are no weights for {half.name}: run `dvc repro weights` in the project, or put "
                f"{half.official} in {cache_folder() / 'weights'} (`python -m masksr fetch {half.name}`)"
            )
    return _load(found["niqe"], found["ma"])


def find_official(name: Literal["niqe", "ma"], data_folder: Path | None = None) -> Path | None:
    """Find the official file of a half in one of ``files.weight_places``; None where there is none.

    data_folder: without it, the one that MASKSR_DATA names.
    """
    official = {half.name: half.official for half in HALVES}[name]
    paths = (place / official for place in weight_places(data_folder))
    return next((path for path in paths if path.is_file()), None)


def _read_record(folder: Path) -> list[tuple[Source, str]]:
    """Read the source and the checksum of each half."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return [(record[half.name]["source"], record[half.name]["sha256"]) for half in HALVES]
    except (OSError, ValueError, LookupError, TypeError):
        message = f"{folder}: holds no quality weights (no readable {RECORD}); run `dvc repro weights`"
        raise MasksrError(message) from None


@lru_cache(maxsize=1)
def _load(niqe: tuple[Path, Source], ma: tuple[Path, Source]) -> QualityWeights:
    sums = (file_digest(niqe[0]), file_digest(ma[0]))
    return QualityWeights(read_niqe(niqe[0]), read_ma(ma[0]), niqe[1], ma[1], *sums)


# ---- MAT-files ---------------------------------------------------------------------------------------------


def read_niqe(path: Path) -> NiqeModel:
    """Read ``niqe_modelparameters.mat``: mu_prisparam (1, 36) and cov_prisparam (36, 36).

    Raises MasksrError, with the path, for anything else.
    """

    def model(content: dict[str, Any]) -> NiqeModel:
        mean, covariance = content["mu_prisparam"].astype(float), content["cov_prisparam"].astype(float)
        return NiqeModel(mean.reshape(36), covariance.reshape(36, 36))

    return _read(path, model, "NIQE's parameters")


def read_ma(path: Path) -> MaModel:
    """Read ``NRQM_model.mat``: a struct ``model`` with a cell ``rf`` of three forests and ``linear`` (4, 1).

    The fields of a forest go by position, as in pyiqa. Raises MasksrError, with the path, for anything else.
    """

    def model(content: dict[str, Any]) -> MaModel:
        struct = content["model"][0, 0]
        forests = [_read_forest(cell[0, 0]) for cell in struct["rf"].ravel()]
        for forest, size in zip(forests, FEATURES, strict=True):
            if forest.feature.max() >= size:
                raise ValueError(f"a forest asks for more than {size} features")
        return MaModel(tuple(forests), struct["linear"].astype(float).reshape(4))

    return _read(path, model, "the three forests of Ma's metric")


def write_niqe(path: Path, model: NiqeModel) -> None:
    """Write a file that :func:`read_niqe` and pyiqa read."""
    _save(path, {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})


def write_ma(path: Path, model: MaModel) -> None:
    """Write a file that :func:`read_ma` and pyiqa read. Rows count from one, 0 marks a leaf."""
    cells = np.empty((1, 3), object)
    for i, forest in enumerate(model.forests):
        leaf = forest.left == 0
        columns = (
            np.where(leaf, 0, forest.left + 1).astype(np.int32),
            np.where(leaf, 0, forest.right + 1).astype(np.int32),
            np.where(leaf, -1, -3).astype(np.int32),
            np.int32(leaf.shape[0]),
            forest.threshold,
            forest.value,
            np.where(leaf, 0, forest.feature + 1).astype(np.int32),
        )
        cells[0, i] = dict(zip(FIELDS, columns, strict=True))
    _save(path, {"model": {"rf": cells, "linear": model.linear[:, None]}})


def _read_forest(struct: np.void) -> Forest:
    left, right, threshold, value, feature = (struct[i] for i in (0, 1, 4, 5, 6))
    left, right, feature = (np.maximum(rows.astype(np.int32) - 1, 0) for rows in (left, right, feature))
    return Forest(left, right, feature, threshold.astype(float), value.astype(float))


def _read(path: Path, model: Callable[[dict[str, Any]], Any], what: str) -> Any:
    from scipy.io import loadmat

    if not path.is_file():
        raise MasksrError(f"{path}: there is no such file")
    try:
        return model(loadmat(path))
    except Exception:  # scipy has a dozen errors for a file that is not one, or is damaged
        message = f"{path}: does not hold {what} (damaged, or another file?); delete it and fetch it again"
        raise MasksrError(message) from None


def _save(path: Path, content: dict[str, Any]) -> None:
    """Write a MAT-file whose bytes depend on nothing but its content."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    header = b"MATLAB 5.0 MAT-file".ljust(116)  # scipy writes the date here
    path.write_bytes(header + buffer.getvalue()[116:])


class Half(NamedTuple):
    """One of the two metrics: its name in the record, its official file, its file in a weights folder."""

    name: Literal["niqe", "ma"]
    official: str
    file: str
    read: Callable[[Path], Any]


NIQE = Half("niqe", "niqe_modelparameters.mat", "niqe.mat", read_niqe)
MA = Half("ma", "NRQM_model.mat", "ma.mat", read_ma)
HALVES = (NIQE, MA)
