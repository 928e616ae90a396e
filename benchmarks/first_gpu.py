"""The first minutes on a GPU: what has to be known of it, in the order of its worth, on a machine without a network.

    python -m benchmarks.first_gpu --device cuda --out FOLDER

Needs torch and the packages that ``make carry`` brings, none of the pipeline's. Every finding is written at once to
first_gpu.json and first_gpu.md; a section that fails says why, and the next one runs; after ``--minutes`` it ends by
itself. ``--device cpu`` does all of it on tiny networks within minutes, so that only the numbers are new on a GPU.
Nothing else should run on the machine meanwhile: what shares a GPU waits for it.
"""

import argparse
import copy
import itertools
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer, timer

from benchmarks import harness, steps
from benchmarks.harness import Run
from benchmarks.steps import PLAIN, TITLES, WAYS, Case, Networks
from masksr.models.build import save_generator, save_weights
from masksr.params import Gan, Mask
from masksr.training import train
from masksr.training.cost import step_cost
from masksr.training.device import Precision, autocast, memory_format
from masksr.training.step import adversarial_step

CLOSE = 1e-3  # of its norm: how far a gradient in fp32 may be from the CPU's
# What one step left: metrics, and all gradients of each network in one vector of float64 on the CPU.
Taken = tuple[dict[str, float], list[Tensor]]


def the_machine(run: Run) -> None:
    """Versions, and the most that the card was seen to do: copying, products of matrices, convolutions."""
    run.peaks = harness.measure(run, run.device.type, seconds=0.1 if run.tiny else 0.5)
    size = (8 << 20) if run.tiny else (4 << 30)
    source = torch.randint(256, (size,), dtype=torch.uint8, device=run.device)
    copied = torch.empty_like(source)
    seconds = _median_seconds(lambda: copied.copy_(source), calls=5)
    run.add("machine", "copy", **{"GB a second, read and written": 2 * size / seconds / 1e9})


def correct(run: Run) -> None:
    """Against the CPU, the same step twice, bf16, and resuming: on tiny networks."""
    for model in TITLES:
        case = Case(model, 16, 4, tiny=True)
        _equals_the_cpu(run, case)
        _bf16_is_close(run, case)
    plain, esrgan = "fp32, as it is", Case("esrgan", 16, 4, tiny=True)
    options: dict[str, dict[str, Any]] = {
        "bf16": {"precision": "bf16"},
        "moving average": {"ema": 0.9},
        "accumulate": {"accumulate": 2},
        "gradient checkpointing": {"gradient_checkpointing": True},
        "compile": {"compile": True},
        "compile, bf16, reduce-overhead": {"compile": "reduce-overhead", "precision": "bf16"},
    }
    if "tf32" in run.peaks:
        options["tf32"] = {"precision": "tf32"}
    trainings = [(Case(model, 16, 4, tiny=True), plain, {}) for model in TITLES]
    for case, name, changes in trainings + [(esrgan, *option) for option in options.items()]:
        title = f"{TITLES[case.model]}, resumed, {name}: equal bits"
        run.attempt(600 if run.tiny else 90, "correct", title, partial(_resumes, run, case, title, changes))


def _masks() -> dict[str, Mask]:
    """Every kind with every reading of where it applies; then the paper's with every other setting."""
    masks, found = steps.paper().masks, {"none": Mask(kind="none")}
    for name, apply in itertools.product([name for name in masks if name != "none"], ("both", "sr", "gradient")):
        found[f"{name}, {apply}"] = masks[name].model_copy(update={"apply": apply})
    for key, value in {"window": 9, "per_channel": True, "detach": False}.items():
        found[f"paper, {key} {value}"] = masks["paper"].model_copy(update={key: value})
    for error_range in ("1", "255", "relative"):
        found[f"paper, range {error_range}"] = masks["paper"].model_copy(update={"error_range": error_range})
    return found


