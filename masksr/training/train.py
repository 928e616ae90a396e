"""The two trainings of the paper: a model's start (before the GAN) and the masked GAN training from it.

Each is done once, see ``training.store``; a killed one resumes from its last checkpoint.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from masksr.data.batch_share import WHOLE, Share
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler
from masksr.fetch.registry import load_registry
from masksr.io import MasksrError, file_digest
from masksr.models import build
from masksr.models.build import seed_for
from masksr.models.vgg import load_vgg19
from masksr.params import Gan, Mask, Model, Params, Schedule
from masksr.paths import Paths, find_data_folder
from masksr.training import device as devices
from masksr.training import store
from masksr.training.loop import Step, Training, Validation, fit
from masksr.training.mask import ErrorNetwork
from masksr.training.step import Metrics, adversarial_step, distance_step
from masksr.training.store import Trained

# Keys of ``train`` that change at most rounding, or only how often there is a row of the history.
NOT_IN_THE_KEY = {"device", "gpus", "sync_batchnorm", "gradient_checkpointing"}
NOT_IN_THE_KEY |= {"checkpoint_every", "log_every", "validate_every"}


def train_start(params: Params, model: str, seed: int, paths: Paths) -> dict[str, Any]:
    """Train what comes before the GAN: the phases of ``models.<model>.start``, shared by all its masks.

    Where the scale changes (EDSR x2, then x4), the network keeps what fits, as with EDSR-PyTorch's loader:
    all but its second sub-pixel convolution. The result is always x4. Writes generator.safetensors,
    history.csv, validation.csv and training.json to the folder ``paths.start(model, seed)`` and returns the
    content of the last.
    """
    job = Job(params, model, seed, paths, paths.start(model, seed))
    return job.do(None, start_inputs(job), _run_start, _find_init(params, model))


def train_gan(params: Params, model: str, mask: Mask, seed: int, paths: Paths, out: Path) -> dict[str, Any]:
    """Train ``model`` adversarially from its start with ``mask``: a cell of Table 1 or a point of Figure 5.

    The same seed gives every mask the same start, the same discriminator and the same patches, so that
    comparisons are paired. Writes the same files as ``train_start``, to ``out``, and returns the same.
    """
    job = Job(params, model, seed, paths, out)
    return job.do(mask, gan_inputs(job, mask), _run_gan, mask)


def start_inputs(job: "Job") -> dict[str, Any]:
    """Return what determines the training before the GAN, besides its code."""
    init = _find_init(job.params, job.model)
    return job.inputs | {
        "train": job.inputs["train"] | {"accumulate": 1},  # which changes only rounding: no batch statistics
        "start": job.recipe.model_dump(include={"generator", "start", "lr_patch", "batch"}, mode="json"),
        "init": file_digest(init) if init else None,
    }


def gan_inputs(job: "Job", mask: Mask) -> dict[str, Any]:
    """Return what determines the training with the GAN, besides its code."""
    if not job.start.is_file():
        raise MasksrError(f"{job.start} is missing; `dvc repro start` makes it")
    return job.inputs | {
        "model": job.recipe.model_dump(exclude={"title", "start", "steps_per_epoch"}, mode="json"),
        "mask": mask.model_dump(mode="json"),
        "from": file_digest(job.start),
        "vgg": file_digest(job.vgg19) if job.recipe.loss.vgg54 else None,
        # The number of processes matters only where it changes more than rounding.
        "statistics": 1 if job.settings.sync_batchnorm else job.settings.gpus,
    }


class Job:
    """What a model's start and its adversarial trainings have in common, for process ``rank`` of ``ranks``.

    Raises MasksrError where the device is not available, or there are fewer than ``train.gpus``.
    """

    def __init__(
        self, params: Params, model: str, seed: int, paths: Paths, out: Path, rank: int = 0, ranks: int = 1
    ) -> None:
        self.params, self.model, self.seed, self.paths, self.out = params, model, seed, paths, out
        self.recipe, self.settings = params.models[model], params.train_of(model)
        self.start = paths.start(model, seed) / "generator.safetensors"
        self.vgg19 = paths.weights / "vgg19.safetensors"
        self.share = Share(rank, ranks, params.train.accumulate)
        self.pack = Pack(paths.set(params.data.train))
        self.held_out = Pack(paths.set(params.data.validation))
        self.device = devices.choose_device(params.train.device)
        devices.check_gpus(params.train.gpus, self.device, params.train.device)
        devices.make_deterministic(self.device)
        devices.allow_tf32(self.device, params.train.precision)
        self.autocast = devices.autocast(self.device, params.train.precision)
        self.memory_format = devices.memory_format(self.device, params.train.precision)

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs that enter the key of every training."""
        return {
            "train": self.settings.model_dump(mode="json", exclude=NOT_IN_THE_KEY),
            "seed": self.seed,
            "device": self.device.type,
            "data": self.pack.digest,
            "validation": self.held_out.digest,
            "torch": torch.__version__,
        }

    def do(
        self, mask: Mask | None, inputs: dict[str, Any], work: Callable[..., Trained], *arguments: Any
    ) -> dict[str, Any]:
        """Run ``work(job, checkpoints, *arguments)``, a function of this module, unless it was done before.

        Where ``train.gpus`` processes share the training, they train as far as the last checkpoint; this
        process then resumes from it, as after any interruption, and finds nothing left to do. Results thus
        have one writer, and checkpoints know nothing of processes.
        """

        def train(checkpoints: Path) -> Trained:
            self.pack.verify()
            self.held_out.verify()
            if (gpus := self.settings.gpus) > 1:
                backend = "nccl" if self.device.type == "cuda" else "gloo"
                of = self.params, self.model, self.seed, self.paths, self.out
                devices.launch(_run_share, of, work, checkpoints, arguments, ranks=gpus, backend=backend)
            return work(self, checkpoints, *arguments)

        key = store.training_key(inputs, self.recipe, mask)
        return store.train_once(key, inputs, self.recipe, self.out, self.paths, train)

    def validation(self, scale: int) -> Validation:
        count = self.settings.validation_patches
        return Validation(self.held_out, lr_size=self.recipe.lr_patch, scale=scale, count=count)

    def training(
        self, phase: str, networks: list[nn.Module], step: Step, schedule: Schedule, scale: int, patches: str
    ) -> Training:
        """Set up a phase. patches: names their stream; it differs between phases and is shared by masks."""
        what = {"lr_size": self.recipe.lr_patch, "scale": scale, "batch": self.recipe.batch}
        sampler = PatchSampler(self.pack, **what, seed=seed_for(self.seed, patches), share=self.share)
        rates = [schedule.learning_rate] * len(networks)
        if isinstance(schedule, Gan):  # the discriminator may have its own
            rates[1] = schedule.discriminator_learning_rate
        how = self.settings, self.device, self.memory_format, self.paths.live(self.out)
        name = f"{self.recipe.title}, {phase}"
        return Training(name, phase, networks, step, sampler, self.validation(scale), schedule, rates, *how)


