"""A training to be done: its data, device, precision and processes, and the part of its key that says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from masksr.data.packed import Pack
from masksr.data.patches import PatchSampler
from masksr.data.share import Share
from masksr.locks import alone
from masksr.models.build import seed_for
from masksr.params import Params, Schedule
from masksr.paths import Paths
from masksr.training import devices, distributed
from masksr.training.loop import Phase, Step
from masksr.training.validation import Validation

Trained = tuple[nn.Module, list[dict[str, Any]]]  # generator and history
# Of ``train``: what a training may go on with another value of, at most to be rounded differently.
_NOT_IN_THE_KEY = {"device", "gpus", "sync_batchnorm", "checkpoint_every"}


class Job:
    """What a model's start and its adversarial trainings have in common, for process ``rank`` of ``ranks``.

    Raises MasksrError where the device is not there, or not as often as ``train.gpus`` says.
    """

    def __init__(self, params: Params, model: str, seed: int, paths: Paths, rank: int = 0, ranks: int = 1) -> None:
        self.of = params, model, seed, paths
        self.recipe, self.settings, self.seed = params.models[model], params.train, seed
        self.share = Share(rank, ranks, params.train.accumulate)
        self.pack, self.held_out = (Pack(paths.set(name)) for name in (params.data.train, params.data.validation))
        self.device = devices.choose_device(params.train.device)
        distributed.check(params.train.gpus, self.device, params.train.device)
        devices.make_deterministic(self.device)
        devices.allow_tf32(self.device, params.train.precision)
        self.autocast = devices.autocast(self.device, params.train.precision)
        self.memory_format = devices.memory_format(self.device, params.train.precision)
        self.inputs: dict[str, Any] = {
            "train": params.train.model_dump(mode="json", exclude=_NOT_IN_THE_KEY),
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
            share=self.share,
        )
        how = self.settings, self.device, self.memory_format
        return Phase(name, networks, step, sampler, self.validation(scale), schedule, *how)

    def do(self, work: Work, checkpoints: Path) -> Trained:
        """``work(self, checkpoints)``, by ``train.gpus`` processes where these are several.

        They train as far as the last checkpoint; from there this process goes on, as after any interruption, and finds
        nothing left to do. So the results have one writer, and checkpoints know nothing of processes.
        """
        if (gpus := self.settings.gpus) > 1:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            distributed.launch(one_of_several, self.of, work, checkpoints, ranks=gpus, backend=backend)
        return work(self, checkpoints)


Work = Callable[[Job, Path], Trained]  # of a module, or a partial of such: other processes must find it


def one_of_several(rank: int, ranks: int, of: tuple[Params, str, int, Paths], work: Work, checkpoints: Path) -> None:
    """What each process of ``Job.do`` does."""
    # Processes of a training that was killed this very moment may not have ended yet; there is one writer at a time.
    with alone(checkpoints / ".writer", "this very training") if rank == 0 else nullcontext():
        work(Job(*of, rank, ranks), checkpoints)
