"""What happens inside a training: no memory, numbers that are not finite, a second one that wants the same."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from masksr.data import packs
from masksr.paths import Paths
from masksr.training import train as training
from tests.faults.found import Found, copy, line, nothing_left_over, same
from tests.faults.processes import KILL, run, start, wait
from tests.faults.storage import PACKING, TRAINING, again, checkpoints, ready
from tests.faults.works import params

ROOM = 400 * 2**20  # bytes beyond what the process has when the training begins


def two_at_once(folder: Path, _: Random) -> Found:
    """Two processes at the same training and the same pack; then the first of two is killed."""
    base, expected, log = ready(TRAINING, folder / "training")
    for killed in (False, True):
        place, other = copy(base, "place"), folder / f"other-{killed}.txt"
        first = start(lambda: TRAINING.do(place), log, setup=slow_steps)  # noqa: B023
        until(lambda: checkpoints(place))  # noqa: B023
        second = start(lambda: TRAINING.do(place), other)  # noqa: B023
        until(lambda: other.exists() and "waiting" in other.read_text())  # noqa: B023
        if killed:
            os.kill(first, KILL)
        statuses = wait(first, log).status, wait(second, other).status
        assert statuses == (-KILL if killed else 0, 0)
        said = other.read_text()
        line(said, "goes on from step" if killed else "Already trained")
        same(TRAINING.results(place), expected)
        nothing_left_over(place)
    base, expected, log = ready(PACKING, folder / "packing")
    other = folder / "other-pack.txt"
    place = copy(base, "place")
    first = start(lambda: PACKING.do(place), log, setup=slow_pictures)
    until(lambda: list(place.rglob(".*.unfinished")))
    second = start(lambda: PACKING.do(place), other, setup=no_pictures)
    assert (wait(first, log).status, wait(second, other).status) == (0, 0), other.read_text()
    line(other.read_text(), "at the pack of photographs; waiting")
    same(PACKING.results(place), expected)
    seen = line(said, "Another process")
    done = "the same training and the same pack twice at once; the first one killed -9"
    return Found(done, seen, "one works, the other reuses or takes over: bit-equal")


def slow_steps() -> None:
    real = training.adversarial_step
    training.adversarial_step = lambda *a, **k: (time.sleep(0.05), real(*a, **k))[1]


def slow_pictures() -> None:
    real = packs.load_image
    packs.load_image = lambda *a: (time.sleep(0.3), real(*a))[1]


def no_pictures() -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("packed twice")

    packs.load_image = refuse


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for nothing"
        time.sleep(0.005)


def out_of_memory(folder: Path, _: Random) -> Found:
    """A real limit of memory and a batch that does not fit; then what the message advises. And CUDA's own error."""
    base, expected, log = ready(TRAINING, folder)
    place = copy(base, "place")

    def large(accumulate: int) -> None:
        settings = params(batch=256, accumulate=accumulate, steps_per_epoch=1, validate_every=1)
        training.train_gan(settings, "esrgan", settings.masks["paper"], 0, Paths(place, "mini"), place / "large")

    def limit() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))

    status, said = run(lambda: large(1), log, setup=limit)
    assert status == 1, f"ended with {status}:\n{said[-3000:]}"
    seen = line(said, "memory of cpu does not hold a step of 256 LR patches of 16 x 16.*accumulate.*checkpointing")
    status, said = run(lambda: large(64), log, setup=limit)
    assert status == 0, f"with accumulate it ended with {status}:\n{said[-3000:]}"

    def no_gpu_memory() -> None:
        fail_at(11, lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")))

    status, said = run(lambda: TRAINING.do(place), log, setup=no_gpu_memory)
    assert status == 1
    line(said, "does not hold a step of 2 LR patches")
    line(again(TRAINING, place, expected, log), "goes on from step 10")
    done = "a batch beyond a limit of memory; CUDA's error at step 11"
    return Found(done, seen.replace("masksr: error: ", ""), "as advised it fits; goes on bit-equal")


def not_finite(folder: Path, _: Random) -> Found:
    """NaN in the generator, in the discriminator, in the data, at step 13; the checkpoint of step 12 is kept."""
    base, expected, log = ready(TRAINING, folder)
    seen = []
    for spoil in (spoil_generator, spoil_discriminator, spoil_data):
        place = copy(base, "place")
        status, said = run(lambda: TRAINING.do(place), log, setup=lambda: fail_at(13, spoil))  # noqa: B023
        assert status == 1, f"{spoil.__name__} ended with {status}:\n{said}"
        seen.append(line(said, "no longer finite.*last checkpoint, from before, is kept.*Lower the learning rate"))
        assert [path.name[:13] for path in checkpoints(place)] == ["step-00000010", "step-00000012"]
        line(again(TRAINING, place, expected, log), "goes on from step 12")
    done = "NaN in a gradient of G, of D, or in the images, at step 13"
    return Found(done, seen[0].replace("masksr: error: ", ""), "goes on from step 12: bit-equal")


def fail_at(step: int, spoil: Callable) -> None:
    """Let ``spoil`` at the networks and images of one adversarial step, after the gradients are there."""
    real, calls = training.adversarial_step, [0]

    def step_once(generator, discriminator, vgg, lr, hr, **settings):
        calls[0] += 1
        if calls[0] == step and spoil is spoil_data:
            lr = lr.clone().fill_(float("nan"))
        metrics = real(generator, discriminator, vgg, lr, hr, **settings)
        if calls[0] == step:
            spoil(generator, discriminator)
        return metrics

    training.adversarial_step = step_once


def spoil_generator(generator, _) -> None:
    next(generator.parameters()).grad.fill_(float("nan"))


def spoil_discriminator(_, discriminator) -> None:
    next(discriminator.parameters()).grad.fill_(float("nan"))


def spoil_data(*_) -> None:
    """The images are spoilt before the step."""
