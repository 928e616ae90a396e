"""The two trainings of the paper: a model's start (before the GAN) and the masked GAN training from it.

Each is done once: a training belongs to its inputs, not to a stage, and is stored by the hash of everything
that determines its result. Two stages with equal inputs share it, a killed one goes on where its last
checkpoint was, and a second process that wants the same one waits for the first.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import masksr
from masksr.data.batch_share import WHOLE, Share
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler
from masksr.fetch.registry import load_registry
from masksr.io import MasksrError, alone, file_digest, write_atomic
from masksr.models import build
from masksr.models.build import seed_for
from masksr.models.vgg import load_vgg19
from masksr.params import Gan, Mask, Model, Params, Schedule
from masksr.paths import Paths, find_data_folder
from masksr.training import device as devices
from masksr.training.loop import Step, Training, Validation, fit
from masksr.training.mask import ErrorNetwork
from masksr.training.step import Metrics, adversarial_step, distance_step

Trained = tuple[nn.Module, list[dict[str, Any]]]  # generator and history
FIRST_COLUMNS = ["phase", "step", "epoch", "learning_rate", "psnr", "psnr_bicubic"]  # of history.csv
OUTPUTS = ("generator.safetensors", "history.csv", "training.json")
# What determines the bits of a training; of quality, what the PSNR of its validation takes.
CODE = ("data/*.py", "models/*.py", "training/*.py", "quality/fidelity.py", "quality/filters.py")
# Of ``train``: what a training may go on with another value of, at most to be rounded differently.
NOT_IN_THE_KEY = {"device", "gpus", "sync_batchnorm", "checkpoint_every"}


def train_start(params: Params, model: str, seed: int, paths: Paths) -> dict[str, Any]:
    """Train what comes before the GAN: the phases of ``models.<model>.start``, shared by all its masks.

    Where the scale changes (EDSR x2, then x4) the network keeps all but its tail; the result is always x4.
    Writes generator.safetensors, history.csv and training.json to ``paths.start(model, seed)`` and returns
    the last.
    """
    job = Job(params, model, seed, paths)
    init = _find_init(params, model) if job.recipe.start.init else None
    inputs = job.inputs | {
        "start": job.recipe.model_dump(include={"generator", "start", "lr_patch", "batch"}, mode="json"),
        "init": file_digest(init) if init else None,
    }
    return train_once(job, inputs, paths.start(model, seed), _run_start, init)


def train_gan(params: Params, model: str, mask: Mask, seed: int, paths: Paths, out: Path) -> dict[str, Any]:
    """Train ``model`` adversarially from its start with ``mask``: a cell of Table 1 or a point of Figure 5.

    The same seed gives every mask the same start, the same discriminator and the same patches, so that
    comparisons are paired. Writes generator.safetensors, history.csv and training.json to ``out`` and returns
    the last.
    """
    job = Job(params, model, seed, paths)
    start, vgg19 = paths.start(model, seed) / "generator.safetensors", paths.weights / "vgg19.safetensors"
    inputs = job.inputs | {
        "model": job.recipe.model_dump(exclude={"title", "start"}, mode="json"),
        "mask": mask.model_dump(mode="json"),
        "from": file_digest(start),
        "vgg": file_digest(vgg19) if job.recipe.loss.vgg54 else None,
        # The number of processes only where it changes more than rounding.
        "statistics": 1 if params.train.sync_batchnorm else params.train.gpus,
    }
    return train_once(job, inputs, out, _run_gan, mask, start, vgg19)


class Job:
    """What a model's start and its adversarial trainings have in common, for process ``rank`` of ``ranks``.

    Raises MasksrError where the device is not there, or not as often as ``train.gpus`` says.
    """

    def __init__(
        self, params: Params, model: str, seed: int, paths: Paths, rank: int = 0, ranks: int = 1
    ) -> None:
        self.params, self.model, self.seed, self.paths = params, model, seed, paths
        self.recipe, self.settings = params.models[model], params.train
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
        """The part of a training's key that all trainings have."""
        return {
            "train": self.settings.model_dump(mode="json", exclude=NOT_IN_THE_KEY),
            "seed": self.seed,
            "device": self.device.type,
            "data": self.pack.digest,
            "validation": self.held_out.digest,
            "code": code_digest(),
            "torch": torch.__version__,
        }

    def validation(self, scale: int) -> Validation:
        count = self.settings.validation_patches
        return Validation(self.held_out, lr_size=self.recipe.lr_patch, scale=scale, count=count)

    def training(
        self, name: str, networks: list[nn.Module], step: Step, schedule: Schedule, scale: int, patches: str
    ) -> Training:
        """patches: names their stream; no two phases see the same ones, all masks of a phase do."""
        what = {"lr_size": self.recipe.lr_patch, "scale": scale, "batch": self.recipe.batch}
        sampler = PatchSampler(self.pack, **what, seed=seed_for(self.seed, patches), share=self.share)
        rates = learning_rates(schedule, len(networks))
        how = self.settings, self.device, self.memory_format
        return Training(name, networks, step, sampler, self.validation(scale), schedule, rates, *how)