# ---- The start: one distance after the other, no mask, no discriminator ------------------------------------
def _run_start(job: Job, checkpoints: Path, init: Path | None) -> Trained:
    recipe = job.recipe

    def network_at(scale: int, before: nn.Module | None) -> nn.Module:
        if before is not None and before.scale == scale:
            return before
        network = build.build_generator(recipe.generator, scale, seed_for(job.seed, f"generator x{scale}"))
        if before is not None:
            # From x2 to x4 every shape fits; only the second sub-pixel convolution (tail.0.2) stays new.
            build.load_state(network, network.state_dict() | before.state_dict(), "the network to start from")
        return network

    generator, history = None, []
    if init:
        generator = network_at(recipe.start.init_scale, None)
        build.load_state(generator, build.read_weights(init), str(init))
    for number, phase in enumerate(recipe.start.phases):
        generator = network_at(phase.scale, generator)
        name = f"start {number + 1}: x{phase.scale} {phase.loss.upper()}"
        step = start_step(phase.loss, job.autocast)
        training = job.training(name, [generator], step, phase, phase.scale, f"patches start {number}")
        generator = fit(training, checkpoints / f"phase{number}")
        history += training.history
    if not recipe.start.phases or generator.scale != 4:  # what the GAN gets has not been validated yet
        generator = network_at(4, generator).to(job.device)
        row = {"phase": "start, as the GAN gets it", "step": 0, "epoch": 0.0, "learning_rate": 0.0}
        history.append(row | job.validation(4).row(generator))
    return generator, history


