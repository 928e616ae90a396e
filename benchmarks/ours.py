"""masksr's side of the comparison: what ``masksr.loop.fit`` does in a step, its patches and its mask included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import profiles
from benchmarks.patches import make_pack
from benchmarks.profiles import Case
from benchmarks.reference_steps import Networks
from masksr import build, devices
from masksr.loop import Phase, take_step
from masksr.models import random_vgg19
from masksr.packs import Pack
from masksr.params import Mask
from masksr.patches import PatchSampler
from masksr.state import State
from masksr.steps import adversarial_step
from masksr.supply import supply

EMA = {"esrgan": 0.999}  # BasicSR's; PESR and EDSR-PyTorch have none
PLAIN = Mask(kind="none")


def step(
    case: Case, n: Networks, device: str, *, precision: str, compiled: bool | str = False, mask: Mask = PLAIN
) -> Callable[[], Any]:
    """A function that takes the next step of a training: each on other patches, which come as in a training."""
    recipe = profiles.recipe(case)
    changes = {"device": device, "precision": precision, "compile": compiled, "ema": EMA.get(case.model)}
    settings = profiles.paper().train.model_copy(update=changes)
    where = devices.choose_device(device)  # type: ignore[arg-type]
    autocast = devices.autocast(where, precision)  # type: ignore[arg-type]
    vgg = n.vgg.to(where, memory_format=torch.channels_last)
    if compiled:
        devices.compile_network(vgg, compiled)  # type: ignore[arg-type]
    options = {"loss": recipe.loss, "mask": mask, "pixel_range": n.generator.pixel_range}

    def gradients(_: Any, lr: Tensor, hr: Tensor, number: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(number)
        return adversarial_step(n.generator, n.discriminator, vgg, lr, hr, **options, autocast=autocast, rng=rng)

    networks = [n.generator, n.discriminator]
    patches = sampler(case)
    phase = Phase("benchmark", networks, gradients, patches, None, recipe.gan, settings, where)  # type: ignore[arg-type]
    state, batches, numbers = State(phase), supply(patches, where), count()

    def take() -> None:
        number = next(numbers)
        take_step(phase, state, *batches(number), number)

    return take


def networks(case: Case) -> Networks:
    """The networks of the profile paper at the case's size, the same ones each time."""
    recipe = profiles.recipe(case)
    generator = build.build_generator(recipe.generator, 4, seed=0)
    discriminator = build.build_discriminator(recipe.discriminator, 4 * case.lr_patch, seed=1)
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
