"""data/registry.yaml and what reads it."""

from itertools import combinations
from pathlib import Path

import pytest
import yaml

from masksr.errors import MasksrError
from masksr.fetch.registry import FolderSet, PackageSet, find_set, load_registry

REGISTRY = Path(__file__).parents[1] / "data" / "registry.yaml"


@pytest.fixture(scope="module")
def specs():
    return load_registry(REGISTRY).sets


def package_sets(specs, role):
    return [spec for spec in specs.values() if isinstance(spec, PackageSet) and spec.role == role]


def test_every_set_says_whom_to_cite_and_what_is_allowed(specs):
    for spec in specs.values():
        assert spec.title and spec.citation and spec.licence and spec.origin


def test_the_sets_of_the_paper_and_of_mini_are_there(specs):
    assert {"DIV2K_train", "DIV2K_valid", "PIRM_valid", "BSD100", "Urban100"} <= specs.keys()
    assert {"photographs", "rocket", "cat", "temple", "workshop", "tissue"} <= specs.keys()
    assert specs["DIV2K_train"].images == 800
    assert all(specs[name].images == 100 for name in ("DIV2K_valid", "PIRM_valid", "BSD100", "Urban100"))


def test_training_validation_and_test_photographs_are_different_pictures(specs):
    files, checksums = [], []
    for role in ("train", "validation", "test"):
        found = [photograph for spec in package_sets(specs, role) for photograph in spec.photographs]
        assert found
        files += [photograph.file for photograph in found]
        checksums += [photograph.sha256 for photograph in found]
    assert len(set(files)) == len(files)
    assert len(set(checksums)) == len(checksums)
    assert not any("motorcycle_right" in file for file in files)  # the other eye of the test picture


def test_embedded_test_images_are_large_enough_for_niqe_and_do_not_overlap(specs):
    for spec in package_sets(specs, "test"):
        assert len(spec.photographs) == 1 and len(spec.photographs[0].crops) == 2
        for box in spec.photographs[0].crops.values():
            assert min(box.height, box.width) >= 216 and box.height % 4 == box.width % 4 == 0
        for a, b in combinations(spec.photographs[0].crops.values(), 2):
            beside = a.left + a.width <= b.left or b.left + b.width <= a.left
            above = a.top + a.height <= b.top or b.top + b.height <= a.top
            assert beside or above


def test_an_unknown_set_lists_the_names(specs):
    with pytest.raises(MasksrError, match=r"'urban100'.*BSD100.*did you mean 'Urban100'"):
        find_set("urban100", REGISTRY)
    assert find_set("Set5", REGISTRY) == specs["Set5"]


GOOD = {
    "title": "Own pictures",
    "role": "train",
    "kind": "folder",
    "cite": "nobody",
    "licence": "mine",
    "homepage": "at home",
    "images": 3,
    "layouts": [{"hr": "own/{name}.png"}],
}


def written(tmp_path, **changes):
    path = tmp_path / "registry.yaml"
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path.write_text(yaml.safe_dump({"sets": {"own": content}}))
    return path


def test_a_set_of_ones_own_is_a_few_lines(tmp_path):
    spec = load_registry(written(tmp_path, at_least=True)).sets["own"]
    assert isinstance(spec, FolderSet) and spec.name == "own" and spec.at_least


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"imagse": 3}, r"sets\.own\.imagse"),
        ({"images": "3"}, r"sets\.own\.images.*integer"),
        ({"images": 0}, r"sets\.own\.images"),
        ({"licence": None}, r"sets\.own\.licence.*required"),
        ({"role": "training"}, r"sets\.own\.role"),
        ({"kind": "archive"}, r"sets\.own.*'package', 'folder'"),
        ({"layouts": []}, r"sets\.own\.layouts"),
        ({"layouts": [{"hr": "own/*.png"}]}, r"sets\.own\.layouts\.0\.hr"),
        ({"layouts": [{"hr": "{name}/hr.png"}]}, r"\{name\} and no \* in the name of the file"),
        ({"layouts": [{"hr": "/home/{name}.png"}]}, "must be relative"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, changes, message):
    with pytest.raises(MasksrError, match=message) as caught:
        load_registry(written(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "sets:", "sets: [a]", "sets: {own: 3}", "sets: {own: [}"])
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(MasksrError, match=r"registry\.yaml"):
        load_registry(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MasksrError, match="cannot be read"):
        load_registry(tmp_path / "registry.yaml")
