"""Checkpoints: whole or not there, and a damaged one costs only the steps since the one before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masksr.errors import MasksrError
from masksr.locks import claim
from masksr.training import checkpoints

CPU = torch.device("cpu")


def test_the_last_one_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoints.load_last(tmp_path, CPU) is None
    for step in (1, 2, 30):
        checkpoints.save(tmp_path, step, {"step": step, "x": torch.full((3,), float(step)), "history": [{"a": 0.5}]})
    loaded = checkpoints.load_last(tmp_path, CPU)
    assert loaded["step"] == 30 and loaded["history"] == [{"a": 0.5}] and loaded["x"].tolist() == [30.0] * 3
    assert len(list(tmp_path.glob("step-*.pt"))) == 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str, capsys) -> None:
    checkpoints.save(tmp_path, 1, {"step": 1})
    last = checkpoints.save(tmp_path, 2, {"step": 2})
    content = bytearray(last.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    last.write_bytes(content[: {"truncate": len(content) // 2, "empty": 0, "flip": len(content)}[damage]])
    assert checkpoints.load_last(tmp_path, CPU)["step"] == 1
    assert last.name in capsys.readouterr().out
    checkpoints.save(tmp_path, 2, {"step": 2})
    assert checkpoints.load_last(tmp_path, CPU)["step"] == 2


def test_what_was_cut_short_is_never_taken_for_one(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, {"step": 1})
    (tmp_path / ".step-00000002-0123456789abcdef.pt.77.partial").write_bytes(b"half")
    assert checkpoints.load_last(tmp_path, CPU)["step"] == 1


def test_a_disk_that_refuses_is_one_clear_error(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    checkpoints.save(tmp_path, 1, {"step": 1})
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MasksrError, match=r"No space left.*free some space.*nothing that was finished is lost"):
        checkpoints.save(tmp_path, 2, {"step": 2})
    assert checkpoints.load_last(tmp_path, CPU)["step"] == 1
    assert not list(tmp_path.glob(".*partial"))


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".step-00000001-0123456789abcdef.pt.0a1b2c3d.partial"
    left.write_bytes(b"half")
    theirs = tmp_path / ".step-00000002-0123456789abcdef.pt.4e5f6a7b.partial"
    with open(theirs, "wb") as file:
        assert claim(file.fileno(), theirs)
        checkpoints.save(tmp_path, 3, {"step": 3})
        assert theirs.exists() and not left.exists()
    checkpoints.save(tmp_path, 4, {"step": 4})
    assert not theirs.exists()


def test_a_checkpoint_that_cannot_be_read_now_is_not_thrown_away(tmp_path: Path, monkeypatch) -> None:
    last = checkpoints.save(tmp_path, 1, {"step": 1})

    def fails(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        with pytest.raises(MasksrError, match=r"cannot be read \(Input/output error\); try again, or remove it"):
            checkpoints.load_last(tmp_path, CPU)
    assert last.exists()
