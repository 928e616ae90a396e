"""The two trainings of the paper: a model's start (before the GAN) and the masked adversarial training from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.fetch.registry import load_registry
from masksr.files import file_digest
from masksr.models import build, load_vgg19, load_weights, transfer_body
from masksr.models.build import seed_for
from masksr.params import Mask, Params
from masksr.paths import Paths, data_folder
from masksr.training import devices
from masksr.training.job import Job, Trained
from masksr.training.loop import Step, fit
from masksr.training.steps import Metrics, adversarial_step, distance_step
from masksr.training.trainings import train_once


def train_start(params: Params, model: str, seed: int, paths: Paths) -> dict[str, Any]:
    """Train what comes before the GAN: the phases of ``models.<model>.start``, shared by all masks of that model.

    Where the scale changes (EDSR x2, then x4) the network keeps all but its tail; the result is always x4. Writes
    generator.safetensors, history.csv and training.json to ``paths.start(model, seed)`` and returns the last.
    """
    job = Job(params, model, seed, paths)
    recipe = job.recipe
    init = _find_init(params, model) if recipe.start.init else None
    inputs = job.inputs | {
        "start": recipe.model_dump(include={"generator", "start", "lr_patch", "batch"}, mode="json"),
        "init": file_digest(init) if init else None,
    }
    work = partial(job.do, partial(_start, init=init))
    return train_once(paths.trainings, inputs, recipe.generator, work, paths.start(model, seed))


def train_gan(params: Params, model: str, mask: Mask, seed: int, paths: Paths, out: Path) -> dict[str, Any]:
    """Train ``model`` adversarially from its start with ``mask``: one cell of Table 1, or one point of Figure 5.

    The same seed gives every mask the same start, the same discriminator and the same patches, so that comparisons are
    paired. Writes generator.safetensors, history.csv and training.json to ``out`` and returns the last.
    """
    job = Job(params, model, seed, paths)
    recipe = job.recipe
    start, vgg19 = paths.start(model, seed) / "generator.safetensors", paths.weights / "vgg19.safetensors"
    inputs = job.inputs | {
        "model": recipe.model_dump(exclude={"title", "start"}, mode="json"),
        "mask": mask.model_dump(mode="json"),
        "from": file_digest(start),
        "vgg": file_digest(vgg19) if recipe.loss.vgg54 else None,
        # The number of processes only where it changes more than rounding.
        "statistics": 1 if params.train.sync_batchnorm else params.train.gpus,
    }
    work = partial(job.do, partial(_gan, mask=mask, start=start, vgg19=vgg19))
    return train_once(paths.trainings, inputs, recipe.generator, work, out)


def _start(job: Job, checkpoints: Path, *, init: Path | None) -> Trained:
    recipe = job.recipe

    def network_at(scale: int, before: nn.Module | None) -> nn.Module:
        if before is not None and before.scale == scale:
            return before
        network = build.build_generator(recipe.generator, scale, seed_for(job.seed, f"generator x{scale}"))
        if before is not None:
            transfer_body(before, network)
        return network

    generator, history = None, []
    if init:
        generator = network_at(recipe.start.init_scale, None)
        load_weights(generator, init)
    for number, settings in enumerate(recipe.start.phases):
        generator = network_at(settings.scale, generator)
        name = f"{recipe.title} start, x{settings.scale} {settings.loss.upper()}"
        step = _distance_step(settings.loss, job.autocast)
        phase = job.phase(name, [generator], step, settings, settings.scale, f"patches start {number}")
        generator = fit(phase, checkpoints / f"phase{number}")
        history += phase.history
    if not recipe.start.phases or generator.scale != 4:  # the network to go on with has not been validated yet
        generator = network_at(4, generator).to(job.device)
        row = {"phase": f"{recipe.title} start, as the GAN gets it", "step": 0, "epoch": 0.0, "learning_rate": 0.0}
        history.append(row | job.validation(4).row(generator))
    return generator, history


def _gan(job: Job, checkpoints: Path, *, mask: Mask, start: Path, vgg19: Path) -> Trained:
    recipe, seed = job.recipe, job.seed
    generator = build.load_generator(start)
    vgg = None
    if recipe.loss.vgg54:
        vgg = load_vgg19(vgg19).to(job.device, memory_format=job.memory_format)
        if job.settings.compile:
            devices.compile_network(vgg, job.settings.compile)

    def step(networks: Sequence[nn.Module], lr: Tensor, hr: Tensor, number: int) -> Metrics:
        g, d, *expecting = networks  # as they are to be called: replicas, where processes share the batch
        return adversarial_step(
            g,
            d,
            vgg,
            lr,
            hr,
            loss=recipe.loss,
            mask=mask,
            pixel_range=generator.pixel_range,
            autocast=job.autocast,
            expectation=expecting[0] if expecting else None,
            rng=torch.Generator().manual_seed(seed_for(seed, f"mask {number}")),
            share=job.share,
        )

    name = f"{recipe.title}, {describe_mask(mask)}"
    networks = build.networks_of_a_gan(recipe, mask, generator, seed)
    phase = job.phase(name, networks, step, recipe.gan, generator.scale, "patches gan")
    return fit(phase, checkpoints), phase.history


def describe_mask(mask: Mask) -> str:
    """A mask in a few words: ``no mask`` or ``error mask, k=0.2, b=0.5``."""
    return "no mask" if mask.kind == "none" else f"{mask.kind} mask, k={mask.k:g}, b={mask.b:g}"


def read_history(folder: Path) -> pd.DataFrame:
    """The history of a training: a row per entry, of the columns its losses have."""
    return pd.read_csv(folder / "history.csv")


def _find_init(params: Params, model: str) -> Path:
    """The checkpoint that ``models.<model>.start.init`` names: a file, or an entry of the registry that fits."""
    from masksr.fetch.weights import find_pretrained  # here: most trainings need no network

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


def _distance_step(kind: str, autocast: devices.Autocast) -> Step:
    return lambda networks, lr, hr, _: distance_step(*networks, lr, hr, kind=kind, autocast=autocast)
