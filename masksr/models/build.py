"""From ``params.yaml`` to networks, from networks to files of weights, and back.

Public checkpoints are read with the key names of their own code; what is trained here is written as
safetensors, which also record the network they are for.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from textwrap import shorten
from typing import Literal

import safetensors.torch
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from masksr.io import MasksrError, file_digest, write_atomic
from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import RRDB, Discriminator, EDSRSize, PESRSize

GeneratorSize = RRDB | EDSRSize | PESRSize

CONTAINERS = ("params_ema", "params", "state_dict", "model")  # BasicSR's two, and what others wrap weights in
ESRGAN_NAMES = {  # RRDBNet's keys in the two releases of ESRGAN's own repository -> BasicSR's
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


# ---- Networks with seeded random weights -------------------------------------------------------------------
def seed_for(seed: int, purpose: str) -> int:
    """Derive an independent seed for each use of a training's seed: a new use does not shift the others."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big") & 0x7FFFFFFF


def build_generator(size: GeneratorSize, scale: int, seed: int) -> nn.Module:
    """Build a generator with seeded random weights; leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match size:
            case RRDB():
                return RRDBNet(size.num_feat, size.num_block, size.num_grow_ch)
            case EDSRSize():
                return EDSR(size.n_resblocks, size.n_feats, size.res_scale, scale)
            case PESRSize():
                return PESR(size.depth, size.num_channels, size.res_scale)


def build_discriminator(kind: Discriminator, input_size: int, seed: int) -> nn.Module:
    """Build a discriminator for HR patches of ``input_size`` pixels, with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VGGStyleDiscriminator if kind.architecture == "vggstyle" else SRGANDiscriminator
        return network(kind.num_feat, input_size)


