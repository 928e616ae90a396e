"""Weights on disk: public checkpoints in, safetensors out, and what is said when something does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from masksr.io import MasksrError
from masksr.models.build import load_state, read_weights, save_weights
from masksr.models.edsr import EDSR


def test_saved_weights_come_back_and_equal_ones_are_equal_bytes(tmp_path: Path):
    network, other = EDSR(2, 8).to(memory_format=torch.channels_last), EDSR(2, 8)
    files, metadata = (tmp_path / "a.safetensors", tmp_path / "b.safetensors"), {"source": "x"}
    save_weights(network, files[0], metadata)
    load_state(other, read_weights(files[0]), "a")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())
    with safe_open(files[0], "pt") as file:
        assert file.metadata() == metadata
    save_weights(other.state_dict(), files[1], metadata)
    assert files[0].read_bytes() == files[1].read_bytes()


ONE, ZERO = ({"a": tensor} for tensor in (torch.ones(1), torch.zeros(1)))


@pytest.mark.parametrize(
    "content", [ONE, {"state_dict": ONE, "epoch": 3}, {"model": {"params": ONE}}, {"params": ZERO, "params_ema": ONE}]
)
def test_public_checkpoints_are_unwrapped(content: dict, tmp_path: Path):
    torch.save(content, tmp_path / "g.pth")
    assert read_weights(tmp_path / "g.pth") == ONE


def test_names_of_the_first_release_of_esrgan(tmp_path: Path):
    """RRDB_ESRGAN_x4_old_arch.pth numbers the layers of the whole network."""
    names = {
        "model.0.bias": "conv_first.bias",
        "model.1.sub.11.RDB3.conv5.0.weight": "body.11.rdb3.conv5.weight",
        "model.1.sub.23.weight": "conv_body.weight",
        "model.3.weight": "conv_up1.weight",
        "model.6.weight": "conv_up2.weight",
        "model.8.weight": "conv_hr.weight",
        "model.10.weight": "conv_last.weight",
    }
    torch.save({name: torch.full((1,), number) for number, name in enumerate(names)}, tmp_path / "g.pth")
    found = read_weights(tmp_path / "g.pth")
    assert {name: int(value) for name, value in found.items()} == {n: i for i, n in enumerate(names.values())}


def test_a_wrong_checkpoint_names_the_file_and_the_keys(tmp_path: Path):
    network = EDSR(2, 8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / "x2.safetensors"
    wrong = {"extra": torch.ones(1), "head.0.bias": torch.ones(12)}
    save_weights(EDSR(2, 8, scale=2).state_dict() | wrong, path)
    with pytest.raises(MasksrError) as error:
        load_state(network, read_weights(path), str(path))
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
    torch.save(EDSR(1, 8), tmp_path / "whole.pth")  # a pickled network would run code on loading
    with pytest.raises(MasksrError, match="more than tensors"):
        read_weights(tmp_path / "whole.pth")
    for content in ([torch.ones(1)], {"epoch": 3}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(MasksrError, match="holds no state dict"):
            read_weights(tmp_path / "other.pth")
