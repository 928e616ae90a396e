"""The profiles on tiny sets in the real formats, from a network that is this machine: all starts and ends."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from served_archives import IMAGES, local_registry, make_archives, serving
from tiny_project import ROOT

from masksr import params, weights
from masksr.fetch.find import build_pack
from masksr.paths import Paths
from masksr.results import evaluate
from masksr.training import train as training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    make_archives(folder)
    with serving(folder) as server, pytest.MonkeyPatch.context() as patch:
        for variable in ("MASKSR_DATA", "MASKSR_OFFLINE"):
            patch.delenv(variable, raising=False)
        patch.setenv("MASKSR_CACHE", str(folder / "cache"))
        patch.setenv("TORCH_HOME", str(folder / "cache/torch"))
        yield local_registry(ROOT / "data/registry.yaml", folder, server.address)


def shortened(profile: str) -> dict:
    """The profile with its networks; two steps of two patches of half the side a training, fp32 on a CPU."""
    content = yaml.safe_load((ROOT / f"profiles/{profile}.yaml").read_text())
    content["train"] |= {"device": "cpu", "precision": "fp32", "steps_per_epoch": 2, "log_every": 1}
    content["train"] |= {"validate_every": 2, "validation_patches": 1, "checkpoint_every": 2}
    content["measures"]["also"] = ["gmsd"]  # which needs no weights, in the place of LPIPS and DISTS
    for model in content["models"].values():
        model |= {"batch": 2, "lr_patch": model["lr_patch"] // 2}
        for schedule in (model["gan"], *model["start"]["phases"]):
            schedule |= {"epochs": 1, "halve_at": []}
    return content


@pytest.mark.parametrize("profile", ["paper", "study"])
def test_the_full_networks_start_and_end(profile: str, registry: str, tmp_path: Path, monkeypatch) -> None:
    """Fetch, pack, weights, every start, every masked training and its evaluation, as in the notebooks."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/registry.yaml").write_text(registry)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(shortened(profile)))
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    settings = params.load()
    paths = Paths.of(settings)
    for name in (settings.data.train, settings.data.validation, *settings.data.test):
        pack = build_pack(name, paths.set(name), limit=settings.data.limit_of(name))
        official = [image.lr["lr_x4"] for image in pack.manifest.images]
        # JPEGs have no LR with them; the others' were made as ours are.
        assert official == (["masksr"] if name == "BSDS500" else [0]) * IMAGES
    assert "from vgg19-dcbb9e9d.pth" in weights.prepare_vgg19(settings, paths)
    assert {half["source"] for half in weights.prepare_quality(settings, paths).values()} == {"official"}
    # Each model is evaluated on another set: on all of them it takes minutes.
    for model, name in zip(settings.table1.models, settings.data.test, strict=False):
        training.train_start(settings, model, 0, paths)
        out = paths.variant(model, "paper", 0)
        result = training.train_gan(settings, model, settings.masks["paper"], 0, paths, out)
        one_set = settings.model_copy(update={"data": settings.data.model_copy(update={"test": [name]})})
        labels, upscale = {"model": model, "mask": "paper", "seed": 0}, evaluate.load_upscale(one_set, out)
        quality = evaluate.evaluate(labels, upscale, *evaluate.load_protocol(one_set, paths))
        assert np.isfinite(result["psnr"]) and len(quality) == IMAGES
        assert set(quality.niqe_weights) == set(quality.ma_weights) == {"official"}
        # PI may have none: two steps leave nearly flat pictures.
        assert np.isfinite(quality[["psnr", "gmsd"]]).all(axis=None)
