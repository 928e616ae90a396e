"""The weights stage: VGG19 and the yardstick, found where they are or made as labelled stand-ins."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from masksr.data.bicubic import imresize
from masksr.data.packs import Pack
from masksr.documents import read_json
from masksr.errors import MasksrError
from masksr.fetch.registry import find_weights
from masksr.fetch.weights import fetch_weights
from masksr.files import here_or_in_project, weight_places
from masksr.models.checkpoints import save_weights
from masksr.models.vgg import OXFORD_SCALE, load_vgg19, random_vgg19, rescale_features
from masksr.params import Params
from masksr.paths import Paths, data_folder
from masksr.quality import further, score
from masksr.quality.labels import half_label
from masksr.quality.measures import lower_is_better
from masksr.quality.weights import RECORD, load_weights, resolve_weights
from masksr.training.device import cores

OXFORD_FILE = "vgg19-oxford-features.safetensors"  # Oxford's weights under torchvision's keys


def find_vgg19(params: Params) -> Path:
    """``weights.vgg_file``, else the file of ``weights.vgg``: in one of ``files.weight_places``, or from the network.

    Raises MasksrError that says where to get it.
    """
    if params.weights.vgg_file:
        path = here_or_in_project(params.weights.vgg_file)
        if not path.is_file():
            raise MasksrError(f"weights.vgg_file: there is no file {path}; name one, or null to look for it")
        return path
    folder = data_folder(params)
    if params.weights.vgg == "oxford":
        places = weight_places(folder)
        if found := next((path for place in places if (path := place / OXFORD_FILE).is_file()), None):
            return found
        raise MasksrError(
            f"weights.vgg: oxford needs {OXFORD_FILE} in {' or '.join(map(str, places))}; put it there, or set "
            "weights.vgg: imagenet, which can be downloaded"
        )
    try:
        return fetch_weights(find_weights("vgg19"), folder)
    except MasksrError as error:
        raise MasksrError(f"weights.vgg: {error}. Or set it to random for a stand-in") from None


def prepare_vgg19(params: Params, paths: Paths) -> str:
    """Write vgg19.safetensors for the trainings; returns in words what it holds."""
    out = paths.weights / "vgg19.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
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


def prepare_quality(params: Params, paths: Paths) -> pd.DataFrame:
    """Fill the folder ``quality`` with NIQE's and Ma's parameters; a row for each: what it is and how it came about."""
    pack = Pack(paths.set(params.data.train))
    photographs = [(name, pack.hr(number)) for number, name in enumerate(pack.names)]
    folder = paths.weights / "quality"
    resolve_weights(
        params.weights.quality, folder, photographs, data_folder=data_folder(params), workers=cores()
    )
    record = read_json(folder / RECORD)
    rows = [
        {"half": {"niqe": "NIQE", "ma": "Ma"}[half], "weights": entry["source"], "sha256": entry["sha256"][:12]}
        for half, entry in record.items()
    ]
    return pd.DataFrame(rows)


def further_measures(params: Params) -> pd.DataFrame:
    """The measures of ``measures.also``, all of them loaded: what they look at, which way is better, their weights.

    Raises MasksrError where weights cannot be had.
    """
    rows = [
        {
            "measure": measure.name,
            "looks at": "SR and HR" if measure.compares else "SR",
            "better": "lower" if lower_is_better(measure.name) else "higher",
            "sha256 of its weights": measure.digest[:12] if measure.digest else "it has none",
        }
        for measure in further.load(params.measures.also)
    ]
    return pd.DataFrame(rows)


def stand_in_fits(paths: Paths) -> pd.DataFrame:
    """How each stand-in was fitted and what it scored on photographs it had not seen; empty for official weights."""
    record = read_json(paths.weights / "quality" / RECORD)
    rows = [
        {"of": name, "what": key.replace("_", " "), "value": _short(value)}
        for name, entry in record.items()
        for key, value in entry.get("fit", {}).items()
    ]
    return pd.DataFrame(rows, columns=["of", "what", "value"])


def ladder(params: Params, paths: Paths) -> pd.DataFrame:
    """The validation photograph and what is left of it after shrinking two and four times, by every measure."""
    pack = Pack(paths.set(params.data.validation))
    hr, weights = pack.hr(0), load_weights(paths.weights / "quality")
    steps = {"HR": hr, "x2 bicubic": imresize(pack.lr(0, 2), 2), "x4 bicubic": imresize(pack.lr(0, 4), 4)}
    rows = []
    for name, image in steps.items():
        found = score(image, None if image is hr else hr, weights)
        halves = {half_label("NIQE", found.niqe_weights): found.niqe, half_label("Ma", found.ma_weights): found.ma}
        rows.append({"image": name} | halves | {found.label: found.pi, "PSNR-Y": found.psnr})
    return pd.DataFrame(rows)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)
