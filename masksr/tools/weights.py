"""The weights stage: VGG19, and the parameters of NIQE and Ma, found or made as labelled stand-ins.

Also which parameters ``masksr evaluate`` and ``masksr score`` measure PI with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from masksr import params as params_file
from masksr import project
from masksr.data.packs import Pack
from masksr.errors import MasksrError
from masksr.fetch import download
from masksr.fetch.registry import find_weights
from masksr.fetch.weights import fetch_weights
from masksr.files import file_digest, here_or_in_project, weight_places
from masksr.models.checkpoints import save_weights
from masksr.models.vgg import OXFORD_SCALE, load_vgg19, random_vgg19, rescale_features
from masksr.params import Params
from masksr.paths import Paths, data_folder
from masksr.quality.weights import (
    HALVES,
    NIQE,
    RECORD,
    Half,
    Mode,
    QualityWeights,
    default_weights,
    find_official,
    load_weights,
    write_ma,
    write_niqe,
)
from masksr.training.device import cores

OXFORD_FILE = "vgg19-oxford-features.safetensors"  # Oxford's weights under torchvision's keys
ANSWER = 5.0  # seconds in which the mode ``auto`` wants to hear from the network
Photograph = tuple[str, np.ndarray]  # name, (H, W, 3) uint8


def find_vgg19(params: Params) -> Path:
    """Find ``weights.vgg_file``, else the file of ``weights.vgg``: on this machine, or from the network.

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
            f"weights.vgg: oxford needs {OXFORD_FILE} in {' or '.join(map(str, places))}; put it there, or "
            "set weights.vgg: imagenet, which can be downloaded"
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
    """Fill the folder ``quality`` with NIQE's and Ma's parameters; returns a row for each: what it is."""
    pack = Pack(paths.set(params.data.train))
    photographs = [(name, pack.hr(number)) for number, name in enumerate(pack.names)]
    mode, folder = params.weights.quality, paths.weights / "quality"
    options: dict[str, Any] = {"data_folder": data_folder(params), "workers": cores()}
    found = resolve_weights(mode, folder, photographs, **options)
    sources, sums = (found.niqe_source, found.ma_source), (found.niqe_sha256[:12], found.ma_sha256[:12])
    return pd.DataFrame({"half": ["NIQE", "Ma"], "weights": sources, "sha256": sums})


def resolve_weights(
    mode: Mode,
    into: Path,
    photographs: Sequence[Photograph] = (),
    *,
    data_folder: Path | None = None,
    seed: int = 0,
    workers: int = 1,
) -> QualityWeights:
    """Fill the folder ``into`` with niqe.mat, ma.mat and quality_weights.json, and load them.

    mode: ``official`` takes the published files from this machine or the network; ``standin`` fits both
    halves on ``photographs`` (name, (H, W, 3) uint8); ``auto`` takes what is official where it can be had
    within seconds and fits the rest. data_folder: without it, the one that MASKSR_DATA names.

    Raises MasksrError where an official file is missing (it says how to place it by hand) or damaged, and
    where no photograph is there to fit a stand-in on.
    """
    into.mkdir(parents=True, exist_ok=True)
    record = dict[str, Any]()
    for half in HALVES:
        found, file = _find_official(half, mode, data_folder), into / half.file
        file.unlink(missing_ok=True)  # it may be a link into DVC's cache
        if found is not None:
            half.read(found)  # a damaged file must not reach the evaluation
            shutil.copyfile(found, file)
            how: dict[str, Any] = {"source": "official", "published_as": half.official}
        else:
            how = {"source": "stand-in", "fit": _fit(half, photographs, file, seed, workers)}
        record[half.name] = {"file": half.file, "sha256": file_digest(file), **how}
    (into / RECORD).unlink(missing_ok=True)
    (into / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return load_weights(into)


def _find_official(half: Half, mode: Mode, data_folder: Path | None) -> Path | None:
    """Find the official file, on this machine or in the network; None where a stand-in is to be fitted."""
    if mode == "standin":
        return None
    published, here = find_weights(half.name), find_official(half.name, data_folder)
    if mode == "auto" and not here and not download.answers(published.downloads[0].urls[0], ANSWER):
        return None
    try:
        return fetch_weights(published, data_folder)
    except MasksrError as error:
        if mode == "auto" and not here:
            return None
        places = " or ".join(map(str, weight_places(data_folder)))
        hint = f"Put {half.official} in {places}, or set weights.quality: auto for a stand-in"
        raise MasksrError(f"weights.quality: {mode}: {error}. {hint}") from None


def _fit(
    half: Half, photographs: Sequence[Photograph], file: Path, seed: int, workers: int
) -> dict[str, Any]:
    """Write a stand-in to ``file``; returns how it was fitted."""
    from masksr.quality import standin  # imports scikit-learn

    if half is NIQE:
        niqe_model, fit = standin.fit_niqe(photographs)
        write_niqe(file, niqe_model)
    else:
        ma_model, fit = standin.fit_ma(photographs, seed=seed, workers=workers)
        write_ma(file, ma_model)
    return fit


def choose_weights(mode: Mode, params: Params | None = None, paths: Paths | None = None) -> QualityWeights:
    """Load the parameters that ``masksr evaluate`` and ``masksr score --weights MODE`` measure with.

    ``auto``: those of the profile, with which its variants are scored, else the official ones. ``official``:
    these alone, from this machine or, in a project, the network. ``standin``: those that the profile has
    fitted. params, paths: without them those of the project you are in, if you are in one.

    Raises MasksrError where they cannot be had, and says how they could be.
    """
    if params is None and _inside_a_project():
        params = params_file.load()
    made = (paths or Paths.of(params)).weights / "quality" if params else None
    if made is not None and (made / RECORD).is_file() and mode != "official":
        found = load_weights(made)
        if mode == "auto" or {found.niqe_source, found.ma_source} == {"stand-in"}:
            return found
    if mode == "standin":
        raise MasksrError(
            "--weights standin: no stand-ins of both halves here; in a project set weights.quality: "
            "standin in params.yaml and run `dvc repro weights`"
        )
    try:
        for half in HALVES if params else ():
            fetch_weights(find_weights(half.name), data_folder(params))
        return default_weights(data_folder(params) if params else None)
    except MasksrError as error:
        hint = "Or make stand-ins: in a project run `dvc repro weights`; outside of one nothing is downloaded"
        raise MasksrError(f"{error}. {hint}") from None


def _inside_a_project() -> bool:
    try:
        return project.root().is_dir()
    except MasksrError:
        return False