def _take_step(
    case: Case,
    mask: Mask,
    device: torch.device,
    precision: Precision = "fp32",
    dtype: torch.dtype = torch.float32,
) -> Taken:
    recipe, start = steps.settings(case).models[case.model], steps.networks(case)
    networks = train.networks_of_a_gan(recipe, mask, start.generator, seed=0)
    for network in (*networks, start.vgg):
        network.to(device, dtype, memory_format=memory_format(device, precision)).train()
    pixel_range = start.generator.pixel_range
    lr, hr = (patches.to(device, dtype) * (pixel_range / 255) for patches in steps.first_batch(case))
    step = train.gan_step(recipe, mask, start.vgg, pixel_range, autocast(device, precision), seed=0)
    metrics = step(networks, lr, hr, 1)
    gradients = [
        torch.cat([p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None])
        for network in networks
    ]
    return {name: float(value) for name, value in metrics.items()}, gradients


def _distance(one: Taken, other: Taken) -> tuple[float, float]:
    """The largest distance of a metric, of its size or of 1, and of a network's gradients, of their norm."""
    metrics = max(abs(one[0][name] - value) / max(1, abs(value)) for name, value in other[0].items())
    gradients = (float((a - b).norm() / b.norm()) for a, b in zip(one[1], other[1], strict=True))
    return metrics, max(gradients)


def _equals_the_cpu(run: Run, case: Case) -> None:
    cpu, worst, differ, unequal = torch.device("cpu"), [0.0, 0.0], {}, []
    masks = _masks()
    for name, mask in masks.items():
        run.fresh()
        on_cpu, here, again = (_take_step(case, mask, device) for device in (cpu, run.device, run.device))
        metrics, gradients = _distance(here, on_cpu)
        if max(metrics, gradients) > CLOSE:  # a ReLU's kink lets roundings differ more: in float64 they cannot
            doubles = [_take_step(case, mask, device, dtype=torch.float64) for device in (run.device, cpu)]
            differ[name] = {"fp32": (metrics, gradients), "fp64": _distance(*doubles)}
        else:
            worst = [max(worst[0], metrics), max(worst[1], gradients)]
        if here[0] != again[0] or not all(map(torch.equal, here[1], again[1])):
            unequal.append(name)
    title = f"{TITLES[case.model]}, {len(masks)} masks"
    wrong = [name for name, found in differ.items() if not max(found["fp64"]) < 1e-6]
    numbers = {"metrics": worst[0], "gradients": worst[1], "equal in float64 alone": len(differ) - len(wrong)}
    run.add("correct", f"{title}: CPU against {run.device}", not wrong, **numbers, differ=differ)
    run.add("correct", f"{title}: twice the same bits", not unequal, unequal=unequal)


