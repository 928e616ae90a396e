"""Every training once: a store of trainings by the hash of everything that determines their result.

A training belongs to its inputs, not to a stage: two stages with equal inputs share it, a killed one goes on where its
last checkpoint was, and a second process that wants the same one waits for the first.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import AcquireReturnProxy, FileLock, Timeout
from torch import nn

import masksr
from masksr import build
from masksr.files import file_digest, write_atomic
from masksr.loop import history_table

OUTPUTS = ("generator.safetensors", "history.csv", "training.json")
_CODE = (
    "losses.py",
    "mask.py",
    "steps.py",
    "loop.py",
    "state.py",
    "training.py",
    "patches.py",
    "supply.py",
    "build.py",
)
_CODE += ("devices.py", "validation.py", "models/*.py")

Work = Callable[[Path], tuple[nn.Module, list[dict[str, Any]]]]  # checkpoint folder -> generator, history


def code_digest() -> str:
    """sha256 of the modules that determine what a training computes."""
    digest = hashlib.sha256()
    folder = Path(masksr.__file__).parent
    for path in sorted(p for pattern in _CODE for p in folder.glob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def train_once(store: Path, inputs: dict[str, Any], size: build.GeneratorSize, work: Work, out: Path) -> dict[str, Any]:
    """Do ``work`` unless a training with equal ``inputs`` is already in ``store``; copy its files to ``out``.

    inputs: JSON-serialisable; the code and torch's version join them in the key. Returns what ``training.json`` says.
    """
    inputs = inputs | {"code": code_digest(), "torch": torch.__version__}
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:20]
    folder = store / key
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if _is_whole(folder):
            print(f"Already trained with exactly these inputs ({key}): taken from there.", flush=True)
        else:
            _train(folder, key, inputs, size, work)
        out.mkdir(parents=True, exist_ok=True)
        for name in OUTPUTS:
            write_atomic(out / name, (folder / name).read_bytes())
    return json.loads((out / "training.json").read_text())


def _train(folder: Path, key: str, inputs: dict[str, Any], size: build.GeneratorSize, work: Work) -> None:
    begun = time.time()
    checkpoints = folder / "checkpoints"
    generator, history = work(checkpoints)
    build.save_generator(generator, size, folder / "generator.safetensors")
    table = history_table(history) if history else pd.DataFrame(columns=["phase", "step"])
    write_atomic(folder / "history.csv", table.to_csv(index=False, float_format="%.6g").encode())
    record = {
        "key": key,
        "psnr": history[-1]["psnr"] if history else None,
        "seconds_since_last_start": round(time.time() - begun, 1),
        "weights": file_digest(folder / "generator.safetensors"),
        "inputs": inputs,
    }
    # Last, because its presence says that the training is finished.
    write_atomic(folder / "training.json", json.dumps(record, indent=2).encode())
    shutil.rmtree(checkpoints, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether a finished training lies in ``folder`` and its weights are still those it recorded."""
    if not all((folder / name).is_file() for name in OUTPUTS):
        return False
    recorded = json.loads((folder / "training.json").read_text())["weights"]
    if file_digest(folder / "generator.safetensors") == recorded:
        return True
    print(
        f"{folder / 'generator.safetensors'} is not what was recorded (its sha256 differs): trained again", flush=True
    )
    return False


def _locked(folder: Path) -> AcquireReturnProxy:
    lock = FileLock(folder / ".lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print("Another process is at this very training; waiting for it to finish.", flush=True)
        return lock.acquire()
