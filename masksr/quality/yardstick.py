"""With which weights PI is measured where no stage says so: ``masksr evaluate`` and ``masksr score``."""

from __future__ import annotations

from pathlib import Path

from masksr import project
from masksr.errors import MasksrError
from masksr.fetch.registry import find_weights
from masksr.fetch.weights import fetch_weights
from masksr.params import Params, load
from masksr.paths import Paths, data_folder
from masksr.quality.weights import RECORD, Mode, QualityWeights, default_weights, find_official, load_weights

HALVES = ("niqe", "ma")


def yardstick(params: Params, paths: Paths) -> QualityWeights:
    """NIQE's and Ma's parameters: those of the profile, with which its variants are scored, else the official ones.

    Raises MasksrError where the profile has none yet and the official ones cannot be had.
    """
    if (_made_by(paths) / RECORD).is_file():
        return load_weights(_made_by(paths))
    try:
        return official(params)
    except MasksrError as error:
        raise MasksrError(f"{error}. Or make stand-ins for the profile: dvc repro weights") from None


def official(params: Params | None) -> QualityWeights:
    """The official parameters, from the folders of ``files.weight_places`` or, in a project, the network.

    params: of the project; None outside of one, where nothing is downloaded and no checksum is known. Raises
    MasksrError where one of the two cannot be had.
    """
    folder = data_folder(params) if params else None
    for name in HALVES:
        if find_official(name, folder) is None and params:
            fetch_weights(find_weights(name))
    return default_weights(folder)


def chosen(mode: Mode) -> QualityWeights:
    """The parameters that ``masksr score --weights MODE`` wants.

    ``auto``: those of the current profile (see :func:`yardstick`); outside of a project the official ones.
    ``official``: these alone. ``standin``: those that the current profile has fitted. Raises MasksrError where they are
    not to be had, and says how they could be.
    """
    try:
        project.root()
    except MasksrError:
        if mode == "standin":
            raise MasksrError("--weights standin: only a project has stand-ins; run this inside one") from None
        return _official_outside()
    params = load()
    paths = Paths.of(params)
    if mode == "auto":
        return yardstick(params, paths)
    if mode == "official":
        return official(params)
    found = load_weights(_made_by(paths)) if (_made_by(paths) / RECORD).is_file() else None
    if found is None or {found.niqe_source, found.ma_source} != {"stand-in"}:
        raise MasksrError(
            f"--weights standin: the profile {paths.profile} has no stand-ins of both halves; set weights.quality: "
            "standin in params.yaml and run `dvc repro weights`"
        )
    return found


def _official_outside() -> QualityWeights:
    try:
        return official(None)
    except MasksrError as error:
        raise MasksrError(f"{error}. Outside of a project nothing is downloaded and there are no stand-ins") from None


def _made_by(paths: Paths) -> Path:
    return paths.weights / "quality"
