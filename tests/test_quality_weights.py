"""Where the parameters of PI come from: files, places, the network, stand-ins, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from local_server import serving
from skimage import data

from masksr import params
from masksr.errors import MasksrError
from masksr.fetch.find import build_pack
from masksr.fetch.registry import File, Weights
from masksr.files import file_digest
from masksr.paths import Paths
from masksr.quality.index import score
from masksr.quality.ma import MaModel, one_leaf
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import (
    OFFICIAL,
    default_weights,
    find_official,
    load_weights,
    read_ma,
    read_niqe,
    write_ma,
    write_niqe,
)
from masksr.tools import weights

ROOT = Path(__file__).parents[1]
NIQE, MA = OFFICIAL.values()
SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any file, cache, project or network; stand-ins in form, fitted in two seconds."""
    for variable in ("MASKSR_DATA", "XDG_CACHE_HOME", "TORCH_HOME", "MASKSR_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("masksr.quality.standin.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A data folder with files in the official formats under the official names."""
    folder = tmp_path / "data"
    folder.mkdir(parents=True)
    write_niqe(folder / NIQE, SOME_NIQE)
    write_ma(folder / MA, SOME_MA)
    return folder


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, official: Path) -> Iterator[Path]:
    """A network that has nothing but what is in this folder; MASKSR_OFFLINE still forbids it."""
    monkeypatch.setattr("masksr.fetch.download.RETRIES", 0)
    folder = tmp_path / "served"
    folder.mkdir()
    sums = {file.name: file_digest(file) for file in official.iterdir()}
    with serving(folder) as address:

        def published(name: str) -> Weights:
            file = OFFICIAL[name]
            about = {"name": name, "title": name, "cite": "-", "licence": "-", "homepage": "-"}
            download = File(name=file, urls=[f"{address}/{file}"], sha256=sums[file])
            return Weights(**about, downloads=[download])

        monkeypatch.setattr(weights, "find_weights", published)
        yield folder


def prepare(mode: str, root: Path, local: Path | None = None) -> tuple[dict, Path]:
    """Run the stage for NIQE and Ma in a project at ``root``: its record, and the folder it made."""
    mini = params.load(ROOT / "profiles/mini.yaml")
    sections = {"weights": {"quality": mode}, "data": {"local": local and str(local), "train": "workshop"}}
    settings = mini.model_copy(
        update={key: getattr(mini, key).model_copy(update=change) for key, change in sections.items()}
    )
    paths = Paths(root, "mini")
    return weights.prepare_quality(settings, paths), paths.weights / "quality"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the pack of one training set."""
    monkeypatch.chdir(ROOT)
    build_pack("workshop", tmp_path / "project/data/sets/mini/workshop")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "project"


# ---- Files -------------------------------------------------------------------------------------------------


def test_files_come_back_as_they_were_written_and_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    write_niqe(tmp_path / "niqe.mat", SOME_NIQE)
    for name in ("ma.mat", "again.mat"):
        write_ma(tmp_path / name, SOME_MA)
    niqe, ma = read_niqe(tmp_path / "niqe.mat"), read_ma(tmp_path / "ma.mat")
    np.testing.assert_array_equal(niqe.mean, SOME_NIQE.mean)
    np.testing.assert_array_equal(niqe.covariance, SOME_NIQE.covariance)
    assert [forest.predict(np.zeros(75)) for forest in ma.forests] == [4, 6, 5]
    assert (tmp_path / "ma.mat").read_bytes() == (tmp_path / "again.mat").read_bytes()


def test_a_forest_as_matlab_saves_it_is_read(tmp_path: Path) -> None:
    """Rows count from one, unused rows are zero, the fields may have any names."""
    tree = {
        "lDau": np.array([[2, 0], [0, 0], [4, 0], [0, 0], [0, 0]], np.int32),
        "rDau": np.array([[3, 0], [0, 0], [5, 0], [0, 0], [0, 0]], np.int32),
        "c": np.zeros((5, 2), np.int32),
        "d": np.int32(5),
        "e": np.array([[0.5, 0], [0, 0], [1.5, 0], [0, 0], [0, 0]]),
        "f": np.array([[0, 8.0], [1, 0], [0, 0], [2, 0], [3, 0]]),
        "g": np.array([[3, 0], [0, 0], [1, 0], [0, 0], [0, 0]], np.int32),
    }
    cells = np.empty((1, 3), object)
    cells[0, :] = [tree, tree, tree]
    model = {"rf": cells, "linear": np.array([[0.0], [1], [0], [0]])}
    scipy.io.savemat(tmp_path / "m.mat", {"model": model})
    forest = read_ma(tmp_path / "m.mat").forests[0]
    for first, third, leaf in ((9, 0.5, 1), (1.5, 0.6, 2), (1.6, 0.6, 3)):
        assert forest.predict(np.array([first, 0, third])) == (leaf + 8) / 2


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_ma(tmp_path / "ma.mat", SOME_MA)
    cut = (tmp_path / "ma.mat").read_bytes()[:300]
    for name, content in {"cut.mat": cut, "page.mat": b"<html>404</html>", "empty.mat": b""}.items():
        (tmp_path / name).write_bytes(content)
    for read, name in ((read_ma, "cut"), (read_ma, "page"), (read_niqe, "empty"), (read_niqe, "ma"), (read_ma, "no")):
        with pytest.raises(MasksrError, match=rf"{name}\.mat: does not hold"):
            read(tmp_path / f"{name}.mat")


# ---- Official files and stand-ins --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["official", "auto"])
def test_official_files_of_the_data_folder_are_taken(mode: str, official: Path, tmp_path: Path) -> None:
    record, folder = prepare(mode, tmp_path, official)
    found = load_weights(folder)
    assert found.niqe_source == found.ma_source == record["ma"]["source"] == "official"
    np.testing.assert_array_equal(found.niqe.mean, SOME_NIQE.mean)
    text = (folder / "quality_weights.json").read_text()
    assert json.loads(text) == record and str(tmp_path) not in text  # the same record on every machine


def test_the_places_are_searched_in_order(official: Path, tmp_path: Path, monkeypatch) -> None:
    ours, torch, folder = tmp_path / "home/.cache/masksr/weights", tmp_path / "torch", tmp_path / "named"
    monkeypatch.setenv("TORCH_HOME", str(torch))
    monkeypatch.setenv("MASKSR_DATA", str(folder))
    folder.mkdir()
    assert find_official("niqe") is None
    for place in (ours, torch / "hub/pyiqa", folder / "weights", folder):
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(official / NIQE, place)
        assert find_official("niqe") == place / NIQE
    assert find_official("niqe", official) == official / NIQE


def test_a_missing_or_damaged_official_file_is_an_error(official: Path, tmp_path: Path) -> None:
    (official / MA).unlink()
    with pytest.raises(MasksrError, match=MA):
        prepare("official", tmp_path, official)
    (official / NIQE).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(MasksrError, match=NIQE):
        prepare("auto", tmp_path, official)


def test_the_network_is_asked_once(network: Path, official: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MASKSR_OFFLINE")
    with pytest.raises(MasksrError, match=NIQE):
        prepare("official", tmp_path)
    for name in OFFICIAL.values():
        shutil.copy(official / name, network)
    assert prepare("auto", tmp_path)[0]["ma"]["source"] == "official"
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    assert prepare("official", tmp_path)[0]["ma"]["source"] == "official"
    assert score(data.chelsea()[:150, :150]).label == "PI"


def test_auto_fits_only_what_is_missing(official: Path, project: Path) -> None:
    (official / MA).unlink()
    record, folder = prepare("auto", project, official)
    found = load_weights(folder)
    assert (found.niqe_source, found.ma_source) == ("official", "stand-in")
    assert record["ma"]["fit"]["samples"] > 6 and "fit" not in record["niqe"]


def test_by_default_a_project_scores_with_what_it_has(official: Path, project: Path, monkeypatch) -> None:
    with pytest.raises(MasksrError, match="dvc repro weights"):
        default_weights()
    (project / "dvc.yaml").touch()
    (project / "params.yaml").touch()
    monkeypatch.chdir(project)
    _, folder = prepare("standin", project, official)
    assert score(data.rocket()[100:250, 200:350]).label == "PI (stand-in)"
    monkeypatch.setenv("MASKSR_DATA", str(official))
    assert default_weights().niqe_source == default_weights().ma_source == "official"
    shutil.rmtree(folder)
    with pytest.raises(MasksrError, match="dvc repro weights"):
        load_weights(folder)
