"""One training step of the profile paper, at sizes that end in time, in every way: the public ones and masksr's own.

masksr's is what ``training.loop.fit`` does in a step, its patches included. The public ones are the same work in the
same order: what public code shares, and what a plain reading of the papers leads to. That is fp32, NCHW, one graph
through everything, the discriminator run anew for each use, Adam as torch makes it by default, and every loss read at
every step, for which a GPU has to be waited for. None of their code is here. The networks are masksr's own, whose
outputs equal theirs, so that only the step is compared; sources:

- ``esrgan_step``: BasicSR's ESRGANModel, five discriminator passes and a Python loop for the moving average
- ``pesr_step``: PESR's train.py, four passes, a VGG19 that is never frozen, and a trained MeanShift
- ``edsr_step``: EDSR-PyTorch's Adversarial loss, three passes; the discriminator's weights get a gradient from the
  generator's loss too, which the next step throws away

PESR and EDSR-PyTorch update the discriminator before the generator's part, masksr after it: a difference of the
algorithm, not of the work. The tests compare gradients with an optimiser that takes no step.
"""

import atexit
import copy
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.pictures import make_pack
from masksr import params
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler
from masksr.models.build import build_discriminator, build_generator
from masksr.models.vgg import random_vgg19
from masksr.params import Loss, Mask, Params
from masksr.paths import Paths
from masksr.training.device import Precision, allow_tf32, compile_network, make_deterministic
from masksr.training.loop import State, take_step
from masksr.training.train import Job, gan_step


@dataclass
class Networks:
    """What a step works on."""

    generator: nn.Module
    discriminator: nn.Module
    vgg: nn.Module
    loss: Loss

    def features(self, image: Tensor) -> Tensor:
        return self.vgg(image / self.generator.pixel_range)


Step = Callable[[Networks, Tensor, Tensor, Optimizer, Optimizer], dict[str, float]]
bce = F.binary_cross_entropy_with_logits


def esrgan_step(
    n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer
) -> dict[str, float]:
    """lr: (B, 3, h, w), hr: (B, 3, H, W), in the generator's pixel range. Returns the losses, as do the others."""
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    n.discriminator.requires_grad_(False)
    optimizer_g.zero_grad()
    sr = n.generator(lr)
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    vgg54 = n.loss.vgg54 * F.l1_loss(n.features(sr), n.features(hr))
    real, fake = n.discriminator(hr).detach(), n.discriminator(sr)
    gan = n.loss.gan * (bce(real - fake.mean(), zero) + bce(fake - real.mean(), one)) / 2
    loss_g = l1 + vgg54 + gan
    loss_g.backward()
    optimizer_g.step()

    n.discriminator.requires_grad_(True)
    optimizer_d.zero_grad()
    fake, real = n.discriminator(sr).detach(), n.discriminator(hr)
    loss_real = bce(real - fake.mean(), one) / 2
    loss_real.backward()
    fake = n.discriminator(sr.detach())
    loss_fake = bce(fake - real.detach().mean(), zero) / 2
    loss_fake.backward()
    optimizer_d.step()
    losses = {"l1": l1, "vgg54": vgg54, "gan": gan, "loss_g": loss_g, "real": loss_real, "fake": loss_fake}
    losses |= {"d_real": real.mean(), "d_fake": fake.mean()}
    found = {name: value.item() for name, value in losses.items()}
    return found | {"loss_d": found["real"] + found["fake"]}


def pesr_step(n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer) -> dict[str, float]:
    one = lr.new_ones(len(lr), 1)
    n.discriminator.requires_grad_(True)
    optimizer_d.zero_grad()
    real = n.discriminator(hr)
    sr = n.generator(lr)
    loss_d = bce(real - n.discriminator(sr.detach()), one)
    loss_d.backward()
    optimizer_d.step()

    n.discriminator.requires_grad_(False)
    optimizer_g.zero_grad()
    fake, real = n.discriminator(sr), n.discriminator(hr)
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    features = n.features(sr)
    with torch.no_grad():
        target = n.features(hr)
    vgg54 = n.loss.vgg54 * F.mse_loss(features, target)
    tv = (sr[..., 1:] - sr[..., :-1]).abs().sum() + (sr[..., 1:, :] - sr[..., :-1, :]).abs().sum()
    tv = n.loss.tv * tv
    p = torch.sigmoid(fake - real)
    gan = n.loss.gan * (-((1 - p) ** n.loss.focal_gamma) * F.logsigmoid(fake - real)).mean()
    loss_g = l1 + vgg54 + gan + tv
    loss_g.backward()
    optimizer_g.step()
    losses = {"l1": l1, "vgg54": vgg54, "gan": gan, "tv": tv, "loss_d": loss_d, "loss_g": loss_g}
    return {name: value.item() for name, value in losses.items()}


def edsr_step(n: Networks, lr: Tensor, hr: Tensor, optimizer_g: Optimizer, optimizer_d: Optimizer) -> dict[str, float]:
    one, zero = lr.new_ones(len(lr), 1), lr.new_zeros(len(lr), 1)
    optimizer_g.zero_grad()
    sr = n.generator(lr)
    features = n.features(sr)
    with torch.no_grad():
        target = n.features(hr)
    vgg54 = n.loss.vgg54 * F.mse_loss(features, target)
    found = {"vgg54": vgg54.item()}

    optimizer_d.zero_grad()
    fake, real = n.discriminator(sr.detach()), n.discriminator(hr)
    loss_d = bce(real, one) + bce(fake, zero)
    found["loss_d"] = loss_d.item()
    loss_d.backward()
    optimizer_d.step()

    gan = n.loss.gan * bce(n.discriminator(sr), one)
    found["gan"] = gan.item()
    l1 = n.loss.l1 * F.l1_loss(sr, hr)
    found["l1"] = l1.item()
    loss_g = vgg54 + gan + l1
    found["loss_g"] = loss_g.item()
    loss_g.backward()
    optimizer_g.step()
    return found


