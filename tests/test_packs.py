"""The registry, the pictures of a set and its pack: the same bytes always, and nothing half-made is trusted."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import yaml
from served_archives import photograph
from tiny_project import ROOT

from masksr.data import packs
from masksr.data.bicubic import imresize
from masksr.data.images import modcrop, write_png
from masksr.data.packs import Pack, load_image
from masksr.fetch.find import build_pack, find_images
from masksr.fetch.registry import FolderSet, PackageSet, load_registry
from masksr.io import MasksrError

REGISTRY = load_registry(ROOT / "data/registry.yaml")
GOOD = {"title": "Own pictures", "role": "train", "kind": "folder", "cite": "nobody", "licence": "mine"}
GOOD |= {"homepage": "at home", "images": 3, "layouts": [{"hr": "own/{name}.png"}]}
SIZES = [(48, 64), (40, 36), (33, 50)]


def hr_image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number], 3), dtype=np.uint8)


def folder_set(images: int, **changes) -> FolderSet:
    layouts = [{"hr": "first/HR/{name}.png"}, {"hr": "own/HR/{name}.png", "lr_x4": "own/LR/{name}x4.png"}]
    return FolderSet(name="own", **GOOD | {"images": images, "layouts": layouts} | changes)


SPEC = folder_set(3, layouts=[{"hr": "own/{name}.png", "lr_x4": "lr/{name}.png"}])


@pytest.fixture
def data(tmp_path) -> Path:
    for number in range(3):
        write_png(tmp_path / f"data/own/{number}.png", hr_image(number))
    return tmp_path / "data"


@pytest.fixture
def pack(data, tmp_path) -> Pack:
    return build_pack(SPEC, tmp_path / "sets/own", data_folder=data)


def test_a_flipped_bit_is_found_where_an_image_is_read_and_says_where(pack):
    content = (pack.folder / "lr_x4.npy").read_bytes()
    (pack.folder / "lr_x4.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = Pack(pack.folder)
    assert damaged.hr(2).size and damaged.lr(0).size
    for read in damaged.verify, lambda: damaged.lr(2):
        with pytest.raises(MasksrError, match=r"own: lr_x4\.npy is damaged at 2; remove the folder and build"):
            read()


def test_what_goes_in_comes_out_as_read_only_views(pack):
    assert len(pack) == 3 and pack.names == ["0", "1", "2"] and pack.scales == (2, 4)
    for number in range(3):
        hr = modcrop(hr_image(number), 4)
        np.testing.assert_array_equal(pack.hr(number), hr)
        assert not pack.hr(number).flags.owndata and not pack.hr(number).flags.writeable
        for scale in (2, 4):
            np.testing.assert_array_equal(pack.lr(number, scale), imresize(hr, 1 / scale))
    about = {key: getattr(pack.manifest, key) for key in ("set", "title", "licence", "origin")}
    assert about == {"set": "own", "title": "Own pictures", "licence": "mine", "origin": "at home"}
    assert [image.lr["lr_x4"] for image in pack.manifest.images] == ["masksr"] * 3
    assert [image.cut for image in pack.manifest.images] == [False, False, True]


def test_official_lr_is_taken_and_said_to_be(data, tmp_path):
    for number in range(3):
        lr = imresize(modcrop(hr_image(number), 4), 0.25)
        lr[0, 0] ^= 7  # an official LR is kept as it is
        write_png(data / f"lr/{number}.png", lr)
    pack = build_pack(SPEC, tmp_path / "sets/own", data_folder=data)
    for number, image in enumerate(pack.manifest.images):
        assert 0 < image.lr["lr_x4"] <= 7 and image.lr["lr_x2"] == "masksr"
        np.testing.assert_array_equal(pack.lr(number)[0, 0] ^ 7, imresize(pack.hr(number), 0.25)[0, 0])


@pytest.mark.parametrize(("shrink", "fits"), [
    (lambda hr: hr.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8), True),
    (lambda hr: hr[::4, ::4], False),  # without antialiasing
    (lambda hr: imresize(np.roll(hr, 2, axis=1), 0.25), False),  # shifted by half a pixel
    (lambda hr: imresize(hr[:, ::-1], 0.25), False),  # mirrored
])
def test_lr_that_was_shrunk_in_another_way_is_refused_for_the_set_as_a_whole(shrink, fits, tmp_path):
    for number in range(3):
        hr = getattr(skimage.data, ("astronaut", "chelsea", "coffee")[number])()[:256, :256]
        write_png(tmp_path / f"data/own/{number}.png", hr)
        write_png(tmp_path / f"data/lr/{number}.png", np.ascontiguousarray(shrink(hr)))
    if fits:
        build_pack(SPEC, tmp_path / "pack", data_folder=tmp_path / "data")
    else:
        with pytest.raises(MasksrError, match=r"does not fit .*shrunk without antialiasing"):
            build_pack(SPEC, tmp_path / "pack", data_folder=tmp_path / "data")
        assert not (tmp_path / "pack").exists()


def test_the_same_pictures_give_the_same_bytes(pack, data, tmp_path):
    again = build_pack(SPEC, tmp_path / "elsewhere", data_folder=data)
    written = sorted(file.name for file in again.folder.iterdir())
    assert written == ["hr.npy", "lr_x2.npy", "lr_x4.npy", "manifest.json"]
    for file in again.folder.iterdir():
        assert file.read_bytes() == (pack.folder / file.name).read_bytes()
    only_x4 = build_pack(SPEC, tmp_path / "four", data_folder=data, scales=(4,))
    assert only_x4.scales == (4,) and not (only_x4.folder / "lr_x2.npy").exists()
    titled = SPEC.model_copy(update={"title": "New title"})
    renamed = build_pack(titled, tmp_path / "renamed", data_folder=data)
    write_png(data / "own/1.png", hr_image(1) ^ 1)
    changed = build_pack(SPEC, tmp_path / "changed", data_folder=data)
    assert renamed.digest == pack.digest != changed.digest


def test_the_embedded_photographs_are_the_same_everywhere(tmp_path):
    """PNG files, so no JPEG decoder has a say: a change here changes what mini's networks are tested on."""
    expected = {"cat": "90acc303", "workshop": "7f4c0c7e", "tissue": "a46e6073"}
    assert {name: build_pack(REGISTRY.sets[name], tmp_path / name).digest[:8] for name in expected} == expected


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device"), None])
def test_a_build_replaces_the_old_pack_as_a_whole_or_not_at_all(pack, data, monkeypatch, stop):
    count = iter(range(2))

    def load(*wanted, real=packs.load_image):
        if next(count):
            raise stop
        return real(*wanted)

    write_png(data / "own/0.png", hr_image(0) ^ 1)
    if stop:
        monkeypatch.setattr(packs, "load_image", load)
        with pytest.raises((KeyboardInterrupt, MasksrError), match=r"^$|cannot be written \(No space left"):
            build_pack(SPEC, pack.folder, data_folder=data)
    else:
        build_pack(SPEC, pack.folder, data_folder=data)
    assert {path.name for path in pack.folder.parent.iterdir()} == {"own", ".own.lock"}
    assert len(list(pack.folder.iterdir())) == 4
    assert (Pack(pack.folder).digest == pack.digest) == bool(stop)


