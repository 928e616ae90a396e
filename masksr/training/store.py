"""A training is done once: it belongs to its inputs, not to a stage, and is found by their hash, its key.

A finished one is looked for in the stage's own outputs, which DVC pushes, pulls and leaves in place
(``persist`` in dvc.yaml), and in ``.cache/trainings``, where stages share equal trainings and checkpoints are
kept. A stage that runs again because of a figure or a word thus takes no training step.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

import masksr
from masksr.io import alone, file_digest, notice, write_atomic
from masksr.models import build
from masksr.params import Mask, Model
from masksr.paths import Paths
from masksr.source import digest_code, find_modules

Trained = tuple[nn.Module, list[dict[str, Any]]]  # generator and history
OUTPUTS = {"weights": "generator.safetensors", "history": "history.csv", "validation": "validation.csv"}
RECORD = "training.json"
FIRST_COLUMNS = ["phase", "step", "epoch", "learning_rate"]  # of history.csv
VALIDATION = ["phase", "step", "psnr", "psnr_bicubic"]  # the columns of validation.csv
LIVE = ["images_per_s", "gpus"]  # columns of the live history alone: they describe a machine

# The code that determines the weights of a training. Left out: what only measures them (quality, bicubic in
# validation), and what the digest of a pack stands for (reading and shrinking pictures).
STEPS = [
    *("data/batch_share.py", "data/packs.py", "data/patches.py", "models/build.py", "models/layers.py"),
    *("training/device.py", "training/loop.py", "training/step.py", "training/train.py"),
]
OF_THE_GAN = ["models/discriminators.py", "models/vgg.py", "training/losses.py"]
OF_THE_MASK = ["training/mask.py"]


def training_key(inputs: dict[str, Any], model: Model, mask: Mask | None) -> str:
    """Hash what determines a training: its code and ``inputs`` (for JSON). mask: None before the GAN."""
    package, architecture = Path(masksr.__file__).parent, model.generator.architecture
    network = package / f"models/{'edsr' if architecture == 'pesr' else architecture}.py"
    networks = [network] if network.is_file() else sorted(package.glob("models/*.py"))
    files = [*STEPS, *(f"models/{path.name}" for path in networks)]
    if mask is not None:
        files += OF_THE_GAN + (OF_THE_MASK if mask.kind != "none" else [])
    # Parts of a user's own network or mask; STEPS and VGG19's code lead to every network.
    roots = [f.replace("/", ".") for f in files if f not in (*STEPS, "models/vgg.py")]
    reached = find_modules(package.parent, [f"masksr.{name.removesuffix('.py')}" for name in roots])
    own = sorted({path.relative_to(package).as_posix() for path in reached}.difference(files))
    files += [f for f in own if f.startswith(("data/", "models/", "training/")) and "__init__" not in f]
    code = digest_code(files)
    return hashlib.sha256(json.dumps(inputs | {"code": code}, sort_keys=True).encode()).hexdigest()[:20]


def find_trained(key: str, out: Path, paths: Paths) -> Path | None:
    """Find the folder with intact files of the finished training ``key``: ``out``, the store, or None."""
    for folder in (out, paths.trainings / key):
        try:
            record = json.loads((folder / RECORD).read_bytes())
            whole = all(record[kind] == file_digest(folder / name) for kind, name in OUTPUTS.items())
        except (OSError, ValueError, KeyError):
            continue
        if whole and record["key"] == key:
            return folder
    return None


def train_once(
    key: str, inputs: dict[str, Any], model: Model, out: Path, paths: Paths, work: Callable[[Path], Trained]
) -> dict[str, Any]:
    """Put the files of the training ``key`` into ``out``; calls ``work(checkpoints)`` if none is finished.

    Returns what ``training.json`` says. Waits for another process that is at the same training.
    """
    stored = paths.trainings / key
    with alone(stored / ".lock", "this very training"):
        folder = find_trained(key, out, paths)
        if folder:
            notice(f"Already trained with exactly these inputs ({key}): taken from there.")
        else:
            folder = stored
            generator, history = work(stored / "checkpoints")
            build.save_generator(generator, model.generator, folder / OUTPUTS["weights"])
            rows = pd.DataFrame(history)
            losses = rows.columns.difference([*FIRST_COLUMNS, *VALIDATION, *LIVE], sort=False)
            _write(rows[[*FIRST_COLUMNS, *losses]], folder / OUTPUTS["history"])
            _write(rows[VALIDATION].dropna(subset="psnr"), folder / OUTPUTS["validation"])
            content = {"key": key, "psnr": history[-1]["psnr"], "inputs": inputs}
            content |= {kind: file_digest(folder / name) for kind, name in OUTPUTS.items()}
            # Last, because its presence says that the training is finished.
            write_atomic(folder / RECORD, json.dumps(content, indent=2).encode())
        shutil.rmtree(stored / "checkpoints", ignore_errors=True)
        if folder != out:
            for name in (*OUTPUTS.values(), RECORD):
                write_atomic(out / name, (folder / name).read_bytes())
    return json.loads((out / RECORD).read_bytes())


def _write(table: pd.DataFrame, path: Path) -> None:
    write_atomic(path, table.to_csv(index=False, float_format="%.6g").encode())
