"""The weights stage: VGG19 and the yardstick, found where they are or made as labelled stand-ins."""

from __future__ import annotations

import os
from pathlib import Path

from masksr.errors import MasksrError
from masksr.models import load_vgg19, random_vgg19, save_weights
from masksr.params import Params
from masksr.paths import Paths

VGG_FILES = ("vgg19-dcbb9e9d.pth", "vgg19.safetensors", "vgg19-oxford-features.safetensors")
VGG_ADDRESS = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"


def data_folder(params: Params) -> Path | None:
    """The folder of data and weights you already have: ``data.local``, else the one MASKSR_DATA names, else None."""
    named = params.data.local or os.environ.get("MASKSR_DATA")
    return Path(named).expanduser() if named else None


def find_vgg19(params: Params) -> Path:
    """ImageNet's VGG19 in the data folder (or its ``weights/``) or in torch's cache.

    Raises MasksrError that says where it was looked for and where to get it.
    """
    folder, cache = data_folder(params), Path(os.environ.get("TORCH_HOME", Path.home() / ".cache/torch"))
    places = [*([folder / "weights", folder] if folder else []), cache / "hub/checkpoints"]
    for place in places:
        for name in VGG_FILES:
            if (place / name).is_file():
                return place / name
    raise MasksrError(
        f"weights.vgg: imagenet needs one of {', '.join(VGG_FILES)} in {' or '.join(map(str, places))}; "
        f"download {VGG_ADDRESS} there (575 MB), or set weights.vgg: random for a stand-in"
    )


def prepare_vgg19(params: Params, paths: Paths) -> str:
    """Write vgg19.safetensors for the trainings; returns in words what it holds."""
    out = paths.weights / "vgg19.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    if params.weights.vgg == "random":
        source = f"random weights (a stand-in), {params.weights.vgg_width:g} of VGG19's channels"
        network = random_vgg19(params.weights.vgg_width, seed=0)
    else:
        file = find_vgg19(params)
        source, network = f"ImageNet, from {file.name}", load_vgg19(file)
    save_weights(network, out, {"source": source})
    return f"VGG19 features: {source}"
