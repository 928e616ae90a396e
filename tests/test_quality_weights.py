"""Where the parameters of PI come from: the places, the network, the stand-ins, and what is refused."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from local_server import serving
from skimage import data

from masksr.errors import MasksrError
from masksr.fetch.registry import File, Weights
from masksr.files import file_digest
from masksr.quality import score, weights
from masksr.quality.forest import one_leaf
from masksr.quality.ma import MaModel
from masksr.quality.matfiles import write_ma, write_niqe
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import MA, NIQE, default_weights, find_official, load_weights, resolve_weights

PHOTOGRAPHS = [("cat", data.chelsea()), ("coffee", data.coffee())]
SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch) -> Path:
    """A machine without any file, cache, project or network."""
    for variable in ("MASKSR_DATA", "XDG_CACHE_HOME", "TORCH_HOME", "MASKSR_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Six crops and forty trees: a stand-in in form, in two seconds."""
    monkeypatch.setattr("masksr.quality.standin_samples.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)


@pytest.fixture
def official(tmp_path) -> Path:
    """A data folder with files in the official formats under the official names."""
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    write_niqe(folder / NIQE.official, SOME_NIQE)
    write_ma(folder / MA.official, SOME_MA)
    return folder.parent


@pytest.fixture
def network(monkeypatch, tmp_path, official) -> Iterator[Path]:
    """A network that has nothing but what lies in this folder."""
    monkeypatch.delenv("MASKSR_OFFLINE")
    monkeypatch.setattr("masksr.fetch.download.RETRIES", 0)
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as address:

        def published(name: str) -> Weights:
            file = {"niqe": NIQE.official, "ma": MA.official}[name]
            about = {"name": name, "title": name, "cite": "-", "licence": "-", "homepage": "-"}
            sha256 = file_digest(official / "weights" / file)
            return Weights(**about, downloads=[File(name=file, urls=[f"{address}/{file}"], sha256=sha256)])

        monkeypatch.setattr(weights, "find_weights", published)
        yield folder


# ---- Official files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["official", "auto"])
def test_official_files_of_the_data_folder_are_taken(mode, official, tmp_path):
    found = resolve_weights(mode, tmp_path / "quality", data_folder=official)
    assert (found.niqe_source, found.ma_source) == ("official", "official")
    assert sorted(file.name for file in (tmp_path / "quality").iterdir()) == ["ma.mat", "niqe.mat", weights.RECORD]
    record = json.loads((tmp_path / "quality" / weights.RECORD).read_text())
    assert record["ma"]["source"] == "official"
    assert record["ma"]["published_as"] == MA.official
    assert found.ma_sha256 == record["ma"]["sha256"]
    assert str(tmp_path) not in (tmp_path / "quality" / weights.RECORD).read_text()  # the same record on every machine


def test_the_places_are_searched_in_order(official, tmp_path, monkeypatch):
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
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "elsewhere"))
    assert find_official("ma") is None


def test_official_says_everything_where_a_file_is_missing(official, tmp_path):
    (official / "weights" / MA.official).unlink()
    with pytest.raises(MasksrError) as caught:
        resolve_weights("official", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)
    for needed in (MA.official, str(official / "weights"), "weights.quality: auto"):
        assert needed in str(caught.value)


def test_a_damaged_official_file_is_not_passed_over(official, tmp_path):
    (official / "weights" / NIQE.official).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(MasksrError, match=NIQE.official):
        resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)


# ---- The network -----------------------------------------------------------------------------------------------------


def test_what_was_downloaded_is_found_the_next_time(network, official, tmp_path, monkeypatch):
    for half in (NIQE, MA):
        shutil.copy(official / "weights" / half.official, network)
    assert resolve_weights("official", tmp_path / "one").ma_source == "official"
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    assert resolve_weights("official", tmp_path / "two").ma_source == "official"
    assert score(data.chelsea()[:150, :150]).label == "PI"


