"""data/registry.yaml; finding, counting and checking the pictures of a set."""

import os
from pathlib import Path

import pytest
import yaml
from served_archives import photograph
from tiny_project import ROOT

from masksr.data.bicubic import imresize
from masksr.data.images import write_png
from masksr.data.packs import load_image
from masksr.fetch.find import find_images
from masksr.fetch.registry import FolderSet, PackageSet, load_registry
from masksr.io import MasksrError

REGISTRY = load_registry(ROOT / "data" / "registry.yaml")
GOOD = {"title": "Own pictures", "role": "train", "kind": "folder", "cite": "nobody", "licence": "mine"}
GOOD |= {"homepage": "at home", "images": 3, "layouts": [{"hr": "own/{name}.png"}]}


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


def folder_set(images: int, **changes) -> FolderSet:
    layouts = [{"hr": "first/HR/{name}.png"}, {"hr": "own/HR/{name}.png", "lr_x4": "own/LR/{name}x4.png"}]
    return FolderSet(name="own", **GOOD | {"images": images, "layouts": layouts} | changes)


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder whose set ``own`` has images 1, 2 and 10 with their LR."""
    for name in (1, 2, 10):
        write_png(tmp_path / f"own/HR/{name}.png", photograph(name, 48, 64))
        write_png(tmp_path / f"own/LR/{name}x4.png", imresize(photograph(name, 48, 64), 0.25))
    return tmp_path


def test_images_come_in_natural_order_with_their_official_lr_from_the_complete_layout(data):
    write_png(data / "first/HR/a.png", photograph(7, 48, 64))
    assert [source.name for source in find_images(folder_set(1), data)] == ["a"]
    sources = find_images(folder_set(3), data)
    assert [source.name for source in sources] == ["1", "2", "10"]
    assert [source.lr[4].name for source in sources] == ["1x4.png", "2x4.png", "10x4.png"]
    assert [source.sides for source in sources] == [(64, 48)] * 3


def test_the_data_folder_comes_from_the_argument_or_the_environment(data, monkeypatch, tmp_path):
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MasksrError, match=r"own is not in .*get it from at home.*MASKSR_DATA.*first/HR/{name}"):
        find_images(folder_set(3))
    monkeypatch.setenv("MASKSR_DATA", str(data))
    assert len(find_images(folder_set(3))) == 3


def test_the_number_of_images_must_be_right_or_limited(data):
    cases = (folder_set(4), "3 pictures.*4 expected; complete"), (folder_set(2), "2 expected; remove")
    for spec, says in cases:
        with pytest.raises(MasksrError, match=says):
            find_images(spec, data)
    assert len(find_images(folder_set(1, at_least=True, exclude=["10"]), data)) == 2
    assert [source.name for source in find_images(folder_set(100), data, limit=2)] == ["1", "2"]
    assert len(find_images(folder_set(3), data, limit=100)) == 3  # at most so many: the set has no more
    with pytest.raises(MasksrError, match="3 pictures"):
        find_images(folder_set(100), data, limit=5)


def test_grey_small_and_damaged_pictures_are_named(data):
    write_png(data / "own/HR/2.png", photograph(2, 48, 64)[..., 0])
    assert len(find_images(folder_set(3, grey=True), data)) == 3
    for spoil, says in (
        (lambda: None, "is grey"),
        (lambda: write_png(data / "own/HR/2.png", photograph(2, 48, 64)[:31]), "at least 32"),
        (lambda: (data / "own/HR/2.png").write_bytes(b"nonsense"), "cannot be read"),
    ):
        spoil()
        with pytest.raises(MasksrError, match=rf"2\.png: .*{says}"):
            find_images(folder_set(3), data)


def test_lr_pictures_are_all_there_or_none_and_of_their_picture(data):
    assert load_image(find_images(folder_set(3), data)[2]).difference == {4: 0}
    write_png(data / "own/LR/1x4.png", imresize(photograph(1, 48, 64), 0.25)[:, :12])
    with pytest.raises(MasksrError, match=r"1x4\.png: is 12 x 12"):
        load_image(find_images(folder_set(3), data)[0])
    (data / "own/LR/2x4.png").unlink()
    with pytest.raises(MasksrError, match=r"2x4\.png.*missing"):
        find_images(folder_set(3), data)
    for file in (data / "own/LR").iterdir():
        file.unlink()
    assert not any(source.lr for source in find_images(folder_set(3), data))


def test_every_embedded_photograph_is_the_recorded_file_or_names_the_version_to_install():
    embedded = [spec for spec in REGISTRY.sets.values() if isinstance(spec, PackageSet)]
    assert {spec.role for spec in embedded} == {"train", "validation", "test"}
    sources = [source for spec in embedded for source in find_images(spec)]
    assert all(load_image(source).hr.std() > 10 for source in sources)
    assert len({source.name for source in sources}) == len(sources) == 13
    spec = REGISTRY.sets["photographs"]
    missing = [{"file": "no_such_module/astronaut.png"}, {"file": "skimage/data/c.png"}]
    for changes in ({"sha256": "0" * 64}, *missing):
        other = spec.model_copy(update={"photographs": [spec.photographs[0].model_copy(update=changes)]})
        with pytest.raises(MasksrError, match=r"astronaut: .*\.png is missing or .* 0\.26; install"):
            find_images(other)


@pytest.mark.skipif("MASKSR_DATA" not in os.environ, reason="MASKSR_DATA is not set: no data sets to look at")
@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100", "Urban100", "BSDS500"])
def test_the_real_sets_are_complete_and_belong_to_their_lr(name):
    sources = find_images(REGISTRY.sets[name], limit=30 if name == "Urban100" else None)
    expected = {} if name == "BSDS500" else {4: 0}
    assert all(load_image(source).difference == expected for source in sources[:2])
