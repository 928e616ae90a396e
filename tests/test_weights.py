"""VGG19 in the weights stage: what is found, what is made, and what is said when nothing is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masksr import params
from masksr.errors import MasksrError
from masksr.models.checkpoints import save_weights
from masksr.models.vgg import load_vgg19, random_vgg19
from masksr.paths import Paths
from masksr.tools.weights import find_vgg19, prepare_vgg19

ROOT = Path(__file__).parents[1]


def settings(**changes) -> params.Params:
    mini = params.load(ROOT / "profiles/mini.yaml")
    return mini.model_copy(update={"weights": mini.weights.model_copy(update=changes)})


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.delenv("MASKSR_DATA", raising=False)


def test_the_random_one_is_a_labelled_stand_in_and_always_the_same(tmp_path: Path) -> None:
    said = {prepare_vgg19(settings(), Paths(tmp_path / name, "mini")) for name in "ab"}
    assert said == {"VGG19 features: random weights (a stand-in), 0.25 of VGG19's channels"}
    files = [tmp_path / name / "data/weights/mini/vgg19.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_vgg19(files[0])(torch.rand(1, 3, 32, 32)).shape == (1, 128, 2, 2)


def test_imagenet_is_found_in_the_data_folder_then_in_torchs_cache(tmp_path: Path, monkeypatch) -> None:
    imagenet = settings(vgg="imagenet", vgg_width=1.0)
    with pytest.raises(MasksrError, match="https://download"):
        find_vgg19(imagenet)
    cached = tmp_path / "torch/hub/checkpoints/vgg19-dcbb9e9d.pth"
    local = tmp_path / "data/weights/vgg19.safetensors"
    for path in (cached, local):
        path.parent.mkdir(parents=True)
    torch.save(random_vgg19(0.0625, 1).state_dict(), cached)
    with pytest.raises(MasksrError, match=r"vgg19-dcbb9e9d\.pth: it has \d+ bytes, expected are 574673361"):
        find_vgg19(imagenet)
    monkeypatch.setattr("masksr.fetch.download.verify", lambda *_: None)
    assert find_vgg19(imagenet) == cached
    save_weights(random_vgg19(0.0625, 2), local)
    monkeypatch.setenv("MASKSR_DATA", str(tmp_path / "data"))
    assert find_vgg19(imagenet) == local


def test_a_file_of_your_own_comes_before_all_others(tmp_path: Path) -> None:
    own = tmp_path / "mine.pth"
    wanted, paths = settings(vgg="imagenet", vgg_width=1.0, vgg_file=str(own)), Paths(tmp_path, "mini")
    with pytest.raises(MasksrError, match=r"no file .*mine\.pth"):
        find_vgg19(wanted)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, own)
    with pytest.raises(MasksrError, match=r"mine.pth does not fit VGG19Features: \d+ missing"):
        prepare_vgg19(wanted, paths)


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