STEPS: dict[str, Step] = {"esrgan": esrgan_step, "pesr": pesr_step, "edsr": edsr_step}


def as_published(model: str, n: Networks) -> None:
    """What gets gradients in the public code of ``model`` and not in masksr: in PESR's, VGG19 and the MeanShift."""
    if model == "pesr":
        n.vgg.requires_grad_(True)
        n.generator.requires_grad_(True)


TITLES = {"esrgan": "ESRGAN", "pesr": "PESR", "edsr": "EDSR"}
TINY: dict[str, dict[str, Any]] = {
    "esrgan": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "pesr": {"depth": 1, "num_channels": 8},
    "edsr": {"n_resblocks": 1, "n_feats": 8},
}
EMA = {"esrgan": 0.999}  # BasicSR's; PESR and EDSR-PyTorch have none
PLAIN = Mask(kind="none")


@dataclass(frozen=True)
class Case:
    """A model at one size of patches."""

    model: str
    lr_patch: int
    batch: int
    tiny: bool = False

    def __str__(self) -> str:
        return f"{TITLES[self.model]}{' (tiny)' * self.tiny}, LR {self.lr_patch}, batch {self.batch}"


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


@cache
def paper() -> Params:
    return params.load(Path(__file__).parents[1] / "profiles/paper.yaml")


def settings(case: Case, train: Mapping[str, Any] | None = None, **recipe: Any) -> Params:
    """The profile paper with the model at the sizes of the case, and other changes of its entry and of ``train``."""
    found = paper().models[case.model]
    changes = {"lr_patch": case.lr_patch, "batch": case.batch} | recipe
    if case.tiny:
        changes["generator"] = found.generator.model_copy(update=TINY[case.model])
        changes["discriminator"] = found.discriminator.model_copy(update={"num_feat": 4})
    sections = {
        "models": paper().models | {case.model: found.model_copy(update=changes)},
        "train": paper().train.model_copy(update=train),
        "weights": paper().weights.model_copy(update={"vgg_width": 0.0625 if case.tiny else 1.0}),
    }
    return paper().model_copy(update=sections)


def networks(case: Case) -> Networks:
    """The networks of the profile paper at the case's size, the same ones each time."""
    sized = settings(case)
    recipe = sized.models[case.model]
    generator = build_generator(recipe.generator, 4, seed=0)
    discriminator = build_discriminator(recipe.discriminator, 4 * case.lr_patch, seed=1)
    return Networks(generator, discriminator, random_vgg19(sized.weights.vgg_width, seed=2), recipe.loss)


@cache
def project() -> Paths:
    """A project with the packs of the profile paper: two pictures, as large as those that public code trains on."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    paths = Paths(Path(folder), "paper")
    make_pack(paths.root / "pictures", 2, 480, 480)
    for name in (paper().data.train, paper().data.validation):
        shutil.copytree(paths.root / "pictures/pack", paths.set(name))
    return paths


def first_batch(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """LR and HR patches, (B, 3, size, size) uint8."""
    pack = Pack(project().set(paper().data.train))
    return PatchSampler(pack, lr_size=case.lr_patch, scale=4, batch=case.batch, seed=0).batch(0)


def make_step(case: Case, n: Networks, way: Way, device: str) -> Callable[[], Any]:
    """A function that takes one step: ours from its pack, the public one from a batch that is ready."""
    if way.public:
        return _public_step(case, n, device)
    changes = {"device": device, "precision": way.precision, "compile": way.compiled, "ema": EMA.get(case.model)}
    job = Job(settings(case, changes), case.model, 0, project(), project().runs)
    layout = way.memory_format or job.memory_format
    n.vgg.to(job.device, memory_format=layout)
    if way.compiled:
        compile_network(n.vgg, way.compiled)
    step = gan_step(job.recipe, PLAIN, n.vgg, n.generator.pixel_range, job.autocast, seed=0)
    training = job.training("benchmark", [n.generator, n.discriminator], step, job.recipe.gan, 4, "patches gan")
    training = replace(training, memory_format=layout)
    state, numbers = State(training), count()

    def take() -> None:  # each on other patches
        number = next(numbers)
        take_step(training, state, *training.sampler.batch(number), number)

    return take


def _public_step(case: Case, n: Networks, device: str) -> Callable[[], Any]:
    """With its optimisers, and where there is one the generator's moving average."""
    for network in (n.generator, n.discriminator, n.vgg):
        network.to(device).train()
    as_published(case.model, n)
    learning_rate, ema = settings(case).models[case.model].gan.learning_rate, EMA.get(case.model)
    optimizers = [
        torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=learning_rate, betas=(0.9, 0.999))
        for network in (n.generator, n.discriminator)
    ]
    average = copy.deepcopy(n.generator) if ema else None
    scale = n.generator.pixel_range / 255
    batch = [patches.to(device).float() * scale for patches in first_batch(case)]

    def take() -> None:
        STEPS[case.model](n, *batch, *optimizers)
        if average is not None:
            new = dict(n.generator.named_parameters())
            for name, value in average.named_parameters():
                value.data.mul_(ema).add_(new[name].data, alpha=1 - ema)

    return take


def switch(way: Way, device: torch.device) -> None:
    """torch's global switches as the code of this way sets or leaves them."""
    allow_tf32(device, way.precision)
    make_deterministic(device)
    if device.type == "cuda" and (way.free or way.public):
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
