"""Packs: what goes in comes out, the bytes are always the same, and nothing half-made is ever trusted."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from tiny_project import ROOT

from masksr.data import packs
from masksr.data.bicubic import imresize
from masksr.data.images import modcrop, write_png
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack
from masksr.fetch.registry import FolderSet, Layout, load_registry
from masksr.io import MasksrError

REGISTRY = ROOT / "data" / "registry.yaml"
SIZES = [(48, 64), (40, 36), (33, 50)]


def hr_image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number], 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path) -> Path:
    for number in range(3):
        write_png(tmp_path / f"data/own/{number}.png", hr_image(number))
    return tmp_path / "data"


@pytest.fixture
def spec() -> FolderSet:
    about = {"name": "own", "title": "Own", "role": "train", "cite": "-", "licence": "mine"}
    layouts = [Layout(hr="own/{name}.png", lr_x4="lr/{name}.png")]
    return FolderSet(**about, homepage="at home", kind="folder", images=3, layouts=layouts)


@pytest.fixture
def pack(data, spec, tmp_path) -> Pack:
    return build_pack(spec, tmp_path / "sets/own", data_folder=data)


def test_what_goes_in_comes_out_as_read_only_views(pack):
    assert len(pack) == 3 and pack.names == ["0", "1", "2"] and pack.scales == (2, 4)
    for number in range(3):
        hr = modcrop(hr_image(number), 4)
        np.testing.assert_array_equal(pack.hr(number), hr)
        assert not pack.hr(number).flags.owndata and not pack.hr(number).flags.writeable
        for scale in (2, 4):
            np.testing.assert_array_equal(pack.lr(number, scale), imresize(hr, 1 / scale))
    about = {key: getattr(pack.manifest, key) for key in ("set", "title", "licence", "origin")}
    assert about == {"set": "own", "title": "Own", "licence": "mine", "origin": "at home"}
    assert [image.lr["lr_x4"] for image in pack.manifest.images] == ["masksr"] * 3
    assert [image.cut for image in pack.manifest.images] == [False, False, True]


def test_official_lr_is_taken_and_said_to_be(data, spec, tmp_path):
    for number in range(3):
        lr = imresize(modcrop(hr_image(number), 4), 0.25)
        lr[0, 0] ^= 7  # an official LR is kept as it is
        write_png(data / f"lr/{number}.png", lr)
    pack = build_pack(spec, tmp_path / "sets/own", data_folder=data)
    for number, image in enumerate(pack.manifest.images):
        assert 0 < image.lr["lr_x4"] <= 7 and image.lr["lr_x2"] == "masksr"
        np.testing.assert_array_equal(pack.lr(number)[0, 0] ^ 7, imresize(pack.hr(number), 0.25)[0, 0])


@pytest.mark.parametrize(
    ("shrink", "fits"),
    {
        "box": (lambda hr: hr.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8), True),
        "without antialiasing": (lambda hr: hr[::4, ::4], False),
        "shifted by half a pixel": (lambda hr: imresize(np.roll(hr, 2, axis=1), 0.25), False),
        "mirrored": (lambda hr: imresize(hr[:, ::-1], 0.25), False),
    }.values(),
)
def test_lr_that_was_shrunk_in_another_way_is_refused_for_the_set_as_a_whole(shrink, fits, tmp_path, spec):
    for number in range(3):
        hr = getattr(skimage.data, ("astronaut", "chelsea", "coffee")[number])()[:256, :256]
        write_png(tmp_path / f"data/own/{number}.png", hr)
        write_png(tmp_path / f"data/lr/{number}.png", np.ascontiguousarray(shrink(hr)))
    if fits:
        build_pack(spec, tmp_path / "pack", data_folder=tmp_path / "data")
    else:
        with pytest.raises(MasksrError, match=r"does not fit .*shrunk without antialiasing"):
            build_pack(spec, tmp_path / "pack", data_folder=tmp_path / "data")
        assert not (tmp_path / "pack").exists()


def test_the_same_pictures_give_the_same_bytes(pack, data, spec, tmp_path):
    again = build_pack(spec, tmp_path / "elsewhere", data_folder=data)
    written = sorted(file.name for file in again.folder.iterdir())
    assert written == ["hr.npy", "lr_x2.npy", "lr_x4.npy", "manifest.json"]
    for file in again.folder.iterdir():
        assert file.read_bytes() == (pack.folder / file.name).read_bytes()
    only_x4 = build_pack(spec, tmp_path / "four", data_folder=data, scales=(4,))
    assert only_x4.scales == (4,) and not (only_x4.folder / "lr_x2.npy").exists()
    titled = spec.model_copy(update={"title": "New title"})
    renamed = build_pack(titled, tmp_path / "renamed", data_folder=data)
    write_png(data / "own/1.png", hr_image(1) ^ 1)
    changed = build_pack(spec, tmp_path / "changed", data_folder=data)
    assert renamed.digest == pack.digest != changed.digest


def test_the_embedded_photographs_are_the_same_everywhere(tmp_path):
    """PNG files, so no JPEG decoder has a say: a change here changes what mini's networks are tested on."""
    expected = {"cat": "90acc303", "workshop": "7f4c0c7e", "tissue": "a46e6073"}
    specs = load_registry(REGISTRY).sets
    found = {name: build_pack(specs[name], tmp_path / name).digest[:8] for name in expected}
    assert found == expected


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device"), None])
def test_a_build_replaces_the_old_pack_as_a_whole_or_not_at_all(pack, data, spec, monkeypatch, stop):
    count = iter(range(2))

    def load(*wanted, real=packs.load_image):
        if next(count):
            raise stop
        return real(*wanted)

    write_png(data / "own/0.png", hr_image(0) ^ 1)
    if stop:
        monkeypatch.setattr(packs, "load_image", load)
        with pytest.raises((KeyboardInterrupt, MasksrError), match=r"^$|cannot be written \(No space left"):
            build_pack(spec, pack.folder, data_folder=data)
    else:
        build_pack(spec, pack.folder, data_folder=data)
    assert {path.name for path in pack.folder.parent.iterdir()} == {"own", ".own.lock"}
    assert len(list(pack.folder.iterdir())) == 4
    assert (Pack(pack.folder).digest == pack.digest) == bool(stop)


def test_what_is_no_pack_is_named_and_left_alone(pack, data, spec, tmp_path):
    with pytest.raises(MasksrError, match=r"no pack is here.*build it"):
        Pack(data)
    with pytest.raises(MasksrError, match="not a pack"):
        build_pack(spec, data, data_folder=data)
    whole = (pack.folder / "lr_x4.npy").read_bytes()
    for name, content in (("lr_x4.npy", whole[:-1]), ("lr_x4.npy", b""), ("manifest.json", b'{"format": 0}')):
        (pack.folder / name).write_bytes(content)
        with pytest.raises(MasksrError, match=r"own: damaged.*build the pack again"):
            Pack(pack.folder)
