"""Trainings of seconds, for several test files and for the processes that they start."""

import shutil
from pathlib import Path

import pandas as pd
from tiny_project import ROOT, write_files

from masksr.fetch.find import build_pack
from masksr.models.build import build_generator, save_generator
from masksr.params import Mask, Params, load
from masksr.paths import Paths
from masksr.training import train as training
from masksr.weights import prepare_vgg19


def small(batch: int = 2, **train) -> Params:
    """The profile mini with networks, patches and schedules of a few seconds."""
    content = load(ROOT / "profiles/mini.yaml").model_dump(exclude_unset=True)
    for model in content["models"].values():
        model |= {"lr_patch": 16, "batch": batch}
        model["gan"] |= {"epochs": 2, "learning_rate": 1e-4, "halve_at": [1]}
        model["gan"]["discriminator_learning_rate"] = 1e-4
        model["discriminator"]["num_feat"] = 4
        for phase in model["start"]["phases"]:
            phase |= {"epochs": 1, "halve_at": []}
    sizes = {"esrgan": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}, "pesr": {"depth": 1, "num_channels": 8}}
    for name, size in (sizes | {"edsr": {"n_resblocks": 1, "n_feats": 8}}).items():
        content["models"][name]["generator"] |= size
    content["train"] |= {"device": "cpu", "steps_per_epoch": 4, "log_every": 2, "validate_every": 4}
    content["train"] |= {"validation_patches": 2, "checkpoint_every": 2} | train
    content["weights"]["vgg_width"] = 0.0625
    return Params.model_validate(content)


def paper_mask(kind: str = "error", **changes) -> Mask:
    """The paper's mask, but for ``changes``."""
    fields = {"k": 0.2, "b": 0.5, "error_range": "native", "window": 1, "per_channel": False, "apply": "both"}
    return Mask(kind=kind, **fields | {"detach": True} | changes)


def with_start(model: str, **start) -> Params:
    """``small`` with other settings of a model's start."""
    content = small().model_dump(exclude_unset=True)
    content["models"][model]["start"] |= start
    return Params.model_validate(content)


def random_project(root: Path, **sections: dict) -> tuple[Params, Paths]:
    """``small`` with other ``sections``, after its trainings: a start and two variants a model, random."""
    content, paths = small().model_dump(exclude_unset=True), Paths(root, "mini")
    for section, values in sections.items():
        content[section] |= values
    settings = Params.model_validate(content)
    write_files(root, {"params.yaml": "", "dvc.yaml": ""})
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for name in (settings.data.validation, "cat"):
        build_pack(name, paths.set(name))
    rows = {"step": [10, 20], "mask_mean": [0.6, 0.7], "mask_saturated": [0.1, 0.2]}
    validated = {"phase": ["GAN"], "step": [20], "psnr": [20.0], "psnr_bicubic": [21.0]}
    for model in settings.table1.models:
        size = settings.models[model].generator
        folders = [paths.start(model, 0), paths.variant(model, "none", 0), paths.variant(model, "paper", 0)]
        for seed, folder in enumerate(folders):
            folder.mkdir(parents=True)
            save_generator(build_generator(size, 4, seed=seed), size, folder / "generator.safetensors")
            pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
            pd.DataFrame(validated).to_csv(folder / "validation.csv", index=False)
    return settings, paths


def prepare(root: Path, params: Params) -> Paths:
    """A project folder with packs, VGG19 and the starts of all models."""
    paths = Paths(root, "mini")
    for name in (params.data.train, params.data.validation):
        build_pack(name, paths.set(name))
    prepare_vgg19(params, paths)
    for model in params.models:
        training.train_start(params, model, 0, paths)
    return paths


def copy(paths: Paths, name: str, *folders: str) -> Paths:
    """A copy of some folders of a project, beside it."""
    other = Paths(paths.root.parent / name, "mini")
    for folder in folders:
        shutil.copytree(paths.root / folder, other.root / folder)
    return other


def weights(folder: Path) -> bytes:
    return (folder / "generator.safetensors").read_bytes()