def start_step(kind: str, autocast: devices.Autocast) -> Step:
    """Return the step for a phase of a start, with a distance of this kind."""
    return lambda networks, lr, hr, _: distance_step(*networks, lr, hr, kind=kind, autocast=autocast)


def _find_init(params: Params, model: str) -> Path | None:
    """Find the checkpoint that ``models.<model>.start.init`` names, if any: a file or a registry entry."""
    init, where = params.models[model].start.init, f"models.{model}.start.init"
    if init is None:
        return None
    from masksr.fetch.find import fetch_pretrained  # here: most trainings download nothing

    published = getattr(load_registry().weights.get(init.partition("/")[0]), "res_scale", None)
    ours = getattr(params.models[model].generator, "res_scale", None)
    if published not in (None, ours):  # the one thing that the weights do not tell
        raise MasksrError(f"{where}: {init} has res_scale {published}, models.{model} has {ours}")
    try:
        return fetch_pretrained(init, find_data_folder(params.data.local))
    except MasksrError as error:
        raise MasksrError(f"{where}: {error}; null and phases begin from random weights") from None


# ---- The GAN -----------------------------------------------------------------------------------------------
def _run_gan(job: Job, checkpoints: Path, mask: Mask) -> Trained:
    recipe, generator, vgg = job.recipe, build.load_generator(job.start), None
    if recipe.loss.vgg54:
        vgg = load_vgg19(job.vgg19).to(job.device, memory_format=job.memory_format)
        if job.settings.compile:
            devices.compile_network(vgg, job.settings.compile)
    networks = networks_of_a_gan(recipe, mask, generator, job.seed)
    step = gan_step(recipe, mask, vgg, generator.pixel_range, job.autocast, job.seed, job.share)
    training = job.training(describe_mask(mask), networks, step, recipe.gan, generator.scale, "patches gan")
    return fit(training, checkpoints), training.history


def gan_step(
    model: Model,
    mask: Mask,
    vgg: nn.Module | None,
    pixel_range: float,
    autocast: devices.Autocast,
    seed: int,
    share: Share = WHOLE,
) -> Step:
    """Return the step of a GAN training of ``networks_of_a_gan``: ``adversarial_step`` with constants set."""
    how = {"loss": model.loss, "mask": mask, "pixel_range": pixel_range, "autocast": autocast, "share": share}

    def step(networks: Sequence[nn.Module], lr: Tensor, hr: Tensor, number: int) -> Metrics:
        g, d, *expecting = networks  # as they are to be called: replicas, where processes share the batch
        rng = torch.Generator().manual_seed(seed_for(seed, f"mask {number}"))
        expectation = expecting[0] if expecting else None
        return adversarial_step(g, d, vgg, lr, hr, **how, expectation=expectation, rng=rng)

    return step


def networks_of_a_gan(model: Model, mask: Mask, generator: nn.Module, seed: int) -> list[nn.Module]:
    """List what a GAN training of ``generator`` trains: it, its discriminator, and the mask's own network."""
    side = generator.scale * model.lr_patch
    discriminator = build.build_discriminator(model.discriminator, side, seed_for(seed, "discriminator"))
    networks = [generator, discriminator]
    if mask.kind == "expected":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "expected error"))
            networks.append(ErrorNetwork(3 if mask.per_channel else 1, scale=generator.scale))
    return networks


def describe_mask(mask: Mask) -> str:
    """Describe a mask in a few words: ``no mask`` or ``error mask, k=0.2, b=0.5``."""
    return "no mask" if mask.kind == "none" else f"{mask.kind} mask, k={mask.k:g}, b={mask.b:g}"


def _run_share(rank: int, ranks: int, of: tuple, work: Callable, checkpoints: Path, arguments: tuple) -> None:
    """Run one process's part of a training that several share."""
    work(Job(*of, rank, ranks), checkpoints, *arguments)
