"""The sizes of a generator, read from its weights: public checkpoints do not state them.

It stands here and not in ``masksr.models``: the networks know nothing of ``params.yaml``, and code that cannot change
what a training computes must not change the key of finished trainings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import inf, isqrt, prod
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from torch import Tensor

from masksr.errors import MasksrError
from masksr.params import RRDB, EDSRSize, PESRSize

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
    or PESR's key names, as ``masksr.models.read_weights`` gives them).

    origin: where the weights came from, as an error begins. res_scale: the factor of the residual blocks of EDSR and
    PESR, which is not in the weights. Without it: 0.1 for a PESR and for an EDSR of 256 channels, 1.0 for an EDSR of 64
    (EDSR-PyTorch's baselines).

    The scale may be one that the network here does not have (ESRGAN x2). Raises MasksrError that names the missing keys
    and says whose keys they look like, where the weights are of another network; and where the res_scale of an EDSR is
    anyone's guess, is not positive, or is given for an ESRGAN, which has none to set.
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
