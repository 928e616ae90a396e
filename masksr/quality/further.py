"""Further measures of pictures, such as LPIPS and DISTS: pyiqa computes them, with weights that it downloads.

They look at what PI looks at, the picture without its border, but in colour: RGB in [0, 1], float32, one at a
time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from masksr.io import MasksrError
from masksr.quality import measures
from masksr.quality.filters import Image, cut_border

CPU = torch.device("cpu")
# Under MASKSR_OFFLINE: nothing listens at that proxy, and huggingface_hub would try again and again.
DEAD = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
NO_NETWORK = DEAD | {"no_proxy": "127.0.0.1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Measure:
    """One of pyiqa's measures, ready to be taken."""

    name: str
    network: nn.Module
    device: torch.device

    @property
    def compares(self) -> bool:
        """Whether it wants the HR picture too."""
        return measures.known()[self.name].compares

    def __call__(self, image: Image, reference: Image | None = None) -> tuple[float, str | None]:
        """Measure a picture (H, W, 3) uint8, beside its HR picture where it ``compares``; or NaN and why.

        The same on every call, also of random crops.
        """
        tensors = [_to_tensor(picture) for picture in ((image, reference) if self.compares else (image,))]
        seeded = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        try:
            # Not through pyiqa's own call: it allows TF32, which rounds what a convolution sees to 10 bits.
            with torch.no_grad(), seeded:
                torch.manual_seed(0)
                np.random.seed(0)  # pyiqa's random crops
                return float(self.network(*(tensor.to(self.device) for tensor in tensors))), None
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # such as a picture too small
            return float("nan"), f"{self.name}: {_one_line(error)}"


def load(names: Sequence[str], device: torch.device = CPU) -> list[Measure]:
    """Load the measures of these names, with the weights that pyiqa has in its caches or downloads.

    device: they are taken on cuda or, as all else in a table of scores, on the CPU. Raises MasksrError for a
    name that ``measures.check`` refuses, and where weights cannot be had.
    """
    measures.check(names)
    if os.environ.get("MASKSR_OFFLINE", "") not in ("", "0"):
        os.environ.update(NO_NETWORK)
    loaded, device = [], device if device.type == "cuda" else CPU
    for name in names:
        try:
            import pyiqa  # here: it takes seconds

            loaded.append(Measure(name, pyiqa.create_metric(name, device=device).net, device))
        except Exception as error:  # torch.hub, huggingface_hub and timm print which file, and share no base
            hint = f"bring its weights there by hand, or take {name} out of measures.also (--also)"
            raise MasksrError(f"the measure {name} cannot be had ({_one_line(error)}); {hint}") from None
    return loaded


def _to_tensor(image: Image) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H - 8, W - 8) in [0, 1]."""
    inner = np.ascontiguousarray(cut_border(image).transpose(2, 0, 1))
    return torch.from_numpy(inner)[None].float() / 255


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
