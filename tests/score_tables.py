"""Tables of scores made up for tests, and the parameters that go with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from masksr import params
from masksr.params import Params
from masksr.results.scores import COLUMNS

MINI = Path(__file__).parents[1] / "profiles/mini.yaml"


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
    values = {"niqe": table["pi"] + 1, "ma": 11 - table["pi"], "psnr": 20 + table["pi"], "ssim": 0.7, "rmse": 12.0}
    return table.assign(**values)


def mini(
    models: Sequence[str] = ("esrgan",),
    masks: Sequence[str] = ("none", "paper"),
    seeds: int = 1,
    test: Sequence[str] = ("cat", "temple"),
) -> Params:
    """The profile mini with another Table 1."""
    settings = params.load(MINI)
    table1 = {"models": list(models), "masks": list(masks), "seeds": list(range(seeds))}
    data = settings.data.model_copy(update={"test": list(test)})
    return settings.model_copy(update={"table1": settings.table1.model_copy(update=table1), "data": data})
