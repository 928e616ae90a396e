"""What tests of training.device.launch let processes do."""

import os
import signal
import time
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytest import MonkeyPatch

from masksr.data.patches import PatchSampler
from masksr.io import MasksrError
from masksr.training import loop
from masksr.training import train as training
from masksr.training.loop import State, Validation
from masksr.training.train import Job


def first_steps(job: Any, mask: Any, folder: Path) -> dict[str, Any]:
    """Of an adversarial training in doubles: history, patches; the first step's gradients."""
    found: dict[str, Any] = {"patches": []}
    update, batch, to_device, psnr = State.update, PatchSampler.batch, loop._to_device, Validation.row

    def recorded_update(state: State, parts: int) -> None:
        networks = state.training.networks
        gradients = [[p.grad / parts for p in n.parameters() if p.grad is not None] for n in networks]
        found.setdefault("gradients", gradients)
        values = networks[1].state_dict().items()
        found.setdefault("statistics", {key: value.clone() for key, value in values if "running" in key})
        update(state, parts)

    def recorded_batch(sampler: PatchSampler, step: int) -> Any:
        found["patches"].append(sampler.draw(step))
        return batch(sampler, step)

    with MonkeyPatch.context() as patch:
        patch.setattr(State, "update", recorded_update)
        patch.setattr(PatchSampler, "batch", recorded_batch)
        patch.setattr(loop, "_to_device", lambda *of: to_device(*of).double())
        patch.setattr(Validation, "row", lambda self, generator: psnr(self, deepcopy(generator).float()))
        makers = [(training, "ErrorNetwork"), (training, "load_vgg19")]
        makers += [(training.build, "load_generator"), (training.build, "build_discriminator")]
        for module, name in makers:
            make = getattr(module, name)
            patch.setattr(module, name, partial(lambda make, *of, **more: make(*of, **more).double(), make))
        _, found["history"] = training._run_gan(job, folder, mask)
    return found


def take_first_steps(rank: int, ranks: int, cases: dict[str, Any], paths: Any, folder: Path) -> None:
    """Those of each of ``cases``; what each rank found goes to ``folder``."""
    for name, (params, model, mask) in cases.items():
        job = Job(params, model, 0, paths, folder, rank, ranks)
        found = first_steps(job, mask, folder / f"checkpoints {name}")
        torch.save(found, folder / f"{name} {rank}.pt")


def train_until_one_fails(rank: int, ranks: int, *arguments: Any) -> None:
    """A training in which rank 1 fails in the gradients of step 6, and would end if it wrote a checkpoint."""
    step, calls = training.adversarial_step, []

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise ZeroDivisionError("of this rank alone")
        return step(*args, **kwargs)

    if rank == 1:
        training.adversarial_step = fails
        loop.save_checkpoint = lambda *_: os._exit(66)
    training._run_share(rank, ranks, *arguments)


def say_where_and_wait(rank: int, ranks: int, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    print("waiting")
    time.sleep(600)


def one_is_killed(rank: int, ranks: int) -> None:
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def one_says_what_to_do(rank: int, ranks: int) -> None:
    if rank == 1:
        raise MasksrError("set this to that")
    time.sleep(600)
