"""Read and write the parameters of NIQE and Ma, which ``masksr.weights`` downloads or fits."""

import io
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masksr import params
from masksr.io import MasksrError, project_root, write_atomic
from masksr.paths import Paths, cache_folder, weight_places
from masksr.quality.ma import Forest, MaModel
from masksr.quality.niqe import NiqeModel

Half = Literal["niqe", "ma"]
Source = Literal["official", "stand-in"]
OFFICIAL: dict[Half, str] = {"niqe": "niqe_modelparameters.mat", "ma": "NRQM_model.mat"}  # as published
RECORD = "quality_weights.json"  # beside niqe.mat and ma.mat: what they are
FIELDS = ("lDau", "rDau", "nodestatus", "nrnodes", "upper", "avnode", "mbest")  # of regRF_train, in its order


@dataclass(frozen=True, eq=False)
class QualityWeights:
    """The parameters of both halves of PI, and what each of them is."""

    niqe: NiqeModel
    ma: MaModel
    niqe_source: Source
    ma_source: Source


def load_quality(folder: Path | str) -> QualityWeights:
    """Load the weights in a folder made by the weights stage. Raises MasksrError for any other folder."""
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise MasksrError(f"{folder}: holds no quality weights (no {RECORD}); run `dvc repro weights`")
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    halves = read_niqe(folder / "niqe.mat"), read_ma(folder / "ma.mat")
    return QualityWeights(*halves, record["niqe"]["source"], record["ma"]["source"])


def default_weights() -> QualityWeights:
    """Load the weights that scores use by default: those of the current project's profile.

    Outside a project, or before the weights stage has run: official files on this machine, or MasksrError.
    """
    settings = root = None
    with suppress(MasksrError):  # outside a project
        root = project_root()
    if root and (made := Paths.of(settings := params.load()).weights / "quality").is_dir():
        return load_quality(made)
    places = weight_places(settings and settings.data.local)
    found = [[place / name for place in places if (place / name).is_file()] for name in OFFICIAL.values()]
    if all(found):
        return QualityWeights(read_niqe(found[0][0]), read_ma(found[1][0]), "official", "official")
    files, cache = " and ".join(OFFICIAL.values()), cache_folder() / "weights"
    remedy = f"run `dvc repro weights` in a project, or put {files} into {cache}"
    raise MasksrError(f"no weights for NIQE and Ma: {remedy} (`python -m masksr fetch niqe ma`)")


# ---- MAT-files ---------------------------------------------------------------------------------------------
def read_niqe(path: Path) -> NiqeModel:
    """Read ``niqe_modelparameters.mat``: mu_prisparam (1, 36) and cov_prisparam (36, 36)."""
    mean, covariance = _read(path, "mu_prisparam", "cov_prisparam")
    return NiqeModel(mean.astype(float).reshape(36), covariance.astype(float))


def read_ma(path: Path) -> MaModel:
    """Read ``NRQM_model.mat``: a struct ``model``, with a cell ``rf`` of 3 forests and ``linear`` (4, 1)."""
    model = _read(path, "model")[0][0, 0]
    structs = [cell[0, 0] for cell in model["rf"].ravel()]
    forests = [Forest(*(struct[i] for i in (0, 1, 6, 4, 5))) for struct in structs]  # as pyiqa: by position
    return MaModel(tuple(forests), model["linear"].astype(float).reshape(4))


def write_niqe(path: Path, model: NiqeModel) -> None:
    """Write a file that :func:`read_niqe` and pyiqa read."""
    _write(path, {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})


def write_ma(path: Path, model: MaModel) -> None:
    """Write a file that :func:`read_ma` and pyiqa read."""
    cells = np.empty((1, 3), object)
    for i, forest in enumerate(model.forests):
        status = np.where(forest.left == 0, -1, -3).astype(np.int32)  # of a leaf, and of any other node
        rows = np.int32(len(status))
        columns = (forest.left, forest.right, status, rows, forest.threshold, forest.value, forest.feature)
        cells[0, i] = dict(zip(FIELDS, columns, strict=True))
    _write(path, {"model": {"rf": cells, "linear": model.linear[:, None]}})


def _read(path: Path, *variables: str) -> list[np.ndarray]:
    """Read variables of a MAT-file. Raises MasksrError where it is missing or damaged, or lacks them."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    damages = OSError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error, MatReadError
    try:
        content = loadmat(path)
        return [content[variable] for variable in variables]
    except damages as error:
        what = f"does not hold {' and '.join(variables)} (damaged, or another file? {error})"
        raise MasksrError(f"{path}: {what}; delete it and fetch it again") from None


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a MAT-file whose bytes depend on nothing but its content."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    header = b"MATLAB 5.0 MAT-file".ljust(116)  # scipy writes the date here
    write_atomic(path, header, buffer.getvalue()[116:])


READ: dict[Half, Callable[[Path], Any]] = {"niqe": read_niqe, "ma": read_ma}
WRITE: dict[Half, Callable[[Path, Any], None]] = {"niqe": write_niqe, "ma": write_ma}
