"""Weights on disk: public checkpoints in, safetensors out, and what is said when something does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from test_models import SMALL
from torch import nn

from masksr.io import MasksrError
from masksr.models.checkpoints import load_weights, read_weights, save_weights
from masksr.models.edsr import EDSR


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("name", SMALL)
def test_saved_weights_come_back(name: str, tmp_path: Path):
    network, other = SMALL[name]().to(memory_format=torch.channels_last), SMALL[name]()
    save_weights(network, tmp_path / "g.safetensors", {"step": "3", "seed": "0"})
    load_weights(other, tmp_path / "g.safetensors")
    assert equal(network, other)
    with safe_open(tmp_path / "g.safetensors", "pt") as file:
        assert file.metadata() == {"step": "3", "seed": "0"}


def test_equal_weights_give_equal_bytes(tmp_path: Path):
    network = SMALL["edsr"]()
    metadata = {str(n): "x" for n in range(20)}
    save_weights(network, tmp_path / "a.safetensors", metadata)
    save_weights(network.state_dict(), tmp_path / "b.safetensors", dict(reversed(metadata.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


ONE, ZERO = ({"a": tensor} for tensor in (torch.ones(1), torch.zeros(1)))


@pytest.mark.parametrize(
    "content", [ONE, {"state_dict": ONE, "epoch": 3}, {"model": {"params": ONE}}, {"params": ZERO, "params_ema": ONE}]
)
def test_public_checkpoints_are_unwrapped(content: dict, tmp_path: Path):
    torch.save(content, tmp_path / "g.pth")
    assert read_weights(tmp_path / "g.pth") == ONE


def test_names_of_the_first_release_of_esrgan(tmp_path: Path):
    """RRDB_ESRGAN_x4_old_arch.pth numbers the layers of the whole network."""
    network, other = SMALL["rrdb"](), SMALL["rrdb"]()
    blocks = len(network.body)
    tops = {"conv_first": "0", "conv_body": f"1.sub.{blocks}", "conv_up1": "3", "conv_up2": "6", "conv_hr": "8"}
    theirs = {}
    for key, value in network.state_dict().items():
        layer, kind = key.rsplit(".", 1)
        if layer.startswith("body."):
            _, block, dense, conv = layer.split(".")
            name = f"1.sub.{block}.{dense.upper()}.{conv}.0"
        else:
            name = (tops | {"conv_last": "10"})[layer]
        theirs[f"model.{name}.{kind}"] = value
    assert {"model.1.sub.0.RDB3.conv5.0.weight", f"model.1.sub.{blocks}.bias", "model.10.weight"} <= theirs.keys()
    torch.save(theirs, tmp_path / "g.pth")
    load_weights(other, tmp_path / "g.pth")
    assert equal(network, other)


def test_a_wrong_checkpoint_names_the_file_and_the_keys(tmp_path: Path):
    network = EDSR(2, 8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / "x2.safetensors"
    wrong = {"extra": torch.ones(1), "head.0.bias": torch.ones(12)}
    save_weights(EDSR(2, 8, scale=2).state_dict() | wrong, path)
    with pytest.raises(MasksrError) as error:
        load_weights(network, path)
    wrong = "2 missing (tail.0.2.bias, tail.0.2.weight)", "1 unexpected (extra)", "1 of another shape (head.0.bias)"
    for part in wrong:
        assert part in str(error.value) and str(path) in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_unreadable_files_are_one_clear_error(tmp_path: Path):
    with pytest.raises(MasksrError, match="no such file"):
        read_weights(tmp_path / "absent.pth")
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02version https://git-lfs")
        with pytest.raises(MasksrError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    torch.save(SMALL["edsr"](), tmp_path / "whole.pth")  # a pickled network would run code on loading
    with pytest.raises(MasksrError, match="more than tensors"):
        read_weights(tmp_path / "whole.pth")
    for content in ([torch.ones(1)], {"epoch": 3}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(MasksrError, match="holds no state dict"):
            read_weights(tmp_path / "other.pth")
