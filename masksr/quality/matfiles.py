"""The parameter files of NIQE and Ma, in the formats of their authors, read and written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from masksr.errors import MasksrError
from masksr.quality.forest import Forest
from masksr.quality.ma import FEATURES, MaModel
from masksr.quality.mat5 import read_mat
from masksr.quality.niqe import NiqeModel

FIELDS = ("lDau", "rDau", "nodestatus", "nrnodes", "upper", "avnode", "mbest")  # of regRF_train, in its order


def read_niqe(path: Path) -> NiqeModel:
    """``niqe_modelparameters.mat``: mu_prisparam (1, 36) and cov_prisparam (36, 36).

    Raises MasksrError, with the path, for anything else.
    """
    try:
        content = _load(path)
        mean, covariance = np.ravel(content["mu_prisparam"]).astype(float), content["cov_prisparam"].astype(float)
        if mean.shape != (36,) or covariance.shape != (36, 36) or not np.isfinite([*covariance, mean]).all():
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _not_what_it_should_be(path, "NIQE's parameters") from None
    return NiqeModel(mean, covariance)


def read_ma(path: Path) -> MaModel:
    """``NRQM_model.mat``: a struct ``model`` with a cell ``rf`` of three forests and ``linear`` (4, 1).

    The fields of a forest go by position, as in pyiqa; rows are counted from one, 0 marks a leaf.
    Raises MasksrError, with the path, for anything else.
    """
    try:
        model = _load(path)["model"][0, 0]
        cells = model["rf"].ravel()
        forests = tuple(_forest(cell[0, 0], size) for cell, size in zip(cells, FEATURES, strict=True))
        linear = np.ravel(model["linear"]).astype(float)
        if linear.shape != (4,) or not np.isfinite(linear).all():
            raise ValueError
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise _not_what_it_should_be(path, "the three forests of Ma's metric") from None
    return MaModel(forests, linear)


def write_niqe(path: Path, model: NiqeModel) -> None:
    """Write a file that :func:`read_niqe` and pyiqa read."""
    _save(path, {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})


def write_ma(path: Path, model: MaModel) -> None:
    """Write a file that :func:`read_ma` and pyiqa read."""
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


def _forest(struct: dict[str, Any], features: int) -> Forest:
    fields = list(struct.values())
    left, right, threshold, value, feature = (fields[i] for i in (0, 1, 4, 5, 6))
    nodes = left.shape[0]
    arrays = (left, right, threshold, value, feature)
    if left.ndim != 2 or not left.size or any(array.shape != left.shape for array in arrays):
        raise ValueError
    children = np.stack([left, right])
    # Such comparisons are false for NaN; the others keep infinity out.
    if not (children.min() >= 0 and children.max() <= nodes and feature.min() >= 0 and feature.max() <= features):
        raise ValueError
    if not (np.isfinite(threshold).all() and np.isfinite(value).all()):
        raise ValueError
    feature = feature.astype(np.int32)
    left, right = np.maximum(children.astype(np.int32) - 1, 0)
    return Forest(left, right, np.maximum(feature - 1, 0), threshold.astype(float), value.astype(float))


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MasksrError(f"{path}: there is no such file")
    try:
        return read_mat(path)
    except OSError as error:
        raise MasksrError(f"{path}: cannot be read ({error.strerror or error})") from None


def _save(path: Path, content: dict[str, Any]) -> None:
    """Write a .mat file whose bytes depend on nothing but its content."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    header = b"MATLAB 5.0 MAT-file".ljust(116)  # scipy writes the date here
    path.write_bytes(header + buffer.getvalue()[116:])


def _not_what_it_should_be(path: Path, what: str) -> MasksrError:
    return MasksrError(f"{path}: does not hold {what} (damaged, or another file?); delete it and fetch it again")
