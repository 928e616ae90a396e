"""From ``params.yaml`` to networks, from networks to files of weights, and back.

Public checkpoints are read with the key names of their own code; what is trained here is written as
safetensors, which also says which network it is for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from math import inf, isqrt, prod
from pathlib import Path
from typing import Any, Literal, TypeVar

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import RRDB, Discriminator, EDSRSize, PESRSize

GeneratorSize = RRDB | EDSRSize | PESRSize

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


# Networks with seeded random weights.


def seed_for(seed: int, purpose: str) -> int:
    """An independent seed for each use of a training's seed, so that adding one use does not shift the others."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big") & 0x7FFFFFFF


def build_generator(size: GeneratorSize, scale: int, seed: int) -> nn.Module:
    """A generator with seeded random weights; leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match size:
            case RRDB():
                return RRDBNet(size.num_feat, size.num_block, size.num_grow_ch, scale)
            case EDSRSize():
                return EDSR(size.n_resblocks, size.n_feats, size.res_scale, scale)
            case PESRSize():
                return PESR(size.depth, size.num_channels, size.res_scale)
    raise TypeError(f"no generator is described by {type(size).__name__}")


def build_discriminator(kind: Discriminator, input_size: int, seed: int) -> nn.Module:
    """A discriminator for HR patches of ``input_size`` pixels, with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VGGStyleDiscriminator if kind.architecture == "vggstyle" else SRGANDiscriminator
        return network(kind.num_feat, input_size)


# Weights on disk.


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a ``.safetensors``, ``.pth`` or ``.pt`` file into ``network``, strictly.

    Raises MasksrError, and leaves ``network`` as it was, where the file is missing, cannot be read or does
    not fit; the message names the file and the keys.
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

    Takes it out of the usual containers (``params_ema`` before ``params``, ``state_dict``, ``model``) and
    gives the RRDBNet of ESRGAN's own repository BasicSR's key names. Never unpickles code. Raises MasksrError
    where the file is missing, cannot be read or holds something else.
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
    for _ in CONTAINERS:  # one may hold another
        if isinstance(content, Mapping) and (inner := [content[c] for c in CONTAINERS if c in content]):
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


def transfer_body(source: nn.Module | Mapping[str, Tensor], target: nn.Module) -> None:
    """Copy everything but the tail from ``source`` (a network or its state dict) into ``target``.

    That is how EDSR goes from x2 to x4: ``target`` keeps the fresh tail it was made with. Raises MasksrError,
    and leaves ``target`` as it was, where the two differ outside the tail or ``target`` has no tail (RRDBNet,
    PESR).
    """
    tail = {key: value for key, value in target.state_dict().items() if key.startswith("tail.")}
    if not tail:
        name = type(target).__name__
        raise MasksrError(f"{name} has no tail to exchange and so keeps its scale; only EDSR starts from another scale")
    weights = source.state_dict() if isinstance(source, nn.Module) else source
    body = {key: value for key, value in weights.items() if not key.startswith("tail.")}
    load_state(target, body | tail, "the network to start from")


# Generators with their sizes.


def save_generator(generator: nn.Module, size: GeneratorSize, path: Path) -> None:
    """Write a safetensors file under the public key names that also says which network it is for."""
    save_weights(generator, path, {"generator": size.model_dump_json(), "scale": str(generator.scale)})


