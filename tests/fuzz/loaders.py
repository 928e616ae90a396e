"""What is fuzzed: of every loader valid samples, how it is called, and what damage gets past its checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import torch
from bs4 import BeautifulSoup

from masksr import documents, params
from masksr.data.images import read_header, read_image
from masksr.data.packed import Pack
from masksr.errors import MasksrError
from masksr.fetch import archives, checksums, registry, staging
from masksr.models import build, load_vgg19, random_vgg19, save_weights
from masksr.notebook_parameters import checked, declared, parsed
from masksr.quality.weights import RECORD, _read_record, read_ma, read_niqe
from masksr.report import Section, build_report
from masksr.tools.photo import read_photo
from masksr.tools.pretrained import load_pretrained
from masksr.training import checkpoints
from tests.fuzz import mutate, samples


class Loader(NamedTuple):
    samples: dict[str, bytes]  # by a name whose suffix the file gets
    load: Callable[[Path], object]
    deep: dict[str, mutate.Mutation] = {}  # noqa: RUF012  by the suffixes they are for


def loaders() -> dict[str, Loader]:
    torch.manual_seed(0)
    pictures, photos = samples.pictures(), samples.photos()
    png = {".png": mutate.in_png}
    text = {".json": mutate.in_json, ".ipynb": mutate.in_json}
    both = {".safetensors": mutate.in_safetensors, ".pth": mutate.in_zip}
    zips = {".zip": mutate.in_zip, ".tgz": mutate.in_gzip}
    yaml = {path.name: path.read_bytes() for path in (samples.ROOT / "profiles").glob("*.yaml")}
    known = {"registry.yaml": (samples.ROOT / "data/registry.yaml").read_bytes()}
    return {
        "image": Loader(pictures, lambda path: (read_header(path), read_image(path)), png),
        "photo": Loader(photos | pictures, read_photo, png),
        "weights": Loader(samples.weights(), _any_network, both),
        "generator": Loader(samples.generator(), build.load_generator, both),
        "vgg": Loader(
            samples.written(lambda at: save_weights(random_vgg19(0.01, 0), at / "v.safetensors")), load_vgg19, both
        ),
        "checkpoint": Loader(samples.checkpoint(), _last_checkpoint, {".pt": mutate.in_zip}),
        "niqe": Loader(samples.written(samples.niqe), read_niqe, {".mat": mutate.in_mat}),
        "ma": Loader(samples.written(samples.ma), read_ma, {".mat": mutate.in_mat}),
        "pack": Loader(samples.pack(), _open_pack, text),
        "params": Loader(yaml, lambda path: (params.load(path), documents.check_dvc_reads_the_same(path))),
        "registry": Loader(known, registry.load_registry),
        "archive": Loader(samples.archives(pictures["rgb.png"]), _unpack, zips),
        "notebook": Loader(samples.notebooks(), _parameters, text),
        "report": Loader(samples.executed(pictures["rgb.png"]), _report, text),
        "records": Loader(samples.records(), _read_records, text),
    }


def _any_network(path: Path) -> None:
    """All three, so that every reading of the sizes is met; at least one has to say no."""
    problems = []
    for architecture in ("rrdb", "edsr", "pesr"):
        try:
            load_pretrained(path, architecture, res_scale=None if architecture == "rrdb" else 0.1)
        except MasksrError as problem:
            problems.append(problem)
    if len(problems) == 3:
        raise problems[0]


def _last_checkpoint(path: Path) -> None:
    """Under the name that its content asks for: as if the checksum had been forged."""
    name = f"step-00000003-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pt"
    checkpoints.load_last(path.rename(path.with_name(name)).parent, torch.device("cpu"))


def _open_pack(path: Path) -> None:
    """The damaged file among whole ones."""
    for name, content in samples.pack().items():
        other = path.with_name(name)
        path.replace(other) if path.name.endswith(name) else other.exists() or other.write_bytes(content)
    pack = Pack(path.parent)
    for number in range(len(pack)):
        assert pack.hr(number).shape[2] == pack.lr(number, pack.scales[0]).shape[2] == 3
    arrays, begins, _ = pack.flat(1)
    assert len(pack.digest) == 64 and max(begins) < len(arrays)
    pack.verify()


def _unpack(path: Path) -> None:
    folder, before = path.parent / "into", set(path.parent.parent.iterdir())
    folder.mkdir()
    archives.unpack(path, folder, lambda name: True, limit=10_000_000)
    assert set(path.parent.parent.iterdir()) == before, "something lies outside"
    assert set(path.parent.iterdir()) == {folder, path}, "something lies outside"


def _parameters(path: Path) -> None:
    """Each parameter is given anew: text as something odd, all else as its default."""
    words = [
        f"{name}={'$(id)' if types == {str} else json.dumps(default, default=str, skipkeys=True)}"
        for name, (default, types) in declared(path).items()
        if types or default is None
    ]
    checked(path, parsed(path, words))


def _report(path: Path) -> None:
    """Whatever the notebook holds, the page must not run or load anything."""
    output = path.with_name("report.html")
    build_report([Section(path)], output, title="T", subtitle="s", facts={"a": "b"}, notice="n")
    page = BeautifulSoup(output.read_bytes().decode("utf-8"), "html.parser")
    ours = page.body.find_all("script")[-1]
    assert ours.string == (files("masksr.report") / "page.js").read_text(encoding="utf-8")
    ours.decompose()
    assert not page.body.find_all(["script", "iframe", "object", "embed", "link", "meta", "base", "form", "svg"])
    for element in page.body.find_all(True):
        for name, value in element.attrs.items():
            assert not name.startswith("on"), f"{name}={value}"
            assert name != "src" or value.startswith("data:"), value
            to_itself = value == path.name  # each section links its executed notebook
            assert name != "href" or to_itself or value.startswith(("#", "http://", "https://", "mailto:")), value


def _read_records(path: Path) -> None:
    for name in (checksums.RECORD, staging.RECORD, RECORD):
        if path.name.endswith(name):
            path = path.replace(path.with_name(name))
    file = registry.File(name="a.zip", urls=["https://a.example"])
    for name in ("a.zip", "a.png"):
        path.with_name(name).write_bytes(b"abc")
    {
        checksums.RECORD: lambda: checksums.is_verified(file, path.with_name("a.zip")),
        staging.RECORD: lambda: staging.verify_folder(path.parent, "s"),
        RECORD: lambda: _read_record(path.parent),
    }[path.name]()
