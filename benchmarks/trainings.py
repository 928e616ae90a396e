"""All trainings of a profile side by side on one GPU, by the clock, on a machine without the pipeline's packages.

    python -m benchmarks.trainings --params FILE --data carry --root FOLDER --out FOLDER --seconds 500

Small networks leave most of a large GPU idle, so one training a CPU core. They are stored in ``--root`` by their keys:
the same command goes on where it was stopped. What is finished, and not packed by an earlier call, is packed into
archives below ``--out``, its generator as float16.

    python -m benchmarks.trainings --params FILE --take FOLDER

In the project, after `dvc repro start weights`: takes what the archives, unpacked in FOLDER, hold for its trainings.
"""

import argparse
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import short
from masksr import params as params_file
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack, find_layout
from masksr.fetch.registry import find_set
from masksr.io import file_digest, write_atomic
from masksr.models.build import load_generator, save_generator
from masksr.params import Params
from masksr.paths import Paths, list_trainings
from masksr.training.store import OUTPUTS, RECORD, training_key
from masksr.training.train import NOT_IN_THE_KEY, Job, gan_inputs, train_gan, train_start

ARCHIVE, ARCHIVES = 15 << 20, 4  # bytes of an archive, and how many: what a machine may give back
HALF = "weights.safetensors"  # not generator.safetensors, whose sha256 training.json has
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def main(arguments: list[str] | None = None) -> int:
    begun = time.monotonic()
    how = {"description": __doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainings", **how)
    parser.add_argument("--params", type=Path, required=True, help="a params.yaml")
    parser.add_argument("--data", type=Path, help="what `make carry` built")
    parser.add_argument("--root", type=Path, default=".", help="folder that keeps trainings between calls")
    parser.add_argument("--out", type=Path, help="folder of the archives")
    parser.add_argument("--take", type=Path, help="folder with the unpacked archives")
    parser.add_argument("--seconds", type=float, help="after which it ends")
    parser.add_argument("--mask", help="train with this mask alone")
    options = parser.parse_args(arguments)
    if not (options.take or (options.data and options.out and options.seconds)):
        parser.error("to train, --data, --out and --seconds are needed")
    os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", **os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    settings = params_file.load(options.params)
    if options.mask not in (None, *settings.table1.masks):
        parser.error(f"--mask {options.mask}: table1.masks has {', '.join(settings.table1.masks)}")
    paths = Paths(options.root.resolve(), settings.profile)
    if options.take:
        return take(settings, paths, options.take)
    build_material(settings, paths, options.data)
    begin, then = calls(settings, paths, options.mask)
    ends = begun + options.seconds - 15  # for packing
    with get_context("spawn").Pool(os.cpu_count(), torch.set_num_threads, (1,)) as pool:
        done = run_until(ends, pool, begin)
        done |= run_until(ends, pool, then)
    # What was not done was ended with the pool; it goes on from its checkpoints in a later call.
    pack(paths, settings, options.out)
    print(f"{len(done)} of {len(begin) + len(then)} trainings done", flush=True)
    return int(any(isinstance(result, str) for result in done.values()))


def build_material(settings: Params, paths: Paths, data: Path) -> None:
    """Pack as many photographs as were carried, and place VGG19."""
    for name in (settings.data.train, settings.data.validation):
        if not paths.set(name).exists():
            spec = find_set(name)
            carried = len(find_layout(data, spec)[1])
            build_pack(spec, paths.set(name), data_folder=data, limit=carried)
        print(f"{name}: {len(Pack(paths.set(name)))} images", flush=True)
    paths.weights.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "weights/vgg19.safetensors", paths.weights / "vgg19.safetensors")


def calls(settings: Params, paths: Paths, only: str | None = None) -> tuple[dict[str, Call], dict[str, Call]]:
    """What comes before the GAN; then Table 1, seed by seed, and Figure 5, so that what is done first is whole."""
    begin, then = {}, {}
    for one in sorted(list_trainings(settings, paths), key=lambda one: (one.k is not None, one.seed)):
        if one.mask == "start":
            begin[one.stage] = train_start, (settings, one.model, one.seed, paths)
        elif only in (None, one.mask):
            mask = settings.mask(one.mask, one.k, one.b)
            then[one.stage] = train_gan, (settings, one.model, mask, one.seed, paths, one.folder)
    return begin, then


