"""Parameters of NIQE and Ma for tests: right in form, random in content, neither fitted nor fetched; a project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from masksr.io import file_digest
from masksr.paths import Paths
from masksr.quality.filters import luma_plane
from masksr.quality.ma import FEATURES, Forest, MaModel
from masksr.quality.niqe import NiqeModel, niqe_features
from masksr.quality.weights import write_ma, write_niqe


def random_forest(rng: np.random.Generator, features: int, highest: float, levels: int, trees: int) -> Forest:
    """Full trees whose thresholds lie where the features do: below ``highest``."""
    nodes = 2 ** (levels + 1) - 1
    inner = np.arange(nodes) < 2**levels - 1
    left = np.where(inner, np.arange(nodes) * 2 + 2, 0)[:, None].repeat(trees, 1).astype(np.int32)
    feature = rng.integers(1, features + 1, (nodes, trees), dtype=np.int32)
    threshold, value = rng.uniform(0, highest, (nodes, trees)), rng.uniform(0, 10, (nodes, trees))
    return Forest(left, np.where(left, left + 1, 0).astype(np.int32), feature, threshold, value)


def random_ma(levels: int = 8, trees: int = 40) -> MaModel:
    rng = np.random.default_rng(0)
    each = zip(FEATURES, (2, 2, 40), strict=True)
    forests = tuple(random_forest(rng, features, highest, levels, trees) for features, highest in each)
    return MaModel(forests, np.array([-0.3, 0.2, 0.5, 0.4]))


def niqe_of(photograph: np.ndarray) -> NiqeModel:
    """A NIQE fitted on one photograph, (H, W, 3) uint8."""
    features = niqe_features(luma_plane(photograph))
    return NiqeModel(features.mean(axis=0), np.cov(features, rowvar=False) + 0.01 * np.eye(36))


def write_quality_weights(folder: Path, source: str = "stand-in") -> None:
    """What the weights stage makes, labelled as ``source``: small forests, and a NIQE of no photograph."""
    folder.mkdir(parents=True, exist_ok=True)
    write_ma(folder / "ma.mat", random_ma(levels=5, trees=5))
    write_niqe(folder / "niqe.mat", NiqeModel(np.linspace(0, 1, 36), np.eye(36)))
    record = {}
    for half in ("niqe", "ma"):
        file = folder / f"{half}.mat"
        record[half] = {"file": file.name, "sha256": file_digest(file), "source": source}
    (folder / "quality_weights.json").write_text(json.dumps(record))


def make_project(root: Path) -> Paths:
    """Make a project of the profile mini that has weights, labelled as stand-ins, and nothing else."""
    paths, repository = Paths(root, "mini"), Path(__file__).parents[1]
    write_quality_weights(paths.weights / "quality")
    shutil.copy(repository / "profiles/mini.yaml", root / "params.yaml")
    shutil.copy(repository / "data/registry.yaml", root / "data")
    (root / "dvc.yaml").touch()
    return paths
