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

from masksr.errors import MasksrError
from masksr.fetch.registry import File, Weights
from masksr.files import file_digest
from masksr.quality.index import score
from masksr.quality.ma import MaModel, one_leaf
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import (
    MA,
    NIQE,
    RECORD,
    default_weights,
    find_official,
    load_weights,
    read_ma,
    read_niqe,
    write_ma,
    write_niqe,
)
from masksr.tools import weights
from masksr.tools.weights import resolve_weights

PHOTOGRAPHS = [("cat", data.chelsea()), ("coffee", data.coffee())]
SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any file, cache, project or network; stand-ins in form, fitted in two seconds."""
    for variable in ("MASKSR_DATA", "XDG_CACHE_HOME", "TORCH_HOME", "MASKSR_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("masksr.quality.standin.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)
    return tmp_path


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A data folder with files in the official formats under the official names."""
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    write_niqe(folder / NIQE.official, SOME_NIQE)
    write_ma(folder / MA.official, SOME_MA)
    return folder.parent


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, official: Path) -> Iterator[Path]:
    """A network that has nothing but what is in this folder; MASKSR_OFFLINE still forbids it."""
    monkeypatch.setattr("masksr.fetch.download.PAUSES", (), raising=False)
    monkeypatch.setattr("masksr.fetch.download.RETRIES", 0, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    sums = {file.name: file_digest(file) for file in (official / "weights").iterdir()}
    with serving(folder) as address:

        def published(name: str) -> Weights:
            file = {"niqe": NIQE.official, "ma": MA.official}[name]
            about = {"name": name, "title": name, "cite": "-", "licence": "-", "homepage": "-"}
            sha256 = sums[file]
            return Weights(**about, downloads=[File(name=file, urls=[f"{address}/{file}"], sha256=sha256)])

        monkeypatch.setattr(weights, "find_weights", published)
        yield folder


# ---- Files -------------------------------------------------------------------------------------------------


def test_files_come_back_as_they_were_written_and_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    write_niqe(tmp_path / "niqe.mat", SOME_NIQE)
    for name in ("ma.mat", "again.mat"):
        write_ma(tmp_path / name, SOME_MA)
    niqe, ma = read_niqe(tmp_path / "niqe.mat"), read_ma(tmp_path / "ma.mat")
    np.testing.assert_array_equal(niqe.mean, SOME_NIQE.mean)
    np.testing.assert_array_equal(niqe.covariance, SOME_NIQE.covariance)
    assert ma.predict((np.zeros(18), np.zeros(45), np.zeros(75))) == pytest.approx(1 + 2 + 1.5 + 0.5)
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
        for read in (read_ma, read_niqe):
            with pytest.raises(MasksrError, match=name):
                read(tmp_path / name)
    with pytest.raises(MasksrError, match=r"ma\.mat"):
        read_niqe(tmp_path / "ma.mat")
    with pytest.raises(MasksrError, match="no such file"):
        read_ma(tmp_path / "missing.mat")


# ---- Official files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["official", "auto"])
def test_official_files_of_the_data_folder_are_taken(mode, official: Path, tmp_path: Path) -> None:
    found = resolve_weights(mode, tmp_path / "quality", data_folder=official)
    assert (found.niqe_source, found.ma_source) == ("official", "official")
    assert {file.name for file in (tmp_path / "quality").iterdir()} == {"ma.mat", "niqe.mat", RECORD}
    text = (tmp_path / "quality" / RECORD).read_text()
    assert json.loads(text)["ma"] == {
        "file": "ma.mat",
        "sha256": found.ma_sha256,
        "source": "official",
        "published_as": MA.official,
    }
    assert str(tmp_path) not in text  # the same record on every machine


def test_the_places_are_searched_in_order(official: Path, tmp_path: Path, monkeypatch) -> None:
    ours, torch, folder = tmp_path / "home/.cache/masksr/weights", tmp_path / "torch", tmp_path / "named"
    monkeypatch.setenv("TORCH_HOME", str(torch))
    monkeypatch.setenv("MASKSR_DATA", str(folder))
    folder.mkdir()
    assert find_official("niqe") is None
    for place in (ours, torch / "hub/pyiqa", folder / "weights", folder):
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(official / "weights" / NIQE.official, place)
        assert find_official("niqe") == place / NIQE.official
    assert find_official("niqe", official) == official / "weights" / NIQE.official


def test_a_missing_or_damaged_official_file_is_an_error(official: Path, tmp_path: Path) -> None:
    (official / "weights" / MA.official).unlink()
    with pytest.raises(MasksrError) as caught:
        resolve_weights("official", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)
    for needed in (MA.official, str(official / "weights"), "weights.quality: auto"):
        assert needed in str(caught.value)
    (official / "weights" / NIQE.official).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(MasksrError, match=NIQE.official):
        resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)


def test_the_network_is_asked_once(network: Path, official: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MASKSR_OFFLINE")
    with pytest.raises(MasksrError, match=r"weights\.quality: auto for a stand-in"):
        resolve_weights("official", tmp_path / "zero")
    for half in (NIQE, MA):
        shutil.copy(official / "weights" / half.official, network)
    assert resolve_weights("official", tmp_path / "one").ma_source == "official"
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    assert resolve_weights("auto", tmp_path / "two").ma_source == "official"
    assert score(data.chelsea()[:150, :150]).label == "PI"


# ---- Stand-ins and the folder ------------------------------------------------------------------------------


def test_auto_fits_only_what_is_missing(official: Path, tmp_path: Path) -> None:
    (official / "weights" / MA.official).unlink()
    found = resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)
    assert (found.niqe_source, found.ma_source) == ("official", "stand-in")
    record = json.loads((tmp_path / "quality" / RECORD).read_text())
    assert record["ma"]["fit"]["photographs"] == ["cat", "coffee"]
    with pytest.raises(MasksrError, match="photograph"):
        resolve_weights("auto", tmp_path / "quality")
    with pytest.raises(MasksrError, match="216"):
        resolve_weights("auto", tmp_path / "quality", [("stamp", data.chelsea()[:200])])


def test_a_changed_file_is_refused(official: Path, tmp_path: Path) -> None:
    resolve_weights("official", tmp_path / "quality", data_folder=official)
    write_niqe(tmp_path / "quality/niqe.mat", NiqeModel(SOME_NIQE.mean + 1, SOME_NIQE.covariance))
    with pytest.raises(MasksrError, match=r"niqe\.mat"):
        load_weights(tmp_path / "quality")
    with pytest.raises(MasksrError, match="dvc repro weights"):
        load_weights(tmp_path)


def test_by_default_a_project_scores_with_what_it_has(official: Path, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(MasksrError, match="dvc repro weights"):
        default_weights()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").touch()
    made = tmp_path / "data/weights/mini/quality"
    found = resolve_weights("standin", made, PHOTOGRAPHS, data_folder=official)
    assert score(data.rocket()[100:250, 200:350], weights=found).label == "PI (stand-in)"
    assert default_weights().ma_source == default_weights().niqe_source == "stand-in"
    (tmp_path / "cache/weights").mkdir(parents=True)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    write_niqe(tmp_path / "cache/weights" / NIQE.official, SOME_NIQE)
    assert (default_weights().niqe_source, default_weights().ma_source) == ("official", "stand-in")
    np.testing.assert_array_equal(default_weights().niqe.mean, SOME_NIQE.mean)