@pytest.mark.parametrize("content", [None, b"<html>log in first</html>", b"\0" * 600])
def test_anything_else_is_a_stand_in_or_an_error_and_is_not_kept(network, tmp_path, content):
    if content:
        (network / NIQE.official).write_bytes(content)
    assert resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS).niqe_source == "stand-in"
    with pytest.raises(MasksrError, match=r"niqe_modelparameters\.mat .*weights\.quality: auto for a stand-in"):
        resolve_weights("official", tmp_path / "quality", PHOTOGRAPHS)
    cached = tmp_path / "home/.cache/masksr/weights"
    assert not cached.exists() or not [path for path in cached.iterdir() if not path.name.startswith((".", "check"))]


def test_an_address_that_does_not_answer_costs_seconds(network, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "ANSWER", 0.3)

    def hang(*_, **__):
        time.sleep(5)
        raise requests.ConnectionError

    monkeypatch.setattr("requests.Session.request", hang)
    begun = time.monotonic()
    assert resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS).niqe_source == "stand-in"
    assert time.monotonic() - begun < 15


def test_offline_asks_nobody(network, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.setattr("requests.Session.request", lambda *_, **__: pytest.fail("asked"))
    assert resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS).niqe_source == "stand-in"


# ---- Stand-ins and the folder ----------------------------------------------------------------------------------------


def test_auto_fits_only_what_is_missing(official, tmp_path):
    (official / "weights" / MA.official).unlink()
    found = resolve_weights("auto", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)
    assert (found.niqe_source, found.ma_source) == ("official", "stand-in")
    record = json.loads((tmp_path / "quality" / weights.RECORD).read_text())
    assert record["ma"]["fit"]["photographs"] == ["cat", "coffee"]
    assert 0 <= record["ma"]["fit"]["held_out"]["HR > x4"] <= 1


def test_standin_ignores_official_files(official, tmp_path):
    found = resolve_weights("standin", tmp_path / "quality", PHOTOGRAPHS, data_folder=official)
    assert (found.niqe_source, found.ma_source) == ("stand-in", "stand-in")
    assert score(data.rocket()[100:250, 200:350], weights=found).label == "PI (stand-in)"


def test_without_photographs_there_is_no_standin(tmp_path):
    with pytest.raises(MasksrError, match="photograph"):
        resolve_weights("auto", tmp_path / "quality")
    with pytest.raises(MasksrError, match="216"):
        resolve_weights("auto", tmp_path / "quality", [("stamp", data.chelsea()[:200])])


def test_a_changed_file_is_refused(official, tmp_path):
    resolve_weights("official", tmp_path / "quality", data_folder=official)
    write_niqe(tmp_path / "quality/niqe.mat", NiqeModel(SOME_NIQE.mean + 1, SOME_NIQE.covariance))
    with pytest.raises(MasksrError, match=r"niqe\.mat"):
        load_weights(tmp_path / "quality")
    (tmp_path / "quality/niqe.mat").unlink()
    with pytest.raises(MasksrError, match=r"niqe\.mat"):
        load_weights(tmp_path / "quality")
    with pytest.raises(MasksrError, match="dvc repro weights"):
        load_weights(tmp_path)


def test_by_default_a_project_scores_with_what_it_has(tmp_path, monkeypatch):
    with pytest.raises(MasksrError, match="dvc repro weights"):
        default_weights()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").touch()
    resolve_weights("standin", tmp_path / "data/weights/mini/quality", PHOTOGRAPHS)
    assert default_weights().ma_source == default_weights().niqe_source == "stand-in"
    (tmp_path / "cache/weights").mkdir(parents=True)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    write_niqe(tmp_path / "cache/weights" / NIQE.official, SOME_NIQE)
    assert (default_weights().niqe_source, default_weights().ma_source) == ("official", "stand-in")
    np.testing.assert_array_equal(default_weights().niqe.mean, SOME_NIQE.mean)
