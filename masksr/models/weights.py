"""Weights on disk: read public checkpoints, write safetensors."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.files import write_atomic

LARGEST = 1 << 31  # bytes of a file; the largest public checkpoint here, VGG19 with its classifier, has 0.6 GB
MOST = 10_000  # tensors; an RRDBNet of 23 blocks has 702
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
    check_fit(network, weights, origin)
    network.load_state_dict(weights)


def check_fit(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Raises MasksrError as ``load_state`` would. The network may be on the device ``meta``, which takes no memory."""
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


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pth`` or ``.pt`` file, on the CPU.

    Takes it out of the usual containers (``params_ema`` before ``params``, ``state_dict``, ``model``) and gives the
    RRDBNet of ESRGAN's own repository BasicSR's key names. Never unpickles code; what is read takes no more memory than
    the file has bytes. Raises MasksrError where the file is missing, cannot be read or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise MasksrError(f"there are no weights at {path}: no such file")
    if (size := path.stat().st_size) > LARGEST:
        raise MasksrError(f"{path} has {size / 1e9:.1f} GB; checkpoints of up to {LARGEST / 1e9:.1f} GB are read")
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            _check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each fail in their own way
        raise MasksrError(
            f"{path} cannot be read as weights ({type(error).__name__}); it may be cut short or hold more than "
            "tensors. Get it again, or save its state dict alone"
        ) from error
    for _ in CONTAINERS:  # no deeper: a pickle may hold itself
        if isinstance(content, Mapping) and (inner := [content[c] for c in CONTAINERS if c in content]):
            content = inner[0]
    if not isinstance(content, Mapping) or not all(isinstance(k, str) and _is_plain(v) for k, v in content.items()):
        raise MasksrError(f"{path} holds no state dict (names and tensors); save network.state_dict()")
    if len(content) > MOST or sum(map(_nbytes, content.values())) > 2 * size:  # views of one storage could be many
        raise MasksrError(f"{path} holds more than a network: {len(content)} tensors; save network.state_dict()")
    if any(key.startswith(("RRDB_trunk.", "model.1.sub.")) for key in content):
        return {_basicsr_name(key): value for key, value in content.items()}
    return dict(content)


def _check_archive(path: Path) -> None:
    """Raises ValueError for a zip that is larger inside than outside: torch's writer does not compress."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":  # torch's format before 1.6
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    inside = sum(member.file_size for member in members)
    if inside > path.stat().st_size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("compressed")


def _is_plain(value: object) -> bool:
    """Whether this is a dense tensor of real numbers that has all its elements in memory."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_complex()
        and _nbytes(value) <= value.untyped_storage().nbytes()
    )


def _nbytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


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
