"""Checkpoints that survive a killed process, a full disk and a flipped bit.

A checkpoint is written beside its final name, flushed and renamed, with its sha256 in that name: what bears one is
whole. The last two are kept, so a damaged one costs the steps since the one before.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import torch

from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.locks import remove_unclaimed

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")
_KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Add the checkpoint of ``step`` to ``folder`` and drop all but the newest two.

    state: tensors, numbers, text and containers of them (it is read back with ``weights_only``).
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:08d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    remove_unclaimed(folder, ".step-*.partial")  # of other steps; who was killed once may be killed often
    write_atomic(path, content)
    for old in _found(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_last(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest whole checkpoint of ``folder``, or None. A damaged one is named and set aside for the one before.

    Raises MasksrError for one that cannot be read at all: that may be a disk's passing mood, and it holds days of work.
    """
    for path in reversed(_found(folder)):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MasksrError(
                f"{path} cannot be read ({error.strerror or error}); try again, or remove it to go on from the "
                "checkpoint before it"
            ) from None
        if hashlib.sha256(content).hexdigest()[:16] == _NAME.fullmatch(path.name)[2]:
            return _loaded(path, content, device)
        print(f"{path.name} is damaged (its sha256 differs from its name); using the checkpoint before it", flush=True)
        path.replace(path.with_suffix(".damaged"))
    return None


def _loaded(path: Path, content: bytes, device: torch.device) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a pickle fails in a dozen ways
        raise MasksrError(
            f"{path} is whole, but no checkpoint that this torch reads ({type(error).__name__}); remove it to go on "
            "from the one before it"
        ) from None
    if not isinstance(state, dict):
        raise MasksrError(f"{path} is no checkpoint of a training; remove it to go on from the one before it")
    return state


def _found(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("step-*.pt") if _NAME.fullmatch(p.name)), key=lambda p: p.name)
