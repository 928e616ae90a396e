"""Scores, and weights of NIQE and Ma, made up for tests, with the parameters and the project for them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tiny_project import ROOT

from benchmarks.pictures import random_ma
from masksr import params
from masksr.params import Params
from masksr.paths import Paths
from masksr.quality.ma import MaModel, one_leaf
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import RECORD, write_ma, write_niqe
from masksr.results.scores import COLUMNS

MINI = ROOT / "profiles/mini.yaml"


def score_table(
    pi: Mapping[tuple[str, str, str], np.ndarray], niqe: str = "official", ma: str = "official"
) -> pd.DataFrame:
    """A row for each of PI by (model, mask, set): (seeds, images). niqe, ma: the kinds of their weights."""
    rows = [
        {"model": model, "mask": mask, "seed": seed, "set": name, "image": f"{image:03}", "pi": value}
        for (model, mask, name), values in pi.items()
        for (seed, image), value in np.ndenumerate(values)
    ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS).assign(problem="", niqe_weights=niqe, ma_weights=ma)
    values = {"niqe": table["pi"] + 1, "ma": 11 - table["pi"], "psnr": 20 + table["pi"]}
    values |= {"ssim": 0.7, "rmse": 12.0}
    return table.assign(**values)


def mini(models=("esrgan",), masks=("none", "paper"), seeds: int = 1, test=("cat", "temple")) -> Params:
    """The profile mini with another Table 1."""
    settings = params.load(MINI)
    table1 = {"models": list(models), "masks": list(masks), "seeds": list(range(seeds))}
    data = settings.data.model_copy(update={"test": list(test)})
    return settings.model_copy(update={"table1": settings.table1.model_copy(update=table1), "data": data})


SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


def make_project(root: Path) -> Paths:
    """Make a project of the profile mini that has stand-ins for the weights of quality, and nothing else."""
    paths = Paths(root, "mini")
    weights = paths.weights / "quality"
    weights.mkdir(parents=True)
    write_ma(weights / "ma.mat", random_ma(levels=5, trees=5))
    write_niqe(weights / "niqe.mat", SOME_NIQE)
    (weights / RECORD).write_text(json.dumps({half: {"source": "stand-in"} for half in ("niqe", "ma")}))
    shutil.copy(MINI, root / "params.yaml")
    shutil.copy(ROOT / "data/registry.yaml", root / "data")
    (root / "dvc.yaml").touch()
    return paths
