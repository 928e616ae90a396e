"""masksr's side of the comparison: what ``training.loop.fit`` does in a step, its patches and its mask included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import profiles
from benchmarks.patches import make_pack
from benchmarks.profiles import Case
from benchmarks.reference_steps import Networks
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler
from masksr.models.build import build_discriminator, build_generator
from masksr.models.vgg import random_vgg19
from masksr.params import Mask, Model, Train
from masksr.training.device import allow_tf32, autocast, choose_device, compile_network, memory_format
from masksr.training.loop import State, Training, Validation, take_step
from masksr.training.train import gan_step, learning_rates

EMA = {"esrgan": 0.999}  # BasicSR's; PESR and EDSR-PyTorch have none
PLAIN = Mask(kind="none")


def step(
    case: Case,
    n: Networks,
    device: str,
    *,
    precision: str,
    compiled: bool | str = False,
    mask: Mask = PLAIN,
    memory_format: torch.memory_format | None = None,
) -> Callable[[], Any]:
    """A function that takes the next step of a training: each on other patches, which come as in a training.

    memory_format: another than the one that ``training.device.memory_format`` chooses.
    """
    changes = {"device": device, "precision": precision, "compile": compiled, "ema": EMA.get(case.model)}
    settings = profiles.paper().train.model_copy(update=changes)
    recipe, patches = profiles.recipe(case), sampler(case)
    training = gan_training("benchmark", [n.generator, n.discriminator], n.vgg, recipe, mask, patches, settings)
    if memory_format:
        n.vgg.to(memory_format=memory_format)
        training = replace(training, memory_format=memory_format)
    state, numbers = State(training), count()

    def take() -> None:
        number = next(numbers)
        take_step(training, state, *patches.batch(number), number)

    return take


def gan_training(
    name: str,
    networks: list[nn.Module],
    vgg: nn.Module,
    recipe: Model,
    mask: Mask,
    patches: PatchSampler,
    settings: Train,
    validation: Validation | None = None,
) -> Training:
    """The adversarial phase of ``training.train.train_gan``, of networks that are there already; moves ``vgg``."""
    device = choose_device(settings.device)
    allow_tf32(device, settings.precision)
    context, layout = autocast(device, settings.precision), memory_format(device, settings.precision)
    vgg.to(device, memory_format=layout)
    if settings.compile:
        compile_network(vgg, settings.compile)
    step = gan_step(recipe, mask, vgg, networks[0].pixel_range, context, seed=0)
    rates = learning_rates(recipe.gan, len(networks))
    how = validation, recipe.gan, rates, settings, device, layout
    return Training(name, networks, step, patches, *how)  # type: ignore[arg-type]


def networks(case: Case) -> Networks:
    """The networks of the profile paper at the case's size, the same ones each time."""
    recipe = profiles.recipe(case)
    generator = build_generator(recipe.generator, 4, seed=0)
    discriminator = build_discriminator(recipe.discriminator, 4 * case.lr_patch, seed=1)
    return Networks(generator, discriminator, random_vgg19(profiles.vgg_width(case), seed=2), recipe.loss)


def sampler(case: Case) -> PatchSampler:
    return PatchSampler(_pack(), lr_size=case.lr_patch, scale=4, batch=case.batch, seed=0)


@cache
def _pack() -> Pack:
    """Two pictures of 480 x 480, as large as the sub-images that public code trains on."""
    return make_pack(Path(_folder().name), 2, 480, 480)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # removed when this process ends
