"""The first minutes on a GPU: what has to be known of it, in the order of its worth, on a machine without a network.

    python -m benchmarks.first_gpu --device cuda --data carry --out FOLDER

Needs torch and the packages that ``make carry`` brings, none of the pipeline's. Every finding is written at once to
first_gpu.json and first_gpu.md; a section that fails says why, and the next one runs; after ``--minutes`` it ends by
itself. ``--device cpu`` does all of it on tiny networks within minutes, so that only the numbers are new on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import gc
import itertools
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, ours, profiles
from benchmarks.findings import Findings
from benchmarks.patches import make_pack
from benchmarks.profiles import TITLES, Case
from benchmarks.reference_steps import Networks
from benchmarks.ways import WAYS, Way, make_step, switch
from masksr import params
from masksr.data.bicubic import imresize
from masksr.data.images import write_png
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler, ResidentPatches
from masksr.fetch.find import build_pack
from masksr.fetch.registry import FolderSet, Layout
from masksr.models.checkpoints import build_generator, load_weights, save_weights, seed_for
from masksr.models.vgg import load_vgg19, random_vgg19
from masksr.params import Mask, Model, Phase, Schedule
from masksr.paths import Paths
from masksr.results.evaluate import with_generator
from masksr.training.cost import step_cost
from masksr.training.device import Precision, allow_tf32, autocast, make_deterministic, memory_format
from masksr.training.loop import Validation, fit, history_table
from masksr.training.step import adversarial_step
from masksr.training.train import networks_of_a_gan

CLOSE = 1e-3  # of its norm: how far a gradient in fp32 may be from the CPU's
ARCHIVE, ARCHIVES = 15 << 20, 4  # bytes of an archive of what is kept, and how many: what a machine may give back


class TimeUp(BaseException):
    """The minutes of a section are over. No Exception, which somebody on the way could catch."""


class Run:
    """What all sections share: the device, the clock, and where findings go."""

    def __init__(self, device: str, out: Path, minutes: float, data: Path | None, resume: Path | None) -> None:
        self.device, self.out, self.data, self.resume = torch.device(device), out, data, resume
        self.tiny = device == "cpu"
        if self.tiny:
            torch.set_num_threads(1)  # tiny networks gain nothing from more
        self._ends = [time.monotonic() + 60 * minutes]
        self.findings = Findings(out / "first_gpu")
        self.add = self.findings.add
        self.peaks: dict[str, dict[str, float]] = {}
        self.work = Path(tempfile.mkdtemp(prefix="first_gpu-"))
        self.kept = self.work / "kept"
        signal.signal(signal.SIGALRM, self._time_up)
        faulthandler.dump_traceback_later(60 * minutes + 20, exit=True)  # where no Python runs that could be stopped

    @property
    def left(self) -> float:
        """Seconds until the section, and whatever has a limit inside it, has to end."""
        return min(self._ends) - time.monotonic()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise TimeUp inside after ``seconds``, or when what is around it has to end."""
        self._ends.append(time.monotonic() + seconds)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.01))
        try:
            yield
        finally:
            self._ends.pop()
            signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.01) if len(self._ends) > 1 else 0)

    def pack_kept(self) -> None:
        """Put the files of ``kept`` into archives that a machine gives back; those that fit nowhere are named."""
        room = [ARCHIVE] * ARCHIVES
        chosen: list[list[Path]] = [[] for _ in room]
        left_out = []
        for path in sorted(self.kept.iterdir(), key=lambda p: (p.name.endswith("discriminator.safetensors"), p.name)):
            fits = next((number for number, free in enumerate(room) if path.stat().st_size < free), None)
            if fits is None:
                left_out.append(path.name)
                continue
            chosen[fits].append(path)
            room[fits] -= path.stat().st_size
        for number, paths in enumerate(chosen):
            if paths:
                with zipfile.ZipFile(self.out / f"kept-{number}.zip", "w") as archive:
                    for path in paths:
                        archive.write(path, path.name)
        if left_out:
            print(f"not kept, for they fit into no archive: {', '.join(left_out)}", flush=True)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def fresh(self) -> None:
        """Forget what the last thing left: compiled graphs (dynamo stops compiling after eight), memory, switches."""
        torch._dynamo.reset()
        gc.collect()  # networks and their steps refer to each other
        allow_tf32(self.device, "fp32")
        make_deterministic(self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _time_up(self, *_: Any) -> None:
        raise TimeUp("its seconds were over")


# ---- 1. The machine --------------------------------------------------------------------------------------------------


def the_machine(run: Run) -> None:
    about = {"date": time.strftime("%Y-%m-%d"), **machine.describe(run.device.type)}
    if run.device.type == "cuda":
        about["driver"] = _driver()
    run.add("machine", "versions", **about)
    size = (8 << 20) if run.tiny else (4 << 30)
    source = torch.randint(256, (size,), dtype=torch.uint8, device=run.device)
    copied = torch.empty_like(source)
    seconds = _median_seconds(run, lambda: copied.copy_(source), calls=5)
    run.add("machine", "copy", **{"GB a second, read and written": 2 * size / seconds / 1e9})
    run.peaks = machine.peaks(run.device.type, seconds=0.1 if run.tiny else 0.5)
    for precision, speeds in run.peaks.items():
        run.add("machine", f"{precision}, at most", **{f"{kind} TFLOP/s": v / 1e12 for kind, v in speeds.items()})


def _driver() -> str | None:
    version = Path("/proc/driver/nvidia/version")
    return version.read_text().splitlines()[0] if version.exists() else None


def _median_seconds(run: Run, work: Callable[[], Any], calls: int, groups: int = 3) -> float:
    """Seconds of a call; the device is waited for after each group of calls, as a training waits now and then."""
    found = []
    for _ in range(groups):
        run.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        run.synchronize()
        found.append((time.perf_counter() - begin) / calls)
    return statistics.median(found)


# ---- 2. Correct: the device against the CPU, the same step twice, resuming ------------------------------------------


def correct(run: Run) -> None:
    for model in TITLES:
        case = Case(model, 16, 4, tiny=True)
        _equals_the_cpu(run, case)
        _bf16_is_close(run, case)
    for model in TITLES:
        _resumes(run, Case(model, 16, 4, tiny=True), "fp32, as it is", {})
    case = Case("esrgan", 16, 4, tiny=True)
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
    for name, changes in options.items():
        run.fresh()
        try:
            with run.limit(600 if run.tiny else 90):
                _resumes(run, case, name, changes)
        except (Exception, TimeUp) as error:
            run.add("correct", f"{TITLES[case.model]}, resumed, {name}", False, error=_short(error))


@dataclass
class Taken:
    """What one step left: metrics, and all gradients of each network in one vector of float64 on the CPU."""

    metrics: dict[str, float]
    gradients: list[Tensor]


def _masks() -> dict[str, Mask]:
    """Every kind with every reading of where it applies; then the paper's with every other setting."""
    masks, found = profiles.paper().masks, {"none": Mask(kind="none")}
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
    recipe, start = profiles.recipe(case), ours.networks(case)
    networks = networks_of_a_gan(recipe, mask, start.generator, seed=0)
    for network in (*networks, start.vgg):
        network.to(device, dtype, memory_format=memory_format(device, precision)).train()
    pixel_range = start.generator.pixel_range
    lr, hr = (patches.to(device, dtype) * (pixel_range / 255) for patches in ours.sampler(case).batch(0))
    generator, discriminator, *more = networks
    metrics = adversarial_step(
        generator,
        discriminator,
        start.vgg,
        lr,
        hr,
        loss=recipe.loss,
        mask=mask,
        pixel_range=pixel_range,
        autocast=autocast(device, precision),
        expectation=more[0] if more else None,
        rng=torch.Generator().manual_seed(1),
    )
    gradients = [
        torch.cat([p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None])
        for network in networks
    ]
    return Taken({name: float(value) for name, value in metrics.items()}, gradients)


def _distance(one: Taken, other: Taken) -> tuple[float, float]:
    """The largest distance of a metric, of its size or of 1, and of a network's gradients, of their norm."""
    metrics = max(abs(one.metrics[name] - value) / max(1, abs(value)) for name, value in other.metrics.items())
    gradients = (float((a - b).norm() / b.norm()) for a, b in zip(one.gradients, other.gradients, strict=True))
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
        if here.metrics != again.metrics or not all(map(torch.equal, here.gradients, again.gradients)):
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
        finite &= all(map(np.isfinite, rounded.metrics.values()))
        pairs = zip(exact.gradients, rounded.gradients, strict=True)
        cosines.append([float(nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs])
    generator, discriminator = map(min, zip(*cosines, strict=True))
    # The gradient of a discriminator that does not tell real from fake yet is a small difference of two. On a CPU it
    # kept a cosine of 0.95 at full width, 0.8 at the width used here.
    close = finite and generator > 0.99 and discriminator > 0.7
    title = f"{TITLES[case.model]}, bf16 against fp32"
    run.add("correct", title, close, **{"cosine of G": generator, "of D": discriminator})


class _Interrupted(Exception):
    pass


def _resumes(run: Run, case: Case, name: str, changes: dict[str, Any]) -> None:
    """Six steps at once, and six that are interrupted in the fourth and go on from the checkpoint of the second."""
    settings = {"device": run.device.type, "steps_per_epoch": 3, "log_every": 1, "validate_every": 3}
    settings |= {"checkpoint_every": 2, "validation_patches": 2, "precision": "fp32"}
    train = profiles.paper().train.model_copy(update=settings | changes)
    recipe = profiles.recipe(case)
    recipe = recipe.model_copy(update={"gan": Schedule(epochs=2, learning_rate=1e-3, halve_at=[1])})
    patches = ours.sampler(case)

    def weights(folder: str, interrupt_at: int | None = None) -> list[Tensor] | None:
        start, mask = ours.networks(case), profiles.paper().masks["paper"]
        networks = [start.generator, start.discriminator]
        validation = Validation(patches.pack, lr_size=case.lr_patch, scale=4, count=2)
        phase = ours.gan_training(name, networks, start.vgg, recipe, mask, patches, train, validation)
        step = phase.step

        def interrupted(*batch: Any) -> Any:
            if batch[-1] == interrupt_at:
                raise _Interrupted
            return step(*batch)

        phase.step = interrupted
        try:
            result = fit(phase, run.work / "resumed" / f"{case.model} {name}" / folder)
        except _Interrupted:
            return None
        return [*result.state_dict().values(), *start.discriminator.state_dict().values()]

    run.fresh()
    whole = weights("whole")
    run.fresh()
    weights("parts", interrupt_at=3 * train.accumulate)
    run.fresh()
    parts = weights("parts")
    equal = all(map(torch.equal, whole, parts)) and all(bool(w.isfinite().all()) for w in whole)
    run.add("correct", f"{TITLES[case.model]}, resumed, {name}: equal bits", equal)


# ---- 3. Patches on the device -----------------------------------------------------------------------------


def cut_patches(run: Run) -> None:
    run.fresh()
    sampler = PatchSampler(make_pack(run.work / "small", 3, 240, 320), lr_size=32, scale=4, batch=16, seed=0)
    for name, before in {"small pack": 0, "pack above 2^31 bytes": (1 << 20) if run.tiny else (1 << 31)}.items():
        resident = ResidentPatches(sampler, run.device)
        for images in (resident._lr, resident._hr):  # as if so many bytes of other images came first
            images.pixels = torch.cat((images.pixels.new_zeros(before), images.pixels))
            images.offsets = images.offsets + before
        equal = all(
            torch.equal(here.cpu(), there)
            for step in range(20)
            for here, there in zip(resident.batch(step), sampler.batch(step), strict=True)
        )
        steps = itertools.count()
        seconds = _median_seconds(run, lambda batch=resident.batch, steps=steps: batch(next(steps)), calls=10)
        run.add("patches", f"{name}, cut on {run.device} as on the CPU", equal, **{"ms a batch": 1e3 * seconds})


# ---- 4. Speed of full networks at the paper's sizes ------------------------------------------------------------------


PROFILED = ("public, fp32", "bf16", "fp32, NCHW")


def speed(run: Run) -> None:
    sizes = {"esrgan": (16, 2), "pesr": (16, 2), "edsr": (16, 2)} if run.tiny else {}
    sizes = sizes or {"esrgan": (64, 16), "pesr": (64, 16), "edsr": (48, 16)}
    cases = {model: Case(model, side, batch, tiny=run.tiny) for model, (side, batch) in sizes.items()}
    networks = {model: ours.networks(case) for model, case in cases.items()}
    # Compiling takes longest and comes last, for all models, so that it cannot cost what is worth more.
    for compiled, (model, case) in itertools.product((False, True), cases.items()):
        ways = [name for name, way in WAYS.items() if bool(way.compiled) == compiled and _can(run, way, model)]
        for name in ways:
            run.fresh()
            try:
                with run.limit(300 if run.tiny else 60 if compiled else 25):
                    run.add("speed", f"{case}: {name}", **_timed(run, case, copy.deepcopy(networks[model]), name))
            except (Exception, TimeUp) as error:
                if run.left <= 0:
                    raise
                run.add("speed", f"{case}: {name}", False, error=_short(error))


def _can(run: Run, way: Way, model: str) -> bool:
    if way.compiled and run.tiny:  # on a CPU there are no graphs, and one compilation takes a minute
        return way.compiled is True and model == "esrgan"
    return "tf32" in run.peaks or way.precision != "tf32"


def _timed(run: Run, case: Case, networks: Networks, name: str) -> dict[str, Any]:
    way, cuda = WAYS[name], run.device.type == "cuda"
    step = make_step(case, networks, way, run.device.type)
    switch(way, run.device)
    begin = time.perf_counter()
    for _ in range(3):
        step()
    run.synchronize()
    found: dict[str, Any] = {"warm-up s": time.perf_counter() - begin}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = _median_seconds(run, step, calls=1 if run.tiny else 4)
    found["ms"] = 1e3 * seconds
    if cuda:
        found["GB"] = torch.cuda.max_memory_allocated() / 1e9
    if not way.public and run.peaks:  # the public step does more than is needed, so that its operations say little
        paper = profiles.paper()
        recipe = profiles.recipe(case)
        weights = paper.weights.model_copy(update={"vgg_width": profiles.vgg_width(case)})
        counted = paper.model_copy(update={"models": paper.models | {case.model: recipe}, "weights": weights})
        flop = step_cost(counted, case.model, ours.PLAIN, "fp32").flop
        found |= {"TFLOP": flop / 1e12, "% of peak": 100 * flop / seconds / max(run.peaks[way.precision].values())}
    if name in PROFILED:
        found["kernels"] = _longest_kernels(run, step)
    return found


def _longest_kernels(run: Run, step: Callable[[], Any]) -> list[dict[str, Any]]:
    """The ten kernels (of a CPU: operations) that take longest in one step."""
    cuda = run.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        step()
        run.synchronize()
    of = "self_device_time_total" if cuda else "self_cpu_time_total"
    longest = sorted(profiler.key_averages(), key=lambda event: getattr(event, of), reverse=True)[:10]
    return [{"kernel": event.key[:120], "ms": getattr(event, of) / 1e3, "calls": event.count} for event in longest]


# ---- 5. and 6. Trainings ---------------------------------------------------------------------------------------------

KINDS = ("generator", "discriminator")
# Steps before the GAN and with it, of full networks.
SHORT = {"esrgan": (700, 150), "pesr": (400, 150), "edsr": (400, 150)}
# What is kept fits what comes back with the networks of the profile study_cpu and small discriminators.
SMALLER: dict[str, dict[str, Any]] = {
    "esrgan": {"num_block": 6},
    "pesr": {"depth": 16, "num_channels": 64},
    "edsr": {"n_resblocks": 16, "n_feats": 64},
}


def training(run: Run) -> None:
    """Section 5: the six variants of the profile study with its full networks, some hundred steps each."""
    _six_variants(run, "training", steps={model: (8, 8) for model in TITLES} if run.tiny else SHORT)


def study(run: Run) -> None:
    """Section 6: the same with smaller networks for what is left of the minutes; their weights are kept, as float16.

    ``--resume FOLDER``, where the archives of an earlier call were unpacked, goes on from them: with the same networks,
    and Adam and the patches from their beginning, so not to the same bits.
    """
    seconds = 0.9 * run.left / 9  # of each start and variant
    _six_variants(run, "study", seconds=min(seconds, 4) if run.tiny else seconds)


def _six_variants(
    run: Run, section: str, *, steps: dict[str, tuple[int, int]] | None = None, seconds: float | None = None
) -> None:
    run.fresh()
    run.kept.mkdir(exist_ok=True)
    material, rows = Material(run), []
    resume = run.resume if seconds else None
    for model in TITLES:
        recipe = material.recipe(model, small=seconds is not None)
        before, after = steps[model] if steps else (None, None)
        start = build_generator(recipe.generator, 4, seed=0)
        if not resume:
            history = _train(run, material, recipe, f"{model}-start", None, [start], before, seconds)
            numbers = _last(history, ["step", "psnr", "psnr_bicubic"])
            above = numbers["psnr"] > numbers["psnr_bicubic"] if steps and not run.tiny else None
            run.add(section, f"{TITLES[model]}, before the GAN", above, **numbers, history=_records(history))
        generators = [copy.deepcopy(start)]
        for name in ("none", "paper"):
            label, mask = f"{model}-{name}", material.params.masks[name]
            networks = networks_of_a_gan(recipe, mask, copy.deepcopy(start).cpu(), seed=0)
            for network, kind in zip(networks, KINDS, strict=True):
                if resume:
                    load_weights(network, resume / f"{label}.{kind}.safetensors")
            history = _train(run, material, recipe, label, mask, networks, after, seconds)
            after = after or int(history["step"].max())  # so that the second variant takes as many
            gap = (history["d_real"] - history["d_fake"]).abs()
            numbers = _last(history, ["step", "psnr", "images_per_s", "mask_mean"])
            numbers |= {"d_real - d_fake, absolute": float(gap.iloc[-1]), "at most": float(gap.max())}
            run.add(section, f"{TITLES[model]}, {name}", True, **numbers, history=_records(history))
            generators.append(networks[0])
            for network, kind in zip(networks, KINDS, strict=True):
                if seconds:
                    _keep(network, run.kept / f"{label}.{kind}.safetensors")
        if seconds and not resume:
            _keep(start, run.kept / f"{model}-start.generator.safetensors")
        rows.append(_crops(run, generators, Pack(material.paths.set("validation"))))
        write_png(run.kept / f"{section}.png", np.concatenate(rows))
        run.pack_kept()
    run.add(section, "material", vgg=material.vgg_title, photographs=len(Pack(material.paths.set("train"))))


def _train(
    run: Run,
    material: Material,
    recipe: Model,
    label: str,
    mask: Mask | None,
    networks: list[nn.Module],
    steps: int | None,
    seconds: float | None,
) -> pd.DataFrame:
    """The history of a training of ``networks``: before the GAN without a mask; of so many steps or else seconds.

    Raises MasksrError where a loss is no longer finite.
    """
    rate = (recipe.gan if mask else recipe.start.phases[0]).learning_rate
    recipe = recipe.model_copy(update={"gan": Schedule(epochs=steps or 10**6, learning_rate=rate, halve_at=[])})
    train = material.params.train
    packs = [Pack(material.paths.set(name)) for name in ("train", "validation")]
    seed = seed_for(0, "patches gan" if mask else "patches start")
    sampler = PatchSampler(packs[0], lr_size=recipe.lr_patch, scale=4, batch=recipe.batch, seed=seed)
    validation = Validation(packs[1], lr_size=recipe.lr_patch, scale=4, count=train.validation_patches)
    vgg = load_vgg19(material.vgg_file)
    phase = ours.gan_training(label, networks, vgg, recipe, mask or ours.PLAIN, sampler, train, validation)
    if mask is None:
        phase = replace(phase, step=ours.distance_gradients(run.device, train.precision))
    try:
        with run.limit(run.left if steps else seconds):
            fit(phase, Path(tempfile.mkdtemp(prefix=label, dir=run.work)))
    except TimeUp:  # the networks are as the last step left them
        if steps or not phase.history:
            raise
    return history_table(phase.history)


class Material:
    """What trainings work on: packs of the carried pictures, or of a few photographs; VGG19; the profile study."""

    def __init__(self, run: Run) -> None:
        self.paths = Paths(run.work, "first_gpu")
        for name, pattern in {"train": "train/BSDS500/{name}.jpg", "validation": "test/Set5/HR/{name}.png"}.items():
            count = len(list(run.data.glob(pattern.format(name="*")))) if run.data else 0
            if count:
                about = {"title": name, "role": "train", "cite": "-", "licence": "-", "homepage": "-", "images": count}
                spec = FolderSet(name=name, kind="folder", layouts=[Layout(hr=pattern)], **about)
                build_pack(spec, self.paths.set(name), data_folder=run.data)
            else:
                pack = make_pack(run.work / "photographs" / name, 3, 240, 320)
                shutil.copytree(pack.folder, self.paths.set(name), dirs_exist_ok=True)
        carried = run.data / "weights/vgg19.safetensors" if run.data else Path()
        vgg, self.vgg_title = random_vgg19(0.125 if run.tiny else 1.0, seed=0), "random (a stand-in)"
        if carried.is_file():
            trained = load_vgg19(carried)
            if not run.tiny:  # its full width would take a CPU minutes
                vgg, self.vgg_title = trained, "carried"
        self.vgg_file = self.paths.weights / "vgg19.safetensors"
        save_weights(vgg, self.vgg_file)

        self.tiny = run.tiny
        study = params.load(Path(__file__).parents[1] / "profiles/study.yaml")
        settings: dict[str, Any] = {"device": run.device.type, "steps_per_epoch": 1, "checkpoint_every": 10**6}
        settings |= {"log_every": 2, "validate_every": 4, "validation_patches": 4} if run.tiny else {}
        settings |= {} if run.tiny else {"log_every": 10, "validate_every": 50, "validation_patches": 16}
        self.params = study.model_copy(update={"train": study.train.model_copy(update=settings)})

    def recipe(self, model: str, *, small: bool) -> Model:
        """The one of study, whose phases before the GAN are one at x4: a random tail could not pass bicubic."""
        recipe = self.params.models[model]
        phase = Phase(scale=4, loss="l1", epochs=1, learning_rate=4e-4 if model == "esrgan" else 2e-4, halve_at=[])
        changes: dict[str, Any] = {"start": recipe.start.model_copy(update={"phases": [phase]})}
        if self.tiny:
            tiny = profiles.recipe(Case(model, 16, 4, tiny=True))
            changes |= {name: getattr(tiny, name) for name in ("lr_patch", "batch", "generator", "discriminator")}
        elif small:
            changes["generator"] = recipe.generator.model_copy(update=SMALLER[model])
            changes["discriminator"] = recipe.discriminator.model_copy(update={"num_feat": 16})
        return recipe.model_copy(update=changes)


def _keep(network: nn.Module, path: Path) -> None:
    """Weights as float16, half the bytes; statistics and biases as they are."""
    state = {key: value.half() if value.ndim > 1 else value for key, value in network.state_dict().items()}
    save_weights(state, path)


def _last(history: pd.DataFrame, columns: list[str]) -> dict[str, float]:
    """The last number of each column; not every row has all."""
    return {name: float(history[name].dropna().iloc[-1]) for name in columns if history[name].notna().any()}


def _records(history: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(history.to_json(orient="records"))


def _crops(run: Run, generators: Sequence[nn.Module], pack: Pack) -> np.ndarray:
    """One row of pictures: bicubic, before the GAN, without and with the mask, HR; the middle of one image."""
    number = len(pack) // 2
    images = [imresize(pack.lr(number, 4), 4)]
    images += [with_generator(generator, run.device)(pack, number) for generator in generators]
    images.append(pack.hr(number))
    top, left = (side // 2 - 64 for side in pack.hr(number).shape[:2])
    return np.concatenate([image[top : top + 128, left : left + 128] for image in images], axis=1)


# ---- All sections ----------------------------------------------------------------------------------------------------

SECTIONS: dict[str, tuple[Callable[[Run], None], float]] = {  # and the seconds of each, of nine minutes
    "machine": (the_machine, 25),
    "correct": (correct, 120),
    "patches": (cut_patches, 40),
    "speed": (speed, 170),
    "training": (training, 120),
    "study": (study, 9 * 60),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("first_gpu"), help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends (default: 9)")
    parser.add_argument("--data", type=Path, help="what `make carry` built; else a few photographs, a random VGG19")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--resume", type=Path, help="go on from the weights that section study kept (unpacked)")
    options = parser.parse_args(arguments)
    if unknown := set(options.only.split(",")) - set(SECTIONS):
        parser.error(f"--only: there is no section {', '.join(sorted(unknown))}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    run = Run(options.device, options.out, options.minutes, options.data, options.resume)
    for name in options.only.split(","):
        section, seconds = SECTIONS[name]
        try:
            with run.limit(seconds * options.minutes / 9):
                section(run)
        except TimeUp:
            run.add(name, "the section", False, error="its minutes were over")
        except Exception as error:
            traceback.print_exc()
            run.add(name, "the section", False, error=_short(error))
    faulthandler.cancel_dump_traceback_later()
    failed = run.findings.failed
    print(f"{len(run.findings.list)} findings, {len(failed)} failed", *failed, sep="\n", flush=True)
    return int(bool(failed))


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


if __name__ == "__main__":
    sys.exit(main())
