"""The measures of a picture, their names and which way is better: the paper's, and further ones of pyiqa.

Importing pyiqa and torch takes seconds, and tables need only a name and a direction: until a measure is
taken, pyiqa's list alone is read. Further measures, such as LPIPS and DISTS, see what PI sees, the picture
without its border, but in colour: RGB in [0, 1], float32, one at a time.
"""

import importlib.util
import os
import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masksr.io import MasksrError
from masksr.params import suggest
from masksr.quality.filters import Image, cut_border

MEASURES = ["niqe", "ma", "pi", "psnr", "ssim", "rmse"]  # of every picture, by the protocol of PIRM 2018
HIGHER_IS_BETTER = {"ma", "psnr", "ssim"}
# For MASKSR_OFFLINE: nothing listens at that proxy, and huggingface_hub would otherwise retry repeatedly.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
NO_NETWORK |= {"no_proxy": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
NOT_OF_ONE_PICTURE = ("fid", "inception_score", "compare2score", "clipscore")  # they need sets, or a text


class Kind(NamedTuple):
    """A further measure: whether it compares with the HR picture, and which way is better."""

    compares: bool
    lower_is_better: bool


@cache
def known() -> dict[str, Kind]:
    """List the measures of the installed pyiqa by the names they have there."""
    package = Path(importlib.util.find_spec("pyiqa").origin).parent
    listed = runpy.run_path(str(package / "default_model_configs.py"))["DEFAULT_CONFIGS"].items()
    return {name: Kind(of.get("metric_mode") == "FR", of.get("lower_better", False)) for name, of in listed}


def check(names: Sequence[str], where: str = "params.yaml: measures.also") -> None:
    """Raise MasksrError for a name that pyiqa does not have or that cannot be a column of quality.csv."""
    for name in names:
        if name in MEASURES or names.count(name) > 1:
            raise MasksrError(f"{where}: {name} would be measured twice; leave it out")
        if name not in known():
            raise MasksrError(f"{where}: pyiqa has no measure {name!r}{suggest(name, known())}")
        if any(word in name for word in NOT_OF_ONE_PICTURE):
            raise MasksrError(f"{where}: {name} is not a measure of one picture; leave it out")


def lower_is_better(name: str) -> bool:
    """Return whether lower is better, for one of ``MEASURES`` or of pyiqa's."""
    return name not in HIGHER_IS_BETTER if name in MEASURES else known()[name].lower_is_better


def further_title(name: str) -> str:
    """Name one of pyiqa's measures as tables do, with an arrow to where better is: ``LPIPS ↓``."""
    return f"{name.upper() if name.isalpha() else name} {'↓' if lower_is_better(name) else '↑'}"


def half_label(name: str, weights: str) -> str:
    """Name ``NIQE`` or ``Ma`` plainly where the weights are ``official``, else as a stand-in."""
    return name if weights == "official" else f"{name} (stand-in)"


def pi_label(niqe_weights: str, ma_weights: str) -> str:
    """Name the index ``PI`` where both halves have ``official`` weights, else say which do not."""
    stand_ins = [half for half, kind in (("NIQE", niqe_weights), ("Ma", ma_weights)) if kind != "official"]
    return ["PI", f"PI (stand-in {''.join(stand_ins)})", "PI (stand-in)"][len(stand_ins)]


@dataclass(frozen=True)
class Measure:
    """One of pyiqa's measures, ready to be taken."""

    name: str
    network: Any  # nn.Module
    device: Any  # torch.device

    def __call__(self, image: Image, reference: Image | None = None) -> tuple[float, str | None]:
        """Measure a picture (H, W, 3) uint8, with its HR picture if it ``compares``; or NaN and why not."""
        import torch

        compares = known()[self.name].compares
        if compares and reference is None:
            return float("nan"), None
        pictures = (image, reference) if compares else (image,)
        inner = [np.ascontiguousarray(cut_border(picture).transpose(2, 0, 1)) for picture in pictures]
        seeded = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        try:
            # Not pyiqa's own call, which allows TF32 and so rounds what a convolution sees to 10 bits.
            with torch.no_grad(), seeded:
                torch.manual_seed(0)
                np.random.seed(0)  # pyiqa's random crops are the same ones on every call
                tensors = (torch.from_numpy(one)[None].float() / 255 for one in inner)
                return float(self.network(*(tensor.to(self.device) for tensor in tensors))), None
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # such as a picture too small
            if "memory" in str(error):
                raise MasksrError(f"{self.name}: {_one_line(error)}; take a machine with more") from None
            return float("nan"), f"{self.name}: {_one_line(error)}"


def load(names: Sequence[str], device: Any = None) -> list[Measure]:
    """Load the measures of these names, with weights that pyiqa has in its caches or downloads.

    device: cuda or, where all else in a table of scores is computed, the CPU. Raises MasksrError for a name
    that ``check`` refuses, and where weights cannot be had.
    """
    import torch

    check(names)
    if os.environ.get("MASKSR_OFFLINE", "") not in ("", "0"):
        os.environ.update(NO_NETWORK)
    device = device if device and device.type == "cuda" else torch.device("cpu")
    loaded = []
    for name in names:
        try:
            import pyiqa

            loaded.append(Measure(name, pyiqa.create_metric(name, device=device).net, device))
        except Exception as error:  # torch.hub, huggingface_hub and timm print which file, and share no base
            hint = f"bring its weights there by hand, or take {name} out of measures.also (--also)"
            raise MasksrError(f"the measure {name} cannot be had ({_one_line(error)}); {hint}") from None
    return loaded


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
