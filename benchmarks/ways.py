"""Ways to take one training step: the public one and ours, in each precision, memory format and compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import ours, profiles
from benchmarks.profiles import Case
from benchmarks.reference_steps import Networks, PublicTraining
from masksr.training.device import Precision, allow_tf32, make_deterministic


@dataclass(frozen=True)
class Way:
    """One way to take a step."""

    precision: Precision
    public: bool = False
    compiled: bool | str = False
    memory_format: torch.memory_format | None = None  # None: the one that masksr chooses
    free: bool = False  # cuDNN may choose any kernel, the fastest


WAYS = {  # the worthiest first
    "bf16": Way("bf16"),
    "public, TF32": Way("tf32", public=True),
    "public, fp32": Way("fp32", public=True),
    "bf16, compiled, CUDA graphs": Way("bf16", compiled="reduce-overhead"),
    "TF32": Way("tf32"),
    "fp32, NCHW": Way("fp32", memory_format=torch.contiguous_format),
    "bf16, compiled": Way("bf16", compiled=True),
    "bf16, not bit-equal": Way("bf16", free=True),
    "fp32, NHWC": Way("fp32", memory_format=torch.channels_last),
    "TF32, NCHW": Way("tf32", memory_format=torch.contiguous_format),
}


def make_step(case: Case, networks: Networks, way: Way, device: str) -> Callable[[], Any]:
    """A function that takes one step: ours from its pack, the public one from a batch that is ready."""
    if not way.public:
        options = {"precision": way.precision, "compiled": way.compiled, "memory_format": way.memory_format}
        return ours.step(case, networks, device, **options)
    for network in (networks.generator, networks.discriminator, networks.vgg):
        network.to(device).train()
    learning_rate = profiles.recipe(case).gan.learning_rate
    training = PublicTraining(case.model, networks, learning_rate, ours.EMA.get(case.model))
    scale = networks.generator.pixel_range / 255
    batch = [patches.to(device).float() * scale for patches in ours.sampler(case).batch(0)]
    return lambda: training.step(*batch)


def switch(way: Way, device: torch.device) -> None:
    """torch's global switches as the code of this way sets or leaves them."""
    allow_tf32(device, way.precision)
    make_deterministic(device)
    if device.type == "cuda" and (way.free or way.public):
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