def run_until(ends: float, pool: Pool, parts: Mapping[str, Call]) -> dict[str, Any]:
    """What the calls return that end in time, or their errors as texts."""
    waited, done = {name: pool.apply_async(*call) for name, call in parts.items()}, {}
    for name, result in waited.items():
        result.wait(max(ends - time.monotonic(), 0))
        if result.ready():
            try:
                done[name] = result.get()
                print(f"{name}: {done[name]['psnr']:.2f} dB", flush=True)
            except Exception as error:
                done[name] = short(error)
                print(f"{name}: {done[name]}", flush=True)
    return done


def pack(paths: Paths, settings: Params, out: Path) -> None:
    """Put finished trainings that no earlier call packed into archives, generators in float16, half the bytes."""
    out.mkdir(parents=True, exist_ok=True)
    listed, half, number, size = paths.root / "packed.json", paths.root / HALF, 0, 0
    packed = json.loads(listed.read_text()) if listed.exists() else []
    for record in sorted(paths.runs.glob("*/*/training.json")):
        folder, name = record.parent, record.parent.relative_to(paths.root).as_posix()
        if name in packed:
            continue
        model = settings.sweep.model if folder.parent.name == "sweep" else folder.name.partition("-")[0]
        generator = load_generator(folder / "generator.safetensors").half()
        save_generator(generator, settings.models[model].generator, half)
        size += half.stat().st_size
        if size > ARCHIVE:
            number, size = number + 1, half.stat().st_size
        if number == ARCHIVES:
            print(f"the archives are full; a later call packs {name} and what comes after it", flush=True)
            break
        with zipfile.ZipFile(out / f"trainings-{number}.zip", "a", zipfile.ZIP_DEFLATED) as archive:
            for file in (half, folder / "history.csv", folder / "validation.csv", record):
                archive.write(file, f"{name}/{file.name}")
        packed.append(name)
    write_atomic(listed, json.dumps(packed).encode())


def take(settings: Params, paths: Paths, folder: Path) -> int:
    """Store GAN trainings of another machine by the keys they have here; their records keep the inputs of there."""
    if not (folder / paths.runs.relative_to(paths.root)).is_dir():
        sys.exit(f"error: {folder} has no runs/{settings.profile}; unpack the archives of that profile there")
    for name, (_, (*of, mask, seed, _, out)) in calls(settings, paths)[1].items():
        theirs = folder / out.relative_to(paths.root)
        if not theirs.exists():
            print(f"{name}: not in {folder}", flush=True)
            continue
        job = Job(*of, seed, paths, out)
        if not (job.start.exists() and job.vgg19.exists()):
            sys.exit(f"error: no {job.start} or no {job.vgg19}; `dvc repro start weights` makes both")
        record, inputs = json.loads((theirs / RECORD).read_bytes()), gan_inputs(job, mask)
        record["inputs"]["train"] = {k: v for k, v in record["inputs"]["train"].items() if k not in NOT_IN_THE_KEY}
        other = {key for key, value in inputs.items() if record["inputs"].get(key) != value}
        if other - {"device", "torch", "vgg"}:
            sys.exit(f"error: {name} was trained with other inputs: {', '.join(sorted(other))}")
        record["key"] = training_key(inputs, job.recipe, mask)
        ours = paths.trainings / record["key"]
        save_generator(load_generator(theirs / HALF), job.recipe.generator, ours / OUTPUTS["weights"])
        for kind in ("history", "validation"):
            write_atomic(ours / OUTPUTS[kind], (theirs / OUTPUTS[kind]).read_bytes())
        record |= {kind: file_digest(ours / file) for kind, file in OUTPUTS.items()}
        write_atomic(ours / RECORD, json.dumps(record, indent=2).encode())
        print(f"{name}: taken, with another {', '.join(sorted(other)) or 'nothing'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