# ---- Weights on disk ---------------------------------------------------------------------------------------
def load_state(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Call ``network.load_state_dict``, strictly, with an error that a user can act on.

    origin: what the weights are or where they came from, to begin the message with.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problem = "; ".join(shorten(line, 150) for line in str(error).splitlines()[1:4])
        hint = "Check that it holds this network, made with the same sizes"
        raise MasksrError(f"{origin} does not fit {type(network).__name__}: {problem}. {hint}") from None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict from a file of safetensors or ``torch.save``, whatever its name, to the CPU.

    Takes it out of the usual containers (``params_ema`` before ``params``, ``state_dict``, ``model``), strips
    the prefixes of DataParallel and torch.compile, and gives the RRDBNet of ESRGAN's own repository BasicSR's
    key names. Never unpickles code. Raises MasksrError where the file is missing, cannot be read or holds
    something else, and where the training.json beside a generator.safetensors has another checksum.
    """
    path = Path(path)
    if not path.is_file():
        raise MasksrError(f"there are no weights at {path}: no such file")
    record = path.with_name("training.json")
    ours = path.name == "generator.safetensors" and record.is_file()
    if ours and json.loads(record.read_bytes())["weights"] != file_digest(path):
        raise MasksrError(f"{path}: damaged (not the sha256 in {record.name}); remove it, then dvc checkout")
    try:
        if is_safetensors(path):
            content = safetensors.torch.load_file(path)
        else:
            with path.open("rb") as file:  # given a path, torch would judge the content by its suffix
                content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each fail in their own way
        raise MasksrError(
            f"{path} cannot be read as weights ({type(error).__name__}); it may be cut short or hold more "
            "than tensors. Get it again, or save its state dict alone"
        ) from error
    for _ in CONTAINERS:  # they may be nested
        if isinstance(content, Mapping) and (inner := [content[c] for c in CONTAINERS if c in content]):
            content = inner[0]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MasksrError(f"{path} holds no state dict (names and tensors); save network.state_dict()")
    weights = {key.replace("_orig_mod.", "").removeprefix("module."): content[key] for key in content}
    if any(key.startswith(("RRDB_trunk.", "model.1.sub.")) for key in weights):
        for theirs, ours in ESRGAN_NAMES.items():
            weights = {re.sub(f"^{theirs}", ours, key): value for key, value in weights.items()}
    return weights


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like safetensors: the length of a header, then the header, a JSON map."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def save_weights(
    weights: nn.Module | Mapping[str, Tensor], path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a network's weights, or a state dict, as safetensors; the file is there whole or not at all.

    metadata: text for the file's header. Equal weights give equal bytes if it has one entry, but not if it
    has several, whose order is random.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    write_atomic(path, safetensors.torch.save(state, metadata))


# ---- Generators with their sizes ---------------------------------------------------------------------------
def save_generator(generator: nn.Module, size: GeneratorSize, path: Path) -> None:
    """Write an x4 generator as safetensors with the public key names, and its sizes in the header."""
    save_weights(generator, path, {"generator": size.model_dump_json()})


def load_generator(path: Path) -> nn.Module:
    """Load the x4 network that ``save_generator`` wrote, in evaluation mode; MasksrError for other files."""
    try:
        with safe_open(path, framework="pt") as file:
            size = TypeAdapter(GeneratorSize).validate_json(file.metadata()["generator"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:  # pydantic's is a ValueError
        raise MasksrError(f"{path}: no generator of masksr ({type(error).__name__}: {error})") from None
    return generator_with(read_weights(path), size, 4, str(path))


def generator_with(weights: Mapping[str, Tensor], size: GeneratorSize, scale: int, origin: str) -> nn.Module:
    """Build the generator of these sizes with these weights, in evaluation mode.

    origin: where both came from, to begin an error with. Raises MasksrError where they do not fit together.
    """
    generator = build_generator(size, scale, seed=0)
    load_state(generator, weights, origin)
    return generator.eval()


# The sizes of a generator, read from its weights: public checkpoints do not state them.

Architecture = Literal["rrdb", "edsr", "pesr"]

NAMES: dict[Architecture, str] = {"rrdb": "an ESRGAN (RRDBNet)", "edsr": "an EDSR", "pesr": "a PESR"}
MODELS: dict[str, Architecture] = {"esrgan": "rrdb", "pesr": "pesr", "edsr": "edsr"}  # as --model calls them
_NEEDED: dict[Architecture, set[str]] = {  # what the sizes are read from; no other network has all of them
    "rrdb": {"conv_first", "body.0.rdb1.conv1", "conv_last"},
    "edsr": {"head.0", "body.0.body.0", "tail.0.0", "tail.1"},
    "pesr": {"embed", "body.0.body.0", "upsample.0"},
}
_EDSR_RES_SCALE = {256: 0.1, 64: 1.0}  # EDSR-PyTorch: the full models, by the README's command; the baselines
_PESR_RES_SCALE = 0.1  # the default of PESR's train.py


def infer_size(
    weights: Mapping[str, Tensor], architecture: Architecture, origin: str, *, res_scale: float | None = None
) -> tuple[GeneratorSize, int]:
    """Infer a generator's sizes and scale from the names and shapes in its state dict.

    origin: where the weights came from, to begin an error with. res_scale: the factor of the residual blocks
    of EDSR and PESR, which is not in the weights. By default 0.1 for a PESR and for an EDSR of 256 channels,
    1.0 for an EDSR of 64 (EDSR-PyTorch's baselines).

    Raises MasksrError that names what is missing where the weights belong to another network; also where the
    res_scale of an EDSR cannot be guessed, or one is given for an ESRGAN, which has none to set.
    """
    shapes = {key.removesuffix(".weight"): tuple(t.shape) for key, t in weights.items() if t.ndim == 4}
    if missing := _NEEDED[architecture] - shapes.keys():
        fitting = [model for model, other in MODELS.items() if _NEEDED[other] <= shapes.keys()]
        hint = f"; use --model {fitting[0]}" if fitting else ""
        have = ", ".join(f"{layer}.weight" for layer in sorted(missing))
        raise MasksrError(f"{origin} does not hold {NAMES[architecture]}: it has no {have}{hint}")
    if res_scale is not None and architecture == "rrdb":
        raise MasksrError(f"{origin}: that of an ESRGAN is always 0.2; leave out --res-scale")

    def count(pattern: str) -> int:  # if numbers have a gap, loading will name the keys
        return sum(re.fullmatch(pattern, layer) is not None for layer in shapes)

    if architecture == "rrdb":
        channels, growth = shapes["conv_first"][0], shapes["body.0.rdb1.conv1"][0]
        blocks = count(r"body\.\d+\.rdb1\.conv1")
        return RRDB(architecture="rrdb", num_feat=channels, num_block=blocks, num_grow_ch=growth), 4
    blocks = count(r"body\.\d+\.body\.0")
    if architecture == "pesr":
        factor = _PESR_RES_SCALE if res_scale is None else res_scale
        size = PESRSize(architecture="pesr", depth=blocks, num_channels=shapes["embed"][0], res_scale=factor)
        return size, 4
    channels = shapes["head.0"][0]
    factor = _EDSR_RES_SCALE.get(channels) if res_scale is None else res_scale
    if factor is None:
        raise MasksrError(
            f"{origin}: an EDSR of {channels} channels; the factor of its residual blocks (res_scale) is not "
            "in the file, and known only for the published 256 (0.1) and 64 (1.0). Give it with --res-scale"
        )
    size = EDSRSize(architecture="edsr", n_resblocks=blocks, n_feats=channels, res_scale=factor)
    made, taken = shapes["tail.0.0"][:2]  # a sub-pixel convolution makes s * s times the channels it takes
    return size, 4 if "tail.0.2" in shapes else isqrt(made // taken)
