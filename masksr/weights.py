"""The weights stage: VGG19, and the parameters of NIQE and Ma, found or made as labelled stand-ins."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from masksr.data.packs import Pack
from masksr.fetch.find import fetch_weights, weights_there
from masksr.fetch.registry import find_weights
from masksr.io import MasksrError, file_digest, write_atomic
from masksr.models.build import save_weights
from masksr.models.vgg import OXFORD_SCALE, load_vgg19, random_vgg19, rescale_features
from masksr.params import Params
from masksr.paths import Paths, find_data_folder, here_or_in_project, weight_places
from masksr.quality import weights as quality
from masksr.quality.weights import Half
from masksr.training.device import cores


def prepare_vgg19(params: Params, paths: Paths) -> str:
    """Write vgg19.safetensors for the trainings; returns in words what it holds."""
    out = paths.weights / "vgg19.safetensors"
    if params.weights.vgg == "random":
        source = f"random weights (a stand-in), {params.weights.vgg_width:g} of VGG19's channels"
        network = random_vgg19(params.weights.vgg_width, seed=0)
    else:
        file = find_vgg19(params)
        source, network = f"trained on ImageNet, from {file.name}", load_vgg19(file)
        if params.weights.vgg == "oxford":
            rescale_features(network, OXFORD_SCALE)
            source += "; features scaled by 1/12.75, as in SRGAN, to suit loss weights made for torchvision's"
    save_weights(network, out, {"source": source})
    return f"VGG19 features: {source}"


def find_vgg19(params: Params) -> Path:
    """Find ``weights.vgg_file``, else the file of ``weights.vgg``, of ``imagenet`` also on the network.

    Oxford's weights are expected with torchvision's keys. Raises MasksrError that says where to get the file.
    """
    settings, folder = params.weights, find_data_folder(params.data.local)
    if settings.vgg == "imagenet" and not settings.vgg_file:
        return fetch_weights(find_weights("vgg19"), folder)
    oxford = [place / "vgg19-oxford-features.safetensors" for place in weight_places(folder)]
    paths = [here_or_in_project(settings.vgg_file)] if settings.vgg_file else oxford
    for path in paths:
        if path.is_file():
            return path
    files = " or ".join(map(str, paths))
    raise MasksrError(f"weights.vgg: no file {files}; docs/data.md says how to get it, or take imagenet")


def prepare_quality(params: Params, paths: Paths) -> dict[Half, dict[str, Any]]:
    """Fill the folder ``quality`` with niqe.mat, ma.mat and quality_weights.json; returns what the last says.

    ``weights.quality: official`` takes the published files from this machine or the network; ``standin`` fits
    both halves on the training photographs; ``auto`` takes official files where they can be had and fits the
    rest. Raises MasksrError where an official file is damaged, or missing (it says how to place it by hand).
    """
    folder = paths.weights / "quality"
    record: dict[Half, dict[str, Any]] = {}
    for half, published in quality.OFFICIAL.items():
        file = folder / f"{half}.mat"
        if found := _find_official(half, params.weights.quality, find_data_folder(params.data.local)):
            quality.READ[half](found)  # a damaged file must not reach the evaluation
            write_atomic(file, found.read_bytes())
            how = {"source": "official", "published_as": published}
        else:
            from masksr.quality import standin  # imports scikit-learn

            pack = Pack(paths.set(params.data.train))
            photographs = [(name, pack.hr(number)) for number, name in enumerate(pack.names)]
            model, fit = standin.FIT[half](photographs, cores())
            quality.WRITE[half](file, model)
            how = {"source": "stand-in", "fit": fit}
        record[half] = {"file": file.name, "sha256": file_digest(file), **how}
    write_atomic(folder / quality.RECORD, (json.dumps(record, indent=2) + "\n").encode())
    return record


def _find_official(half: Half, mode: str, folder: Path | None) -> Path | None:
    """Find the official file, on this machine or on the network; None where a stand-in is to be fitted."""
    published = find_weights(half)
    if mode == "official" or (mode == "auto" and weights_there(published, folder)):
        return fetch_weights(published, folder)
    if mode == "auto":
        with suppress(MasksrError):
            return fetch_weights(published, folder)
    return None
