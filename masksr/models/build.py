"""From the entries of ``params.yaml`` to networks, and from a file of weights back to its network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.models import EDSR, PESR, RRDBNet, SRGANDiscriminator, VGGStyleDiscriminator, read_weights, save_weights
from masksr.models.weights import check_fit, load_state
from masksr.params import RRDB, Discriminator, EDSRSize, Mask, Model, PESRSize
from masksr.training.expected import ErrorNetwork

GeneratorSize = RRDB | EDSRSize | PESRSize


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


def networks_of_a_gan(model: Model, mask: Mask, generator: nn.Module, seed: int) -> list[nn.Module]:
    """What an adversarial training of ``generator`` trains: it, its discriminator, and what the mask itself learns."""
    side = generator.scale * model.lr_patch
    networks = [generator, build_discriminator(model.discriminator, side, seed_for(seed, "discriminator"))]
    if mask.kind == "expected":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "expected error"))
            networks.append(ErrorNetwork(3 if mask.per_channel else 1, scale=generator.scale))
    return networks


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
        raise MasksrError(f"{path}: says nonsense of its network; run `dvc repro` to make it again") from None
    return generator_with(read_weights(path), size, scale, str(path))


def generator_with(weights: Mapping[str, Tensor], size: GeneratorSize, scale: int, origin: str) -> nn.Module:
    """The generator of these sizes with these weights, in evaluation mode.

    origin: where both came from, as an error begins. Raises MasksrError, before sizes that nobody vouches for could
    take any memory, where they do not belong together.
    """
    with torch.device("meta"):
        check_fit(build_generator(size, scale, seed=0), weights, origin)
    generator = build_generator(size, scale, seed=0)
    load_state(generator, weights, origin)
    return generator.eval()
