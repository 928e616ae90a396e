"""A project with parameters of NIQE and Ma that are right in form, random in content: neither fitted nor fetched."""

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.pictures import random_ma
from masksr.paths import Paths
from masksr.quality.ma import MaModel, one_leaf
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import RECORD, write_ma, write_niqe

ROOT = Path(__file__).parents[1]
SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


def make_project(root: Path) -> Paths:
    """Make a project of the profile mini that has weights of quality, labelled as stand-ins, and nothing else."""
    paths = Paths(root, "mini")
    weights = paths.weights / "quality"
    weights.mkdir(parents=True)
    write_ma(weights / "ma.mat", random_ma(levels=5, trees=5))
    write_niqe(weights / "niqe.mat", SOME_NIQE)
    (weights / RECORD).write_text(json.dumps({half: {"source": "stand-in"} for half in ("niqe", "ma")}))
    shutil.copy(ROOT / "profiles/mini.yaml", root / "params.yaml")
    shutil.copy(ROOT / "data/registry.yaml", root / "data")
    (root / "dvc.yaml").touch()
    return paths
