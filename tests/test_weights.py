"""The weights stage, VGG19, NIQE and Ma: what is found, what is said when nothing is, what stand-ins are worth."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from made_up_scores import SOME_MA, SOME_NIQE
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.color import gray2rgb
from sklearn.datasets import load_sample_image
from sklearn.ensemble import RandomForestRegressor
from tiny_project import ROOT

from masksr import params, weights
from masksr.data.bicubic import imresize
from masksr.data.images import read_image
from masksr.fetch.find import build_pack
from masksr.fetch.registry import File, Weights
from masksr.io import MasksrError
from masksr.models.build import save_weights
from masksr.models.vgg import load_vgg19, random_vgg19
from masksr.paths import Paths
from masksr.quality import weights as quality
from masksr.quality.filters import luma_plane
from masksr.quality.index import score
from masksr.quality.niqe import niqe
from masksr.quality.standin import fit_ma, fit_niqe, from_sklearn
from masksr.quality.weights import OFFICIAL, QualityWeights, default_weights, load_quality, read_ma, read_niqe
from masksr.weights import find_vgg19, prepare_vgg19

NIQE, MA = OFFICIAL.values()
FOLDER = os.environ.get("MASKSR_DATA")  # which no other test here may see


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any file, cache, project or network; stand-ins in form, fitted in two seconds."""
    for variable in ("MASKSR_DATA", "XDG_CACHE_HOME", "TORCH_HOME", "MASKSR_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.setattr("masksr.quality.standin.CROPS", 6)
    monkeypatch.setattr("masksr.quality.standin.TREES", 40)


def settings(local: Path | None = None, **changes) -> params.Params:
    mini = params.load(ROOT / "profiles/mini.yaml")
    folders = mini.data.model_copy(update={"local": local and str(local), "train": "workshop"})
    return mini.model_copy(update={"weights": mini.weights.model_copy(update=changes), "data": folders})


def test_the_random_one_is_a_labelled_stand_in_and_always_the_same(tmp_path: Path) -> None:
    said = {prepare_vgg19(settings(), Paths(tmp_path / name, "mini")) for name in "ab"}
    assert said == {"VGG19 features: random weights (a stand-in), 0.25 of VGG19's channels"}
    files = [tmp_path / name / "data/weights/mini/vgg19.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_vgg19(files[0])(torch.rand(1, 3, 32, 32)).shape == (1, 128, 2, 2)


def test_vgg19_is_your_own_file_else_that_of_the_data_folder_else_torchs(tmp_path: Path) -> None:
    local, own = tmp_path / "data", tmp_path / "mine.pth"
    imagenet = {"vgg": "imagenet", "vgg_width": 1.0}
    with pytest.raises(MasksrError, match="https://download"):
        find_vgg19(settings(**imagenet))
    cached = tmp_path / "home/.cache/torch/hub/checkpoints/vgg19.safetensors"
    save_weights(random_vgg19(0.0625, 1), cached)
    assert find_vgg19(settings(**imagenet)) == cached
    save_weights(random_vgg19(0.0625, 2), local / "vgg19.safetensors")
    assert find_vgg19(settings(local, **imagenet)) == local / "vgg19.safetensors"
    with pytest.raises(MasksrError, match=r"no file .*mine\.pth"):
        find_vgg19(settings(local, **imagenet, vgg_file=str(own)))
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, own)
    with pytest.raises(MasksrError, match=r"mine\.pth does not fit VGG19Features: Missing key"):
        prepare_vgg19(settings(local, **imagenet, vgg_file=str(own)), Paths(tmp_path, "mini"))


def test_oxfords_features_are_scaled_to_suit_the_loss_weights(tmp_path: Path) -> None:
    """SRGAN's factor, 1/12.75, and only where the weights are Oxford's."""
    network, image = random_vgg19(1.0, 1), torch.rand(1, 3, 32, 32)
    save_weights(network, tmp_path / "v.safetensors")
    for kind, factor in (("imagenet", 1.0), ("oxford", 1 / 12.75)):
        paths = Paths(tmp_path / kind, "mini")
        wanted = settings(vgg=kind, vgg_width=1.0, vgg_file=str(tmp_path / "v.safetensors"))
        said = prepare_vgg19(wanted, paths)
        assert "from v.safetensors" in said and ("1/12.75" in said) == (kind == "oxford")
        found = load_vgg19(paths.weights / "vgg19.safetensors")(image)
        torch.testing.assert_close(found, factor * network(image))


def test_a_forest_as_matlab_saves_it_is_read(tmp_path: Path) -> None:
    """Rows count from one, unused rows are zero, the fields may have any names."""
    tree = {
        "lDau": np.array([[2, 0], [0, 0], [4, 0], [0, 0], [0, 0]], np.int32),
        "rDau": np.array([[3, 0], [0, 0], [5, 0], [0, 0], [0, 0]], np.int32), "c": np.zeros((5, 2), np.int32),
        "d": np.int32(5), "e": np.array([[0.5, 0], [0, 0], [1.5, 0], [0, 0], [0, 0]]),
        "f": np.array([[0, 8.0], [1, 0], [0, 0], [2, 0], [3, 0]]),
        "g": np.array([[3, 0], [0, 0], [1, 0], [0, 0], [0, 0]], np.int32),
    }
    cells = np.empty((1, 3), object)
    cells[0, :] = [tree, tree, tree]
    scipy.io.savemat(tmp_path / "m.mat", {"model": {"rf": cells, "linear": np.eye(4, 1)}})
    forest = read_ma(tmp_path / "m.mat").forests[0]
    for first, third, leaf in ((9, 0.5, 1), (1.5, 0.6, 2), (1.6, 0.6, 3)):
        assert forest.predict(np.array([first, 0, third])) == (leaf + 8) / 2


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    quality.write_ma(tmp_path / "ma.mat", SOME_MA)
    cut = (tmp_path / "ma.mat").read_bytes()[:300]
    for name, content in {"cut.mat": cut, "page.mat": b"<html>404</html>", "empty.mat": b""}.items():
        (tmp_path / name).write_bytes(content)
    cases = (read_ma, "cut"), (read_ma, "page"), (read_niqe, "empty"), (read_niqe, "ma"), (read_ma, "no")
    for read, name in cases:
        with pytest.raises(MasksrError, match=rf"{name}\.mat: does not hold"):
            read(tmp_path / f"{name}.mat")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A data folder with files in the official formats under the official names."""
    folder = tmp_path / "data"
    folder.mkdir(parents=True)
    quality.write_niqe(folder / NIQE, SOME_NIQE)
    quality.write_ma(folder / MA, SOME_MA)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A project with the pack of one training set, the working directory; nothing can be downloaded."""

    def published(name: str) -> Weights:
        about = dict.fromkeys(("title", "cite", "licence", "homepage"), "-")
        files = [File(name=OFFICIAL[name], urls=["http://127.0.0.1:9/x"])]
        return Weights(name=name, **about, downloads=files)

    monkeypatch.setattr(weights, "find_weights", published)
    paths = Paths(tmp_path / "project", "mini")
    build_pack("workshop", paths.set("workshop"))
    (paths.root / "dvc.yaml").touch()
    shutil.copy(ROOT / "profiles/mini.yaml", paths.root / "params.yaml")
    monkeypatch.chdir(paths.root)
    return paths


@pytest.mark.parametrize("mode", ["official", "auto"])
def test_official_files_of_the_data_folder_are_taken(mode: str, official: Path, project: Paths) -> None:
    record = weights.prepare_quality(settings(official, quality=mode), project)
    found = default_weights()
    assert found.niqe_source == found.ma_source == record["ma"]["source"] == "official"
    np.testing.assert_array_equal(found.niqe.mean, SOME_NIQE.mean)
    assert [forest.predict(np.zeros(75)) for forest in found.ma.forests] == [4, 6, 5]
    text = (project.weights / "quality/quality_weights.json").read_text()
    assert json.loads(text) == record and str(official) not in text  # the same record on every machine


def test_auto_fits_what_cannot_be_had_and_a_project_scores(official, project, monkeypatch, capsys) -> None:
    (official / MA).rename(official / "later")
    monkeypatch.delenv("MASKSR_OFFLINE")
    with pytest.raises(MasksrError, match=MA):
        weights.prepare_quality(settings(official, quality="official"), project)
    capsys.readouterr()
    record = weights.prepare_quality(settings(official, quality="auto"), project)
    assert "downloaded" not in capsys.readouterr().out  # nothing is announced that does not come
    assert record["ma"]["fit"]["samples"] > 6 and "fit" not in record["niqe"]
    assert score(data.rocket()[100:250, 200:350]).label == "PI (stand-in Ma)"
    (project.weights / "quality/ma.mat").write_bytes(b"")
    with pytest.raises(MasksrError, match=r"ma\.mat: does not hold"):  # and not whatever else may be at hand
        default_weights()
    shutil.rmtree(project.weights)
    for load in (default_weights, lambda: load_quality(project.weights)):
        with pytest.raises(MasksrError, match="dvc repro weights"):
            load()


TRAINING = [
    ("astronaut", data.astronaut()), ("coffee", data.coffee()), ("flower", load_sample_image("flower.jpg")),
    ("hubble", data.hubble_deep_field()[:500, :500]),
    *((name, gray2rgb(getattr(data, name)())) for name in ("brick", "grass", "gravel")),
]


def bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    return imresize(imresize(image, 1 / scale), scale)


def garbage(image: np.ndarray) -> list[np.ndarray]:
    """What a generator gives whose training has failed: noise, stripes, a grid on something smooth."""
    smooth, rng = bicubic(image, 4).astype(float), np.random.default_rng(0)
    rows, columns = np.indices(image.shape[:2])
    noise = rng.normal(size=image.shape[:2]) * 15
    lines, dots = 20.0 * (rows // 2 % 2), 20.0 * (rows % 4 == 1) * (columns % 4 == 2)
    bad = (noise, lines + noise / 5, dots + noise / 15)
    return [(smooth + added[..., None]).clip(0, 255).astype(np.uint8) for added in bad]


def test_held_out_photographs_are_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """HR > x2 > x4 for three of four images, and what a failed GAN paints is far behind."""
    monkeypatch.setattr("masksr.quality.standin.CROPS", 24)  # a sixth of the pipeline's
    monkeypatch.setattr("masksr.quality.standin.TREES", 100)
    niqe, ma = fit_niqe(TRAINING)[0], fit_ma(TRAINING, workers=2)[0]
    weights = QualityWeights(niqe, ma, "stand-in", "stand-in")
    cat, temple = data.chelsea(), load_sample_image("china.jpg")
    images = [cat[:300, :216], cat[:300, 224:440], temple[124:424, :216], data.rocket()[216:420, :300]]
    images = [np.ascontiguousarray(image) for image in images]
    ladders = [[score(x, weights=weights) for x in (hr, bicubic(hr, 2), bicubic(hr, 4))] for hr in images]
    for better, worse in ((0, 1), (1, 2), (0, 2)):
        assert np.mean([ladder[better].ma > ladder[worse].ma for ladder in ladders]) >= 0.75
        assert np.mean([ladder[better].pi < ladder[worse].pi for ladder in ladders]) >= 0.75
    assert all(score(bad, weights=weights).pi > ladders[0][0].pi + 1 for bad in garbage(images[0]))


def test_the_stand_in_of_niqe_follows_the_official_one() -> None:
    """Over the pictures of Set14, whole, shrunk and enlarged, noisy and blurred; measured: 0.91."""
    if FOLDER is None:
        pytest.skip("MASKSR_DATA is not set: no official NIQE to compare with")
    folder, rng = Path(FOLDER), np.random.default_rng(0)
    models = fit_niqe(TRAINING)[0], quality.read_niqe(folder / "weights/niqe_modelparameters.mat")
    values = []
    for path in sorted((folder / "test/Set14/HR").iterdir()):
        hr = read_image(path)
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
        noisy = (bicubic(hr, 4) + rng.normal(size=hr.shape) * 8).clip(0, 255).astype(np.uint8)
        blurred = gaussian_filter(hr.astype(float), (1, 1, 0)).astype(np.uint8)
        for image in (hr, bicubic(hr, 2), bicubic(hr, 4), noisy, blurred):
            values.append([niqe(luma_plane(image), model) for model in models])
    assert np.corrcoef(np.transpose(values))[0, 1] > 0.85


def test_fits_are_reproducible_to_the_byte(tmp_path: Path) -> None:
    for workers in (1, 2):
        ma, fit = fit_ma(TRAINING[:2], workers)
        quality.write_ma(tmp_path / f"ma{workers}", ma)
        quality.write_niqe(tmp_path / f"niqe{workers}", fit_niqe(TRAINING[:1])[0])
    assert fit["photographs"] == ["astronaut", "coffee"]
    for half in ("ma", "niqe"):
        assert (tmp_path / f"{half}1").read_bytes() == (tmp_path / f"{half}2").read_bytes()


def test_trees_keep_their_answers_in_the_other_layout() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32).astype(np.float64)
    regressor = RandomForestRegressor(12, random_state=0).fit(x, x[:, 0] + x[:, 1] ** 2)
    forest = from_sklearn(regressor)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-12)
    # Thresholds keep off the grid of shapes.
    x = rng.integers(200, 1500, (200, 3)) / 1000
    regressor = RandomForestRegressor(10, random_state=0, bootstrap=False).fit(x, x.sum(axis=1))
    forest = from_sklearn(regressor, gridded=3)
    np.testing.assert_allclose(forest.threshold[forest.left > 0] * 1000 % 1, 0.5, atol=1e-6)
    np.testing.assert_allclose([forest.predict(row) for row in x], regressor.predict(x), rtol=1e-6)
