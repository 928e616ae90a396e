"""The two trainings of the paper: a model's start (before the GAN) and the masked adversarial training from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from masksr import build, devices
from masksr.build import seed_for
from masksr.errors import MasksrError
from masksr.files import file_digest
from masksr.loop import Phase, Step, fit
from masksr.models import load_vgg19, load_weights, transfer_body
from masksr.packs import Pack
from masksr.params import Mask, Params, Schedule
from masksr.patches import PatchSampler
from masksr.paths import Paths, data_folder
from masksr.registry import load_registry
from masksr.steps import adversarial_step, distance_step
from masksr.trainings import train_once
from masksr.validation import Validation


def train_start(params: Params, model: str, seed: int, paths: Paths) -> dict[str, Any]:
    """Train what comes before the GAN: the phases of ``models.<model>.start``, shared by all masks of that model.

    Where the scale changes (EDSR x2, then x4) the network keeps all but its tail; the result is always x4. Writes
    generator.safetensors, history.csv and training.json to ``paths.start(model, seed)`` and returns the last.
    """
    common = _Common(params, model, seed, paths)
    recipe = common.recipe
    init = _find_init(params, model) if recipe.start.init else None

    def network_at(scale: int, before: nn.Module | None) -> nn.Module:
        if before is not None and before.scale == scale:
            return before
        network = build.build_generator(recipe.generator, scale, seed_for(seed, f"generator x{scale}"))
        if before is not None:
            transfer_body(before, network)
        return network

    def work(checkpoints: Path) -> tuple[nn.Module, list[dict[str, Any]]]:
        generator, history = None, []
        if init:
            generator = network_at(recipe.start.init_scale, None)
            load_weights(generator, init)
        for number, settings in enumerate(recipe.start.phases):
            generator = network_at(settings.scale, generator)
            name = f"{recipe.title} start, x{settings.scale} {settings.loss.upper()}"
            step = _distance_step(generator, settings.loss, common.autocast)
            phase = common.phase(name, [generator], step, settings, settings.scale, f"patches start {number}")
            generator = fit(phase, checkpoints / f"phase{number}")
            history += phase.history
        if not recipe.start.phases or generator.scale != 4:  # the network to go on with has not been validated yet
            generator = network_at(4, generator).to(common.device)
            row = {"phase": f"{recipe.title} start, as the GAN gets it", "step": 0, "epoch": 0.0, "learning_rate": 0.0}
            history.append(row | common.validation(4).row(generator))
        return generator, history

    inputs = common.inputs | {
        "start": recipe.model_dump(include={"generator", "start", "lr_patch", "batch"}, mode="json"),
        "init": file_digest(init) if init else None,
    }
    return train_once(paths.trainings, inputs, recipe.generator, work, paths.start(model, seed))


def train_gan(params: Params, model: str, mask: Mask, seed: int, paths: Paths, out: Path) -> dict[str, Any]:
    """Train ``model`` adversarially from its start with ``mask``: one cell of Table 1, or one point of Figure 5.

    The same seed gives every mask the same start, the same discriminator and the same patches, so that comparisons are
    paired. Writes generator.safetensors, history.csv and training.json to ``out`` and returns the last.
    """
    common = _Common(params, model, seed, paths)
    recipe = common.recipe
    start, vgg_file = paths.start(model, seed) / "generator.safetensors", paths.weights / "vgg19.safetensors"

    def work(checkpoints: Path) -> tuple[nn.Module, list[dict[str, Any]]]:
        generator = build.load_generator(start)
        discriminator = build.build_discriminator(
            recipe.discriminator, generator.scale * recipe.lr_patch, seed_for(seed, "discriminator")
        )
        vgg = None
        if recipe.loss.vgg54:
            vgg = load_vgg19(vgg_file).to(common.device, memory_format=torch.channels_last)
            if common.settings.compile:
                devices.compile_network(vgg, common.settings.compile)

        def step(lr: Tensor, hr: Tensor, number: int) -> dict[str, Tensor]:
            return adversarial_step(
                generator,
                discriminator,
                vgg,
                lr,
                hr,
                loss=recipe.loss,
                mask=mask,
                pixel_range=generator.pixel_range,
                autocast=common.autocast,
                rng=torch.Generator().manual_seed(seed_for(seed, f"mask {number}")),
            )

        name = f"{recipe.title}, {describe_mask(mask)}"
        phase = common.phase(name, [generator, discriminator], step, recipe.gan, generator.scale, "patches gan")
        generator = fit(phase, checkpoints)
        return generator, phase.history

    inputs = common.inputs | {
        "model": recipe.model_dump(exclude={"title", "start"}, mode="json"),
        "mask": mask.model_dump(mode="json"),
        "from": file_digest(start),
        "vgg": file_digest(vgg_file) if recipe.loss.vgg54 else None,
    }
    return train_once(paths.trainings, inputs, recipe.generator, work, out)


def describe_mask(mask: Mask) -> str:
    """A mask in a few words: ``no mask`` or ``error mask, k=0.2, b=0.5``."""
    return "no mask" if mask.kind == "none" else f"{mask.kind} mask, k={mask.k:g}, b={mask.b:g}"


def read_history(folder: Path) -> pd.DataFrame:
    """The history of a training: a row per entry, of the columns its losses have."""
    return pd.read_csv(folder / "history.csv")


class _Common:
    """What both trainings of a model share: data, device, precision, and the part of the key that says so."""

    def __init__(self, params: Params, model: str, seed: int, paths: Paths) -> None:
        self.recipe, self.settings, self.seed = params.models[model], params.train, seed
        self.pack, self.held_out = (Pack(paths.set(name)) for name in (params.data.train, params.data.validation))
        self.device = devices.choose_device(params.train.device)
        devices.make_deterministic(self.device)
        self.autocast = devices.autocast(self.device, params.train.precision)
        self.inputs: dict[str, Any] = {
            "train": params.train.model_dump(mode="json", exclude={"device", "checkpoint_every"}),
            "seed": seed,
            "device": self.device.type,
            "data": self.pack.digest,
            "validation": self.held_out.digest,
        }

    def validation(self, scale: int) -> Validation:
        count = self.settings.validation_patches
        return Validation(self.held_out, lr_size=self.recipe.lr_patch, scale=scale, count=count)

    def phase(
        self, name: str, networks: list[nn.Module], step: Step, schedule: Schedule, scale: int, patches: str
    ) -> Phase:
        """``patches`` names the stream of patches: no two phases see the same ones, all masks of a phase do."""
        sampler = PatchSampler(
            self.pack,
            lr_size=self.recipe.lr_patch,
            scale=scale,
            batch=self.recipe.batch,
            seed=seed_for(self.seed, patches),
        )
        return Phase(name, networks, step, sampler, self.validation(scale), schedule, self.settings, self.device)


def _find_init(params: Params, model: str) -> Path:
    """The checkpoint that ``models.<model>.start.init`` names: a file, or an entry of the registry that fits."""
    from masksr.fetch import find_pretrained  # here: most trainings need no network

    recipe, where = params.models[model], f"models.{model}.start.init"
    if (spec := load_registry().weights.get(recipe.start.init)) and spec.architecture:
        ours = {"architecture": recipe.generator.architecture, "scale": recipe.start.init_scale}
        ours["res_scale"] = getattr(recipe.generator, "res_scale", None)  # which the weights do not tell
        for key, value in ours.items():
            if getattr(spec, key) not in (None, value):
                raise MasksrError(f"{where}: {spec.name} has {key} {getattr(spec, key)}, models.{model} has {value}")
    try:
        return find_pretrained(recipe.start.init, data_folder(params))
    except MasksrError as error:
        raise MasksrError(f"{where}: {error}; null begins from random weights") from None


def _distance_step(generator: nn.Module, kind: str, autocast: devices.Autocast) -> Step:
    return lambda lr, hr, _: distance_step(generator, lr, hr, kind=kind, autocast=autocast)
