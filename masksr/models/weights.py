"""Weights on disk: read public checkpoints, write safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.files import write_atomic

CONTAINERS = ("params_ema", "params", "state_dict", "model")  # BasicSR's two, and what others wrap a state dict in
ESRGAN_NAMES = {  # of RRDBNet in the two releases of ESRGAN's own repository -> BasicSR's
    r"RRDB_trunk\.(\d+)\.RDB(\d)\.": r"body.\1.rdb\2.",
    r"trunk_conv\.": "conv_body.",
    r"upconv(\d)\.": r"conv_up\1.",
    r"HRconv\.": "conv_hr.",
    r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": r"body.\1.rdb\2.conv\3.",  # of the first, "old_arch"
    r"model\.1\.sub\.\d+\.": "conv_body.",
    r"model\.0\.": "conv_first.",
    r"model\.3\.": "conv_up1.",
    r"model\.6\.": "conv_up2.",
    r"model\.8\.": "conv_hr.",
    r"model\.10\.": "conv_last.",
}


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a ``.safetensors``, ``.pth`` or ``.pt`` file into ``network``, strictly.

    Raises MasksrError, and leaves ``network`` as it was, where the file is missing, cannot be read or does not fit;
    the message names the file and the keys.
    """
    load_state(network, read_weights(path), str(path))


def load_state(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """``network.load_state_dict``, strict and all or nothing, with an error a user can act on.

    origin: what the weights are or where they came from, as the message begins.
    """
    own = network.state_dict()
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(sorted(keys)[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", own.keys() - weights.keys()),
            ("unexpected", weights.keys() - own.keys()),
            ("of another shape", shapes),
        )
        if keys
    ]
    if problems:
        raise MasksrError(
            f"{origin} does not fit {type(network).__name__}: {'; '.join(problems)}. "
            "Check that it holds this network, made with the same sizes"
        )
    network.load_state_dict(weights)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pth`` or ``.pt`` file, on the CPU.

    Takes it out of the usual containers (``params_ema`` before ``params``, ``state_dict``, ``model``) and gives the
    RRDBNet of ESRGAN's own repository BasicSR's key names. Never unpickles code. Raises MasksrError where the file is
    missing, cannot be read or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise MasksrError(f"there are no weights at {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each fail in their own way
        raise MasksrError(
            f"{path} cannot be read as weights ({type(error).__name__}); it may be cut short or hold more than "
            "tensors. Get it again, or save its state dict alone"
        ) from error
    while isinstance(content, Mapping) and (inner := [content[c] for c in CONTAINERS if c in content]):
        content = inner[0]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MasksrError(f"{path} holds no state dict (names and tensors); save network.state_dict()")
    if any(key.startswith(("RRDB_trunk.", "model.1.sub.")) for key in content):
        return {_basicsr_name(key): value for key, value in content.items()}
    return dict(content)


def save_weights(
    weights: nn.Module | Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network's weights, or a state dict, as safetensors; the file is there whole or not at all.

    The same weights and metadata give the same bytes. ``metadata``: text to text, kept in the file's header.
    Raises TypeError for metadata that is not text.
    """
    metadata = dict(sorted((metadata or {}).items()))
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise TypeError("metadata must map text to text")
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    blob = memoryview(safetensors.torch.save({key: t.detach().cpu().contiguous() for key, t in state.items()}))

    # safetensors writes metadata in random order; the header is rewritten so that equal content has an equal hash.
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(bytes(blob[8:start]))
    text = json.dumps({"__metadata__": metadata, **header} if metadata else header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes

    write_atomic(path, len(text).to_bytes(8, "little"), text, blob[start:])


def _basicsr_name(key: str) -> str:
    for theirs, ours in ESRGAN_NAMES.items():
        if match := re.match(theirs, key):
            return match.expand(ours) + key[match.end() :]
    return key
