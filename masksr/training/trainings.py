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
from torch import nn

import masksr
from masksr.files import file_digest, write_atomic
from masksr.locks import alone
from masksr.models import build
from masksr.training.loop import history_table

OUTPUTS = ("generator.safetensors", "history.csv", "training.json")
_CODE = ("data/*.py", "models/*.py", "quality/fidelity.py", "quality/filters.py", "training/*.py")

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
    with alone(folder / ".lock", "this very training"):
        if _is_whole(folder, inputs):
            print(f"Already trained with exactly these inputs ({key}): taken from there.", flush=True)
        else:
            _train(folder, key, inputs, size, work)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for name in OUTPUTS:
            write_atomic(out / name, (folder / name).read_bytes())
    return json.loads((out / "training.json").read_text())


def _train(folder: Path, key: str, inputs: dict[str, Any], size: build.GeneratorSize, work: Work) -> None:
    begun = time.monotonic()  # a clock that nobody sets back
    generator, history = work(folder / "checkpoints")
    build.save_generator(generator, size, folder / "generator.safetensors")
    table = history_table(history) if history else pd.DataFrame(columns=["phase", "step"])
    write_atomic(folder / "history.csv", table.to_csv(index=False, float_format="%.6g").encode())
    record = {
        "key": key,
        "psnr": history[-1]["psnr"] if history else None,
        "seconds_since_last_start": round(time.monotonic() - begun, 1),
        "weights": file_digest(folder / "generator.safetensors"),
        "history": file_digest(folder / "history.csv"),
        "inputs": inputs,
    }
    # Last, because its presence says that the training is finished.
    write_atomic(folder / "training.json", json.dumps(record, indent=2).encode())


def _is_whole(folder: Path, inputs: dict[str, Any]) -> bool:
    """Whether a finished training lies in ``folder`` and its files are still those it recorded."""
    if not all((folder / name).is_file() for name in OUTPUTS):
        return False
    digests = {"weights": "generator.safetensors", "history": "history.csv"}
    try:
        record = json.loads((folder / "training.json").read_bytes())
        damaged = [] if record["inputs"] == json.loads(json.dumps(inputs)) else ["training.json"]
        digests = {name: record[key] for key, name in digests.items() if key in record}
        damaged += [name for name, digest in digests.items() if file_digest(folder / name) != digest]
    except (ValueError, LookupError, TypeError):
        damaged = ["training.json"]
    if damaged:
        print(f"{folder / damaged[0]} is not what was recorded (damaged or changed): trained again", flush=True)
    return not damaged
