"""Further measures of pictures, such as LPIPS and DISTS: pyiqa computes them, with weights that it downloads.

They look at what PI looks at, the picture without its border, but in colour: RGB in [0, 1], float32, one at a
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.quality import measures
from masksr.quality.filters import BORDER, Image, check_image

CPU = torch.device("cpu")
# Under MASKSR_OFFLINE: huggingface_hub would try again and again, and nothing listens at that proxy.
PROXY = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
NO_NETWORK = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "no_proxy": ""} | PROXY


@dataclass(frozen=True)
class Measure:
    """One of pyiqa's measures, ready to be taken."""

    name: str
    network: nn.Module
    device: torch.device
    digest: str | None  # sha256 of its parameters and buffers, as pyiqa loaded them; None: it has none

    @property
    def compares(self) -> bool:
        """Whether it wants the HR picture too."""
        return measures.known()[self.name].compares

    def __call__(self, image: Image, reference: Image | None = None) -> tuple[float, str | None]:
        """Measure a picture (H, W, 3) uint8, beside its HR picture where it ``compares``; or NaN and why.

        The same on every call, also of random crops. Where the GPU is too small, the CPU measures.
        """
        wanted = (image, reference) if self.compares else (image,)
        tensors = [_to_tensor(picture) for picture in wanted]
        try:
            try:
                return self._measure(tensors, self.device), None
            except torch.OutOfMemoryError:
                return self._measure(tensors, CPU), None
        # Such as for a picture that is too small for the measure.
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            return float("nan"), f"{self.name}: {_one_line(error)}"

    def _measure(self, tensors: list[Tensor], device: torch.device) -> float:
        # Not through pyiqa's own call: it allows TF32, which rounds what a convolution sees to 10 bits.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        seeded = torch.random.fork_rng([device] if device.type == "cuda" else [])
        state = np.random.get_state()  # pyiqa's random crops come from numpy's own generator
        with exact, torch.no_grad(), seeded, contextlib.redirect_stdout(io.StringIO()):
            torch.manual_seed(0)
            np.random.seed(0)
            try:
                return float(self.network.to(device)(*(tensor.to(device) for tensor in tensors)))
            finally:
                np.random.set_state(state)


def load(names: Sequence[str], device: torch.device = CPU) -> list[Measure]:
    """Load the measures of these names, with the weights that pyiqa has in its caches or downloads.

    device: they are taken on cuda or, as all else in a table of scores, on the CPU. Raises MasksrError for a
    name that ``measures.check`` refuses, and where weights cannot be had: it says which, and where they go.
    """
    measures.check(names)
    return [_load(name, device if device.type == "cuda" else CPU) for name in names]


def _load(name: str, device: torch.device) -> Measure:
    offline = os.environ.get("MASKSR_OFFLINE", "") not in ("", "0")
    printed = io.StringIO()
    with mock.patch.dict(os.environ, NO_NETWORK if offline else {}), contextlib.redirect_stdout(printed):
        try:
            import pyiqa  # here: it takes seconds

            network = pyiqa.create_metric(name, device=device).net
        except Exception as error:  # torch.hub, huggingface_hub and timm have no common base
            raise MasksrError(_explain(name, error, printed.getvalue(), offline)) from None
    total, state = hashlib.sha256(), network.state_dict()
    for key, tensor in state.items():
        total.update(key.encode() + b"\0" + tensor.detach().cpu().float().numpy().tobytes())
    return Measure(name, network, device, total.hexdigest() if state else None)


def _explain(name: str, error: BaseException, printed: str, offline: bool) -> str:
    """Name the missing file in one line: torch.hub and pyiqa print it, a model hub's first error names it."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    files = [line for line in printed.splitlines() if line.startswith("Downloading: ")]  # "URL" to PATH
    what = f"needs {files[-1].removeprefix('Downloading: ')}" if files else "cannot be made"
    hint = "MASKSR_OFFLINE is set: unset it" if offline else "try again later"
    by_hand = ", bring the file there by hand" if files else ""
    hint += f"{by_hand}, or take {name} out of measures.also (--also)"
    return f"the measure {name} {what} ({_one_line(error)}); {hint}"


def _to_tensor(image: Image | None) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H - 8, W - 8) in [0, 1]. TypeError for None or another type."""
    check_image(image)  # type: ignore[arg-type]
    inner = np.ascontiguousarray(image[BORDER:-BORDER, BORDER:-BORDER].transpose(2, 0, 1))
    return torch.from_numpy(inner)[None].float() / 255


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
