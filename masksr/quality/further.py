"""Further measures of pictures, such as LPIPS and DISTS: pyiqa computes them, with weights that it downloads.

They look at what PI looks at, the picture without its border, but in colour: RGB in [0, 1], float32, one at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.fetch.download import offline
from masksr.quality import measures
from masksr.quality.luma import BORDER, check_image
from masksr.training.device import is_out_of_memory

Image = NDArray[np.uint8]
NO_NETWORK = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # huggingface_hub would try again and again
CPU = torch.device("cpu")


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
        """The value of a picture (H, W, 3) uint8, beside its HR picture where it ``compares``, or NaN and why.

        The same on every call, also where pyiqa draws random crops. Where the GPU is too small, the CPU measures.
        """
        tensors = [_tensor(picture) for picture in ((image, reference) if self.compares else (image,))]
        try:
            try:
                return self._taken(tensors, self.device), None
            except RuntimeError as error:
                if self.device == CPU or not is_out_of_memory(error):
                    raise
            return self._taken(tensors, CPU), None
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # such as for a picture too small
            return float("nan"), f"{self.name}: {_one_line(error)}"

    def _taken(self, tensors: list[Tensor], device: torch.device) -> float:
        # Not through pyiqa's own call: it allows TF32, which rounds what a convolution sees to 10 bits.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with exact, torch.no_grad(), _seeded(device), contextlib.redirect_stdout(io.StringIO()):
            return float(self.network.to(device)(*(tensor.to(device) for tensor in tensors)))


def load(names: Sequence[str], device: torch.device = CPU) -> list[Measure]:
    """The measures of these names, with the weights that pyiqa has in its caches or downloads.

    device: they are taken on cuda or, as all else in a table of scores, on the CPU. Raises MasksrError for a name that
    ``measures.check`` refuses, and where weights cannot be had: it says which, and where they go.
    """
    measures.check(names)
    return [_loaded(name, device if device.type == "cuda" else CPU) for name in names]


def _loaded(name: str, device: torch.device) -> Measure:
    with _network_or_not(), contextlib.redirect_stdout(io.StringIO()):  # it prints paths of this machine
        try:
            import pyiqa  # here: it takes seconds

            network = pyiqa.create_metric(name, device=device).net
        except Exception as error:  # torch.hub, huggingface_hub, timm and clip have their own, without a common base
            raise MasksrError(_explained(name, error)) from None
    total, state = hashlib.sha256(), network.state_dict()
    for key, tensor in state.items():
        total.update(key.encode() + b"\0" + tensor.detach().cpu().float().numpy().tobytes())
    return Measure(name, network, device, total.hexdigest() if state else None)


def _explained(name: str, error: Exception) -> str:
    """What a download was after stands in the frames that it failed in, not in its error."""
    why = "MASKSR_OFFLINE is set: unset it" if offline() else f"cannot be had ({_one_line(error)}): try again later"
    otherwise = f"({name} may need another file after it); or take {name} out of measures.also (--also)"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        seen = frame.f_locals
        if frame.f_code.co_name == "download_url_to_file":  # torch.hub's, through which pyiqa and torchvision go
            file = Path(seen["dst"])
            what = f"{file.name}, which is not in {file.parent}"
            return f"the measure {name} needs {what}, and {why}, or put {seen['url']} there by hand {otherwise}"
        if frame.f_code.co_name == "hf_hub_download":
            what = f"{seen['filename']} of {seen['repo_id']}, which is not in the cache of huggingface_hub"
            return f"the measure {name} needs {what}, and {why}, or bring that cache from elsewhere {otherwise}"
    return f"pyiqa cannot make the measure {name} ({_one_line(error)}); mend that, or take it out of measures.also"


@contextlib.contextmanager
def _network_or_not() -> Iterator[None]:
    """Where MASKSR_OFFLINE is set, nothing that pyiqa calls reaches the network; elsewhere nothing waits for ever."""
    patience, resolve = socket.getdefaulttimeout(), socket.getaddrinfo
    try:
        if offline():
            os.environ.update(dict.fromkeys(NO_NETWORK, "1"))
            socket.getaddrinfo = _refuse
        else:
            socket.setdefaulttimeout(30)  # seconds
        yield
    finally:
        socket.getaddrinfo = resolve
        socket.setdefaulttimeout(patience)


def _refuse(host: Any, *_: Any, **__: Any) -> Any:
    raise OSError(f"MASKSR_OFFLINE forbids {host}")


@contextlib.contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    state = np.random.get_state()  # pyiqa's random crops come from numpy's own generator
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            np.random.seed(0)
            yield
    finally:
        np.random.set_state(state)


def _tensor(image: Image | None) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H - 8, W - 8) in [0, 1]. Raises TypeError for what is no image, None too."""
    check_image(image)  # type: ignore[arg-type]
    inner = np.ascontiguousarray(image[BORDER:-BORDER, BORDER:-BORDER].transpose(2, 0, 1))
    return torch.from_numpy(inner)[None].float() / 255


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
