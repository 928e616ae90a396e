"""YAML as DVC reads it, JSON, and one clear error where a file is neither."""

from __future__ import annotations

import os

import pytest

from masksr.documents import parse_yaml, read_json, read_yaml
from masksr.errors import MasksrError


def test_yaml_is_read_as_dvc_reads_it() -> None:
    from dvc.utils.serialize import parse_yaml as parse_as_dvc

    text = "a: 1e-4\nb: no\nc: 010\nd: {e: [0o17, 1.5, null, true]}\nf: &g text\nh: *g\n"
    read = parse_yaml(text, "x")
    assert read == parse_as_dvc(text, "x")
    assert read["a"] == 1e-4 and read["b"] == "no" and read["h"] == "text"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("k: 1\nb: 2\nk: 3", 'duplicate key "k" .* in line 3'),
        ("a: [1", "got '<stream end>' in line 1"),
        ("a: 2026-99-01", "month must be"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("--- 1\n--- 2", "another document in line 2"),
        ("a: \x1b[2J", "special characters are not allowed"),
        ("[" * 5000, "recursion"),
    ],
)
def test_other_text_is_no_yaml(text: str, says: str) -> None:
    with pytest.raises(MasksrError, match=f"^x: not valid YAML: .*{says}") as caught:
        parse_yaml(text, "x")
    assert "\n" not in str(caught.value)


def test_errors_name_the_file(tmp_path) -> None:
    path = tmp_path / "x.yaml"
    for prepare in (lambda: None, lambda: path.write_bytes(b"a: \xff"), lambda: (path.unlink(), path.mkdir())):
        prepare()
        with pytest.raises(MasksrError, match=r"x\.yaml: cannot be read \("):
            read_yaml(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"9" * 5000, b"nul", b"\xff", os.urandom(100)])
def test_other_bytes_are_no_json(tmp_path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(MasksrError, match=r"x\.json: cannot be read"):
        read_json(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nowhere.json")