def learning_rates(schedule: Schedule, networks: int) -> list[float]:
    """Of each network at the beginning: the discriminator, the second one, may have another than the rest."""
    rates = [schedule.learning_rate] * networks
    if isinstance(schedule, Gan):
        rates[1] = schedule.discriminator_learning_rate
    return rates


# The start: one distance after the other, no mask, no discriminator.


def _run_start(job: Job, checkpoints: Path, init: Path | None) -> Trained:
    recipe = job.recipe

    def network_at(scale: int, before: nn.Module | None) -> nn.Module:
        if before is not None and before.scale == scale:
            return before
        network = build.build_generator(recipe.generator, scale, seed_for(job.seed, f"generator x{scale}"))
        if before is not None:  # from x2 to x4: all but the tail, which stays fresh
            tail = {key: value for key, value in network.state_dict().items() if key.startswith("tail.")}
            build.load_state(network, before.state_dict() | tail, "the network to start from")
        return network

    generator, history = None, []
    if init:
        generator = network_at(recipe.start.init_scale, None)
        build.load_state(generator, build.read_weights(init), str(init))
    for number, phase in enumerate(recipe.start.phases):
        generator = network_at(phase.scale, generator)
        name = f"{recipe.title} start, x{phase.scale} {phase.loss.upper()}"
        step = start_step(phase.loss, job.autocast)
        training = job.training(name, [generator], step, phase, phase.scale, f"patches start {number}")
        generator = fit(training, checkpoints / f"phase{number}")
        history += training.history
    if not recipe.start.phases or generator.scale != 4:  # what the GAN gets has not been validated yet
        generator = network_at(4, generator).to(job.device)
        name = f"{recipe.title} start, as the GAN gets it"
        row = {"phase": name, "step": 0, "epoch": 0.0, "learning_rate": 0.0}
        history.append(row | job.validation(4).row(generator))
    return generator, history


def start_step(kind: str, autocast: devices.Autocast) -> Step:
    """The step of a phase of a start, with a distance of this kind."""
    return lambda networks, lr, hr, _: distance_step(*networks, lr, hr, kind=kind, autocast=autocast)


def _find_init(params: Params, model: str) -> Path:
    """The checkpoint that ``models.<model>.start.init`` names: a file, or an entry of the registry."""
    from masksr.fetch.find import fetch_pretrained  # here: most trainings need no network

    init, where = params.models[model].start.init, f"models.{model}.start.init"
    published = getattr(load_registry().weights.get(init), "res_scale", None)
    ours = getattr(params.models[model].generator, "res_scale", None)
    if published not in (None, ours):  # the one thing that the weights do not tell
        raise MasksrError(f"{where}: {init} has res_scale {published}, models.{model} has {ours}")
    try:
        return fetch_pretrained(init, find_data_folder(params.data.local))
    except MasksrError as error:
        raise MasksrError(f"{where}: {error}; null begins from random weights") from None


# The GAN.


def _run_gan(job: Job, checkpoints: Path, mask: Mask, start: Path, vgg19: Path) -> Trained:
    recipe, generator, vgg = job.recipe, build.load_generator(start), None
    if recipe.loss.vgg54:
        vgg = load_vgg19(vgg19).to(job.device, memory_format=job.memory_format)
        if job.settings.compile:
            devices.compile_network(vgg, job.settings.compile)
    networks = networks_of_a_gan(recipe, mask, generator, job.seed)
    step = gan_step(recipe, mask, vgg, generator.pixel_range, job.autocast, job.seed, job.share)
    name = f"{recipe.title}, {describe_mask(mask)}"
    training = job.training(name, networks, step, recipe.gan, generator.scale, "patches gan")
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
    """The step of a GAN training of ``networks_of_a_gan``: ``adversarial_step`` with what stays the same."""
    how = {"loss": model.loss, "mask": mask, "pixel_range": pixel_range, "autocast": autocast, "share": share}

    def step(networks: Sequence[nn.Module], lr: Tensor, hr: Tensor, number: int) -> Metrics:
        g, d, *expecting = networks  # as they are to be called: replicas, where processes share the batch
        rng = torch.Generator().manual_seed(seed_for(seed, f"mask {number}"))
        expectation = expecting[0] if expecting else None
        return adversarial_step(g, d, vgg, lr, hr, **how, expectation=expectation, rng=rng)

    return step


