"""A file that is not what its name says is one line that names it, whichever reader meets it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from masksr import params, provenance
from masksr.data.images import read_image
from masksr.io import MasksrError, read_json, read_yaml
from masksr.notebook import read_defaults

ROOT = Path(__file__).parents[1]
WHOLE = {
    "params.yaml": (ROOT / "params.yaml").read_bytes(),
    "n.ipynb": (ROOT / "notebooks/13_train.ipynb").read_bytes(),
    "p.json": b'{"stages": {}}',
    "x.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cc\xf8\xff\xff?\0",
}
READERS = [
    (params.load, "params.yaml"),
    (read_yaml, "params.yaml"),
    (read_json, "p.json"),
    (provenance.read_provenance, "p.json"),
    (read_defaults, "n.ipynb"),
    (read_image, "x.png"),
]
BREAK = {
    "cut short": lambda content: content[: len(content) * 2 // 3] + b"\n]",
    "bytes": lambda content: b"\xff\xfe" + random.Random(0).randbytes(1000),
    "a page of the web": lambda content: b"<!doctype html><html><body>404: {not found</body></html>",
}


@pytest.mark.parametrize("broken", BREAK)
@pytest.mark.parametrize(("read", "name"), READERS, ids=[f"{read.__name__} {name}" for read, name in READERS])
def test_a_broken_file_is_one_line(tmp_path: Path, read: Callable, name: str, broken: str) -> None:
    (tmp_path / name).write_bytes(BREAK[broken](WHOLE[name]))
    with pytest.raises(MasksrError, match=name) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