def _bf16_is_close(run: Run, case: Case) -> None:
    cosines, finite = [], True
    for name in ("none", "paper, both", "paper, sr"):
        run.fresh()
        exact, rounded = (_take_step(case, _masks()[name], run.device, precision) for precision in ("fp32", "bf16"))
        finite &= all(map(np.isfinite, rounded[0].values()))
        pairs = zip(exact[1], rounded[1], strict=True)
        cosines.append([float(nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs])
    generator, discriminator = map(min, zip(*cosines, strict=True))
    # The gradient of a discriminator that does not tell real from fake yet is a small difference of two. On a CPU it
    # kept a cosine of 0.95 at full width, 0.8 at the width used here.
    close = finite and generator > 0.99 and discriminator > 0.7
    title = f"{TITLES[case.model]}, bf16 against fp32"
    run.add("correct", title, close, **{"cosine of G": generator, "of D": discriminator})


def _resumes(run: Run, case: Case, title: str, changes: dict[str, Any]) -> None:
    """Six steps at once, and six that are interrupted in the fourth and go on from the checkpoint of the second."""
    options = {"device": run.device.type, "steps_per_epoch": 3, "log_every": 1, "validate_every": 3}
    options |= {"checkpoint_every": 2, "validation_patches": 2, "precision": "fp32"}
    gan = Gan(epochs=2, learning_rate=1e-3, discriminator_learning_rate=1e-3, halve_at=[1])
    settings, paths = steps.settings(case, options | changes, gan=gan), steps.project()
    networks, size = steps.networks(case), settings.models[case.model].generator
    save_generator(networks.generator, size, paths.start(case.model, 0) / "generator.safetensors")
    save_weights(networks.vgg, paths.weights / "vgg19.safetensors")
    calls = itertools.count()

    def until_the_fourth(*args: Any, **options: Any) -> Any:
        if next(calls) == 3 * settings.train.accumulate:
            raise InterruptedError
        return adversarial_step(*args, **options)

    def weights() -> str:
        run.fresh()
        return train.train_gan(settings, case.model, settings.masks["paper"], 0, paths, run.work / "out")["weights"]

    shutil.rmtree(paths.trainings, ignore_errors=True)
    whole = weights()
    shutil.rmtree(paths.trainings)
    with suppress(InterruptedError), patch.object(train, "adversarial_step", until_the_fourth):
        weights()
    run.add("correct", title, weights() == whole)


def speed(run: Run) -> None:
    """Steps of full networks at the paper's sizes, in every way."""
    sizes = {"esrgan": (64, 16), "pesr": (64, 16), "edsr": (48, 16)}
    cases = [Case(model, *((16, 2) if run.tiny else size), tiny=run.tiny) for model, size in sizes.items()]
    networks = {case: steps.networks(case) for case in cases}
    for name, case in itertools.product(WAYS, cases):  # ways in the order of their worth
        way = WAYS[name]
        # On a CPU there are no graphs, and one compilation takes a minute.
        needless = run.tiny and way.compiled and (way.compiled is not True or case.model != "esrgan")
        if needless or (way.precision == "tf32" and "tf32" not in run.peaks):
            continue
        run.fresh()
        seconds = 300 if run.tiny else 60 if way.compiled else 40
        run.attempt(seconds, "speed", f"{case}: {name}", partial(_time_steps, run, case, networks[case], name))


def _time_steps(run: Run, case: Case, networks: Networks, name: str) -> None:
    way, cuda = WAYS[name], run.device.type == "cuda"
    step = steps.make_step(case, copy.deepcopy(networks), way, run.device.type)
    steps.switch(way, run.device)
    begin = timer()  # which waits for the device
    for _ in range(3):
        step()
    found: dict[str, Any] = {"warm-up s": timer() - begin}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = _median_seconds(step, calls=1 if run.tiny else 4)
    found["ms"] = 1e3 * seconds
    if cuda:
        found["GB"] = torch.cuda.max_memory_allocated() / 1e9
    if not way.public and run.peaks:  # the public step does more than is needed, so that its operations say little
        flop = step_cost(steps.settings(case), case.model, PLAIN, "fp32").flop
        found |= {"TFLOP": flop / 1e12, "% of peak": 100 * flop / seconds / run.peaks[way.precision]}
    run.add("speed", f"{case}: {name}", **found)


def _median_seconds(work: Callable[[], Any], calls: int) -> float:
    """Seconds of a call; the device is waited for after each group of calls, as a training waits now and then."""
    timer = Timer("work()", globals={"work": work})
    return statistics.median(timer.timeit(calls).mean for _ in range(3))


SECTIONS: dict[str, tuple[Callable[[Run], None], float]] = {  # and which part of the minutes each may take
    "machine": (the_machine, 0.08),
    "correct": (correct, 0.40),
    "speed": (speed, 1.0),
}


def main(arguments: list[str] | None = None) -> int:
    how = {"description": __doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_gpu", **how)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("first_gpu"), help="folder of the results")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which it ends (default: 6)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=[*SECTIONS])
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    run = Run(options.device, options.out, options.minutes)
    run.all({name: (SECTIONS[name][0], 60 * options.minutes * SECTIONS[name][1]) for name in options.only})
    print(f"{len(run.list)} findings, {len(run.failed)} failed", *run.failed, sep="\n", flush=True)
    return int(bool(run.failed))


if __name__ == "__main__":
    sys.exit(main())
