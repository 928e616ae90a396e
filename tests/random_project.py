"""A project whose networks are small and of random weights, for tests of what is looked at after trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from masksr import params
from masksr.fetch.find import build_pack
from masksr.models.checkpoints import build_generator, save_generator
from masksr.params import Params
from masksr.paths import Paths

ROOT = Path(__file__).parents[1]


def random_project(root: Path, **sections: dict) -> tuple[Params, Paths]:
    """Write params.yaml of small networks, the packs cat and rocket, and a start and two variants of each model.

    sections: what to change in params.yaml. Each generator is another one than its start.
    """
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["models"]["esrgan"]["generator"] |= {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    content["models"]["pesr"]["generator"] |= {"depth": 1, "num_channels": 8}
    content["models"]["edsr"]["generator"] |= {"n_resblocks": 1, "n_feats": 8}
    for model in content["models"].values():
        model["lr_patch"], model["discriminator"]["num_feat"] = 16, 4
    for section, values in sections.items():
        content[section] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / "dvc.yaml").touch()
    (root / "notebooks").mkdir()
    (root / "notebooks/mask_module.svg").write_bytes((ROOT / "notebooks/mask_module.svg").read_bytes())
    settings, paths = params.load(root / "params.yaml"), Paths(root, "mini")
    for name in ("cat", "rocket"):
        build_pack(name, paths.set(name))
    rows = {"step": [10, 20], "mask_mean": [0.6, 0.7], "mask_saturated": [0.1, 0.2], "psnr": [np.nan, 20.0]}
    for model in settings.table1.models:
        size = settings.models[model].generator
        folders = [paths.start(model, 0), paths.variant(model, "none", 0), paths.variant(model, "paper", 0)]
        for seed, folder in enumerate(folders):
            folder.mkdir(parents=True)
            save_generator(build_generator(size, 4, seed=seed), size, folder / "generator.safetensors")
            pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    return settings, paths
