"""Weights on disk: public checkpoints in, safetensors out, and what is said when something does not fit."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_models import SMALL
from torch import nn

from masksr.errors import MasksrError
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


@settings(max_examples=20, deadline=None)
@given(
    shapes=st.dictionaries(st.text(min_size=1), st.lists(st.integers(0, 3), max_size=3), max_size=4),
    metadata=st.dictionaries(st.text(), st.text(), max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.int64]),
)
def test_any_state_dict_and_metadata_survive(tmp_path_factory, shapes, metadata, dtype):
    shapes.pop("__metadata__", None)
    path = tmp_path_factory.mktemp("any") / "x.safetensors"
    tensors = {key: torch.arange(torch.Size(shape).numel()).view(shape).to(dtype) for key, shape in shapes.items()}
    save_weights(tensors, path, metadata)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) and found[key].dtype == dtype for key in tensors)
    with safe_open(path, "pt") as file:
        assert (file.metadata() or {}) == metadata


def test_equal_weights_give_equal_bytes(tmp_path: Path):
    network = SMALL["edsr"]()
    metadata = {str(n): "x" for n in range(20)}
    save_weights(network, tmp_path / "a.safetensors", metadata)
    save_weights(network.state_dict(), tmp_path / "b.safetensors", dict(reversed(metadata.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "g.safetensors"
    save_weights({"a": torch.ones(2)}, path)
    before = path.read_bytes()

    def no_space(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(MasksrError, match="no space"):
        save_weights({"a": torch.zeros(2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_saved_weights(tmp_path: Path):
    path, ordinary = tmp_path / "g.safetensors", tmp_path / "ordinary"
    save_weights({"a": torch.ones(2)}, path)
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_metadata_is_text(tmp_path: Path):
    with pytest.raises(TypeError, match="text to text"):
        save_weights({"a": torch.ones(2)}, tmp_path / "g.safetensors", {"step": 3})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("container", [None, "params_ema", "params", "state_dict", "model"])
def test_public_checkpoints_are_unwrapped(container: str | None, tmp_path: Path):
    network, other = SMALL["rrdb"](), SMALL["rrdb"]()
    content = network.state_dict()
    torch.save(content if container is None else {container: content, "epoch": 3}, tmp_path / "g.pth")
    load_weights(other, tmp_path / "g.pth")
    assert equal(network, other)


def test_the_moving_average_comes_before_the_raw_weights(tmp_path: Path):
    torch.save({"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}}, tmp_path / "g.pth")
    assert read_weights(tmp_path / "g.pth")["a"] == 1


def test_names_of_the_esrgan_repository(tmp_path: Path):
    """RRDB_ESRGAN_x4.pth and RRDB_PSNR_x4.pth have them."""
    network, other = SMALL["rrdb"](), SMALL["rrdb"]()
    theirs = {}
    for key, value in network.state_dict().items():
        for ours, name in (("body.", "RRDB_trunk."), ("rdb", "RDB"), ("conv_RRDB_trunk.", "trunk_conv."),
                           ("conv_up", "upconv"), ("conv_hr", "HRconv")):  # fmt: skip
            key = key.replace(ours, name)
        theirs[key] = value
    expected = {"RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.bias", "upconv1.weight", "upconv2.bias", "HRconv.weight"}
    assert expected | {"conv_first.weight", "conv_last.bias"} <= theirs.keys()
    torch.save(theirs, tmp_path / "g.pth")
    load_weights(other, tmp_path / "g.pth")
    assert equal(network, other)


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
    save_weights(EDSR(2, 8, scale=2).state_dict() | {"extra": torch.ones(1)}, path)
    with pytest.raises(MasksrError) as error:
        load_weights(network, path)
    for part in (str(path), "EDSR", "2 missing (tail.0.2.bias, tail.0.2.weight)", "1 unexpected (extra)"):
        assert part in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    with pytest.raises(MasksrError, match=r"of another shape \(.*\(12,\) instead of \(8,\), .*, \.\.\.\)"):
        save_weights(EDSR(2, 12), path)
        load_weights(network, path)


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


def test_half_precision_files_become_float32(tmp_path: Path):
    network = SMALL["pesr"]()
    save_file({key: value.half() for key, value in network.state_dict().items()}, tmp_path / "half.safetensors")
    load_weights(network, tmp_path / "half.safetensors")
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_saved_header_is_plain_safetensors(tmp_path: Path):
    save_weights({"a": torch.ones(3), "b": torch.zeros(2)}, tmp_path / "g.safetensors", {"é": "ü"})
    data = (tmp_path / "g.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["__metadata__"] == {"é": "ü"}
    assert max(end for name in "ab" for end in header[name]["data_offsets"]) == len(data) - 8 - length