def test_what_is_no_pack_is_named_and_left_alone(pack, data, tmp_path):
    with pytest.raises(MasksrError, match=r"no pack is here.*build it"):
        Pack(data)
    with pytest.raises(MasksrError, match="not a pack"):
        build_pack(SPEC, data, data_folder=data)
    whole = (pack.folder / "lr_x4.npy").read_bytes()
    for name, content in (("lr_x4.npy", whole[:-1]), ("lr_x4.npy", b""), ("manifest.json", b'{"format": 0}')):
        (pack.folder / name).write_bytes(content)
        with pytest.raises(MasksrError, match=r"own: damaged.*build the pack again"):
            Pack(pack.folder)


@pytest.mark.parametrize("changes, message", [
    ("sets: [a]", r"registry\.yaml: sets"), ({"imagse": 3}, r"sets\.own\.imagse"),
    ({"kind": "archive"}, r"sets\.own.*'package', 'folder'"),
    ({"layouts": [{"hr": "/home/{name}.png"}]}, r"sets\.own\.layouts\.0\.hr"),
    ({"downloads": [["x.zip"]]}, r"sets\.own\.downloads.*no x\.zip under files"),
])
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, changes, message):
    path = tmp_path / "registry.yaml"
    path.write_text(yaml.safe_dump({"sets": {"own": GOOD}}))
    assert load_registry(path).sets["own"].name == "own"
    text = changes if isinstance(changes, str) else yaml.safe_dump({"sets": {"own": GOOD | changes}})
    path.write_text(text)
    with pytest.raises(MasksrError, match=message) as caught:
        load_registry(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data folder whose set ``own`` has images 1, 2 and 10 with their LR."""
    for name in (1, 2, 10):
        write_png(tmp_path / f"own/HR/{name}.png", photograph(name, 48, 64))
        write_png(tmp_path / f"own/LR/{name}x4.png", imresize(photograph(name, 48, 64), 0.25))
    return tmp_path


def test_images_come_in_natural_order_with_their_official_lr_from_the_complete_layout(folder):
    write_png(folder / "first/HR/a.png", photograph(7, 48, 64))
    assert [source.name for source in find_images(folder_set(1), folder)] == ["a"]
    sources = find_images(folder_set(3), folder)
    assert [source.name for source in sources] == ["1", "2", "10"]
    assert [source.lr[4].name for source in sources] == ["1x4.png", "2x4.png", "10x4.png"]
    assert [source.sides for source in sources] == [(64, 48)] * 3


def test_the_data_folder_comes_from_the_argument_or_the_environment(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MasksrError, match=r"own is not in .*get it from at home.*MASKSR_DATA.*first/HR/{name}"):
        find_images(folder_set(3))
    monkeypatch.setenv("MASKSR_DATA", str(folder))
    assert len(find_images(folder_set(3))) == 3


def test_the_number_of_images_must_be_right_or_limited(folder):
    cases = (folder_set(4), "3 pictures.*4 expected; complete"), (folder_set(2), "2 expected; remove")
    for spec, says in cases:
        with pytest.raises(MasksrError, match=says):
            find_images(spec, folder)
    assert len(find_images(folder_set(1, at_least=True, exclude=["10"]), folder)) == 2
    assert [source.name for source in find_images(folder_set(100), folder, limit=2)] == ["1", "2"]
    assert len(find_images(folder_set(3), folder, limit=100)) == 3  # at most so many: the set has no more
    with pytest.raises(MasksrError, match="3 pictures"):
        find_images(folder_set(100), folder, limit=5)


def test_grey_small_and_damaged_pictures_are_named(folder):
    write_png(folder / "own/HR/2.png", photograph(2, 48, 64)[..., 0])
    assert len(find_images(folder_set(3, grey=True), folder)) == 3
    for spoil, says in (
        (lambda: None, "is grey"),
        (lambda: write_png(folder / "own/HR/2.png", photograph(2, 48, 64)[:31]), "at least 32"),
        (lambda: (folder / "own/HR/2.png").write_bytes(b"nonsense"), "cannot be read"),
    ):
        spoil()
        with pytest.raises(MasksrError, match=rf"2\.png: .*{says}"):
            find_images(folder_set(3), folder)


def test_lr_pictures_are_all_there_or_none_and_of_their_picture(folder):
    assert load_image(find_images(folder_set(3), folder)[2])[1].lr == {"lr_x4": 0}
    write_png(folder / "own/LR/1x4.png", imresize(photograph(1, 48, 64), 0.25)[:, :12])
    with pytest.raises(MasksrError, match=r"1x4\.png: is 12 x 12"):
        load_image(find_images(folder_set(3), folder)[0])
    (folder / "own/LR/2x4.png").unlink()
    with pytest.raises(MasksrError, match=r"2x4\.png.*missing"):
        find_images(folder_set(3), folder)
    for file in (folder / "own/LR").iterdir():
        file.unlink()
    assert not any(source.lr for source in find_images(folder_set(3), folder))


def test_every_embedded_photograph_is_the_recorded_file_or_names_the_version_to_install():
    embedded = [spec for spec in REGISTRY.sets.values() if isinstance(spec, PackageSet)]
    assert {spec.role for spec in embedded} == {"train", "validation", "test"}
    sources = [source for spec in embedded for source in find_images(spec)]
    assert all(load_image(source)[0][1].std() > 10 for source in sources)
    assert len({source.name for source in sources}) == len(sources) == 16
    spec = REGISTRY.sets["photographs"]
    missing = [{"file": "no_such_module/astronaut.png"}, {"file": "skimage/data/c.png"}]
    for changes in ({"sha256": "0" * 64}, *missing):
        other = spec.model_copy(update={"photographs": [spec.photographs[0].model_copy(update=changes)]})
        with pytest.raises(MasksrError, match=r"astronaut: .*\.png is missing or .* 0\.26; install"):
            find_images(other)