def networks_of_a_gan(model: Model, mask: Mask, generator: nn.Module, seed: int) -> list[nn.Module]:
    """What a GAN training of ``generator`` trains: it, its discriminator, and what the mask itself learns."""
    side = generator.scale * model.lr_patch
    discriminator = build.build_discriminator(model.discriminator, side, seed_for(seed, "discriminator"))
    networks = [generator, discriminator]
    if mask.kind == "expected":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "expected error"))
            networks.append(ErrorNetwork(3 if mask.per_channel else 1, scale=generator.scale))
    return networks


def describe_mask(mask: Mask) -> str:
    """A mask in a few words: ``no mask`` or ``error mask, k=0.2, b=0.5``."""
    return "no mask" if mask.kind == "none" else f"{mask.kind} mask, k={mask.k:g}, b={mask.b:g}"


# The store of trainings.


def train_once(
    job: Job, inputs: dict[str, Any], out: Path, work: Callable[..., Trained], *arguments: Any
) -> dict[str, Any]:
    """Do ``work(job, checkpoints, *arguments)`` unless a training with equal ``inputs`` is already stored.

    inputs: JSON-serialisable; their hash is the training's key. work: a function of this module, which other
    processes must find. Copies the files of the training to ``out`` and returns what ``training.json`` says.

    Where ``train.gpus`` processes share the training, they train as far as the last checkpoint; from there
    this process goes on, as after any interruption, and finds nothing left to do. So the results have one
    writer, and checkpoints know nothing of processes.
    """
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:20]
    folder = job.paths.trainings / key
    checkpoints = folder / "checkpoints"
    weights, table, record = (folder / name for name in OUTPUTS)
    with alone(folder / ".lock", "this very training"):
        if _is_whole(folder):
            print(f"Already trained with exactly these inputs ({key}): taken from there.", flush=True)
        else:
            begun = time.monotonic()  # a clock that nobody sets back
            if (gpus := job.settings.gpus) > 1:
                backend = "nccl" if job.device.type == "cuda" else "gloo"
                of = job.params, job.model, job.seed, job.paths
                devices.launch(_run_share, of, work, checkpoints, arguments, ranks=gpus, backend=backend)
            generator, history = work(job, checkpoints, *arguments)
            build.save_generator(generator, job.recipe.generator, weights)
            rows = pd.DataFrame(history)
            rows = rows[[*FIRST_COLUMNS, *rows.columns.difference(FIRST_COLUMNS, sort=False)]]
            write_atomic(table, rows.to_csv(index=False, float_format="%.6g").encode())
            content = {
                "key": key,
                "psnr": history[-1]["psnr"],
                "seconds_since_last_start": round(time.monotonic() - begun, 1),
                "weights": file_digest(weights),
                "history": file_digest(table),
                "inputs": inputs,
            }
            # Last, because its presence says that the training is finished.
            write_atomic(record, json.dumps(content, indent=2).encode())
        shutil.rmtree(checkpoints, ignore_errors=True)
        for path in (weights, table, record):
            write_atomic(out / path.name, path.read_bytes())
    return json.loads(record.read_text())


def _run_share(rank: int, ranks: int, of: tuple, work: Callable, checkpoints: Path, arguments: tuple) -> None:
    """What each process of a training does that several share."""
    work(Job(*of, rank, ranks), checkpoints, *arguments)


def _is_whole(folder: Path) -> bool:
    """Whether a finished training is in ``folder`` and its files are still those it recorded."""
    weights, table, record = (folder / name for name in OUTPUTS)
    try:
        found = json.loads(record.read_bytes())
        return found["weights"] == file_digest(weights) and found["history"] == file_digest(table)
    except (OSError, ValueError, KeyError):
        return False


def code_digest() -> str:
    """sha256 of the modules that determine what a training computes, without comments and docstrings."""
    folder, digest = Path(masksr.__file__).parent, hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in folder.glob(pattern)):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if documented and ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
        digest.update(f"{path.relative_to(folder).as_posix()}\0{ast.dump(tree)}\0".encode())
    return digest.hexdigest()
