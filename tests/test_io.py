"""YAML as DVC reads it, JSON, one clear error where a file is neither; files whole or not at all."""

from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml as parse_as_dvc

from masksr.io import MasksrError, alone, parse_yaml, read_yaml, write_atomic


def test_yaml_is_read_as_dvc_reads_it_and_other_text_is_one_error(tmp_path: Path) -> None:
    text = "a: 1e-4\nb: no\nc: 010\nd: {e: [0o17, 1.5, null, true]}\nf: &g text\nh: *g\n"
    read = parse_yaml(text, "x")
    assert read == parse_as_dvc(text, "x")
    assert read["a"] == 1e-4 and read["b"] == "no" and read["h"] == "text"
    for text, says in {
        "k: 1\nb: 2\nk: 3": 'duplicate key "k" .* in line 3',
        "a: [1": "got '<stream end>'|expected ',' or ']'",
        "a: !!python/object/apply:os.system [id]": "could not determine a constructor",
    }.items():
        with pytest.raises(MasksrError, match=f"^x: not valid YAML: .*({says})"):
            parse_yaml(text, "x")
    with pytest.raises(MasksrError, match=r"x\.yaml: cannot be read \("):
        read_yaml(tmp_path / "x.yaml")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new/x"
    for content in ((b"a", b"b"), (b"other",)):
        write_atomic(path, *content)
        assert path.read_bytes() == b"".join(content)
    with pytest.raises(MasksrError, match=r"could not be written \(.*; free some space"):
        write_atomic(path / "below a file", b"")
    with pytest.raises(MasksrError, match="set MASKSR_CACHE"):
        alone(path / "below a file/.lock", "nothing")
    assert path.read_bytes() == b"other" and list(path.parent.iterdir()) == [path]