def load_generator(path: Path) -> nn.Module:
    """The network that ``save_generator`` wrote, in evaluation mode. Raises MasksrError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise MasksrError(
            f"{path}: cannot be read as safetensors ({error}); run `dvc repro` to make it again"
        ) from None
    if "generator" not in metadata:
        raise MasksrError(f"{path}: does not say which network it is for; it was not written by masksr")
    try:
        size = TypeAdapter(GeneratorSize).validate_json(metadata["generator"])
        scale = {"2": 2, "3": 3, "4": 4}[metadata["scale"]]
    except (ValidationError, KeyError):
        raise MasksrError(f"{path}: names no network that is known here; run `dvc repro` to make it again") from None
    return generator_with(read_weights(path), size, scale, str(path))


def generator_with(weights: Mapping[str, Tensor], size: GeneratorSize, scale: int, origin: str) -> nn.Module:
    """The generator of these sizes with these weights, in evaluation mode.

    origin: where both came from, as an error begins. Raises MasksrError where they do not belong together.
    """
    generator = build_generator(size, scale, seed=0)
    load_state(generator, weights, origin)
    return generator.eval()


# The sizes of a generator, read from its weights: public checkpoints do not state them.

Architecture = Literal["rrdb", "edsr", "pesr"]
Shapes = Mapping[str, tuple[int, ...]]
Size = TypeVar("Size", RRDB, EDSRSize, PESRSize)

NAMES: dict[Architecture, str] = {"rrdb": "an ESRGAN (RRDBNet)", "edsr": "an EDSR", "pesr": "a PESR"}
MODELS: dict[str, Architecture] = {"esrgan": "rrdb", "pesr": "pesr", "edsr": "edsr"}  # as --model calls them
_NEEDED: dict[Architecture, tuple[str, ...]] = {  # what the sizes are read from; no other network has all of them
    "rrdb": ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight"),
    "edsr": ("head.0.weight", "body.0.body.0.weight", "tail.1.weight"),
    "pesr": ("embed.weight", "body.0.body.0.weight", "upsample.0.weight"),
}
_OTHERS = {  # the beginning of a key that tells files that are often mistaken for these generators -> what to do
    "module.": "a network in DataParallel; save network.module.state_dict() instead",
    "conv_after_body.": "BasicSR's EDSR; use the file of EDSR-PyTorch",
    "conv0_0.": "ESRGAN's discriminator; use the generator's file",
    "features.0.0.": "SRGAN's discriminator; use the generator's file",
    "features.": "a VGG, which is no generator",
}
_SCALE_OF_PLANES = {3: 4, 12: 2, 48: 1}  # RRDBNet always enlarges by 4; below that, LR pixels are folded into channels
_EDSR_RES_SCALE = {256: 0.1, 64: 1.0}  # EDSR-PyTorch: the full models, by the README's command; the baselines
_PESR_RES_SCALE = 0.1  # the default of PESR's train.py


def infer_size(
    weights: Mapping[str, Tensor], architecture: Architecture, origin: str, *, res_scale: float | None = None
) -> tuple[RRDB | EDSRSize | PESRSize, int]:
    """The sizes and the scale of a generator, from the names and shapes in its state dict (in BasicSR's, EDSR-PyTorch's
    or PESR's key names, as ``read_weights`` gives them).

    origin: where the weights came from, as an error begins. res_scale: the factor of the residual blocks of
    EDSR and PESR, which is not in the weights. Without it: 0.1 for a PESR and for an EDSR of 256 channels,
    1.0 for an EDSR of 64 (EDSR-PyTorch's baselines).

    The scale may be one that the network here does not have (ESRGAN x2). Raises MasksrError that names the
    missing keys and says whose keys they look like, where the weights are of another network; and where the
    res_scale of an EDSR is anyone's guess, is not positive, or is given for an ESRGAN, which has none to set.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items() if value.ndim == 4 and value.numel()}
    if missing := [key for key in _NEEDED[architecture] if key not in shapes]:
        have = ", ".join(missing)
        raise MasksrError(f"{origin} does not hold {NAMES[architecture]}: it has no {have}. {_looks_like(weights)}")
    if res_scale is not None and architecture == "rrdb":
        raise MasksrError(f"{origin}: the residual factor of an ESRGAN is always 0.2; leave out --res-scale")
    if res_scale is not None and not 0 < res_scale < inf:
        raise MasksrError(f"--res-scale must be a positive number, not {res_scale}")
    if architecture == "rrdb":
        channels, planes = shapes["conv_first.weight"][:2]
        if planes not in _SCALE_OF_PLANES:
            raise MasksrError(f"{origin}: conv_first takes {planes} channels; only networks for RGB images are read")
        blocks, growth = _count(r"body\.\d+\.rdb1\.conv1", shapes), shapes["body.0.rdb1.conv1.weight"][0]
        size = _size(RRDB, origin, architecture="rrdb", num_feat=channels, num_block=blocks, num_grow_ch=growth)
        return size, _SCALE_OF_PLANES[planes]
    blocks = _count(r"body\.\d+\.body\.0", shapes)
    if architecture == "pesr":
        channels = shapes["embed.weight"][0]
        factor = _PESR_RES_SCALE if res_scale is None else float(res_scale)
        *steps, _ = _numbered("upsample", shapes)  # the last one leads to RGB
        size = _size(PESRSize, origin, architecture="pesr", depth=blocks, num_channels=channels, res_scale=factor)
        return size, _scale(steps)
    channels = shapes["head.0.weight"][0]
    factor = _EDSR_RES_SCALE.get(channels) if res_scale is None else float(res_scale)
    if factor is None:
        raise MasksrError(
            f"{origin}: an EDSR of {channels} channels; the factor of its residual blocks (res_scale) is not in the "
            "file, and known only for the published 256 (0.1) and 64 channels (1.0). Give it with --res-scale"
        )
    size = _size(EDSRSize, origin, architecture="edsr", n_resblocks=blocks, n_feats=channels, res_scale=factor)
    return size, _scale(_numbered(r"tail\.0", shapes))


def _size(kind: type[Size], origin: str, **values: Any) -> Size:
    try:
        return kind(**values)
    except ValidationError as error:
        what = error.errors()[0]
        raise MasksrError(f"{origin}: no network here has {what['loc'][0]} {what['input']} ({what['msg']})") from None


def _count(pattern: str, shapes: Shapes) -> int:
    """How many weights have such a name. Where a number is left out, loading will name the keys."""
    return sum(re.fullmatch(pattern + r"\.weight", key) is not None for key in shapes)


def _numbered(name: str, shapes: Shapes) -> list[tuple[int, ...]]:
    """The shapes of ``name.0.weight``, ``name.2.weight``, ... in the order of their numbers."""
    pattern = re.compile(rf"{name}\.([0-9]{{1,3}})\.weight")
    numbers = {match[1]: shape for key, shape in shapes.items() if (match := pattern.fullmatch(key))}
    return [numbers[number] for number in sorted(numbers, key=int)]


def _scale(steps: Iterable[tuple[int, ...]]) -> int:
    """Each sub-pixel convolution makes s * s times the channels it takes, for s times the height and the width."""
    return prod(isqrt(made // taken) for made, taken, *_ in steps)


def _looks_like(weights: Mapping[str, Tensor]) -> str:
    for model, architecture in MODELS.items():
        if all(key in weights for key in _NEEDED[architecture]):
            return f"These are the keys of {NAMES[architecture]}; use --model {model}"
    for beginning, what in _OTHERS.items():
        if any(key.startswith(beginning) for key in weights):
            return f"These are the keys of {what}"
    first = ", ".join(sorted(weights)[:3]) or "none at all"
    return f"Its keys ({first}, ...) are of no network that is known here; use an ESRGAN, an EDSR or a PESR"
