"""data/registry.yaml and what reads it."""

from itertools import combinations
from pathlib import Path

import pytest
import yaml

from masksr.errors import MasksrError
from masksr.fetch.registry import PackageSet, load_registry, look_up

REGISTRY = Path(__file__).parents[1] / "data" / "registry.yaml"
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


@pytest.fixture(scope="module")
def registry():
    return load_registry(REGISTRY)


def test_the_sets_of_the_paper_and_of_mini_are_there_with_citation_and_licence(registry):
    assert {"photographs", "rocket", "cat", "temple", "workshop", "tissue"} <= registry.sets.keys()
    assert registry.sets["DIV2K_train"].images == 800
    for name in ("DIV2K_valid", "PIRM_valid", "BSD100", "Urban100"):
        assert registry.sets[name].images == 100
    for spec in registry.sets.values():
        assert spec.title and spec.citation and spec.licence and spec.origin
    assert not registry.sets.keys() & registry.weights.keys(), "`masksr fetch NAME` means one of them"


def test_an_unknown_set_is_named(registry):
    for name, hint in (("urban100", "did you mean 'Urban100'"), ("mine", "there are: .*BSD100")):
        with pytest.raises(MasksrError, match=f"{name}.*{hint}"):
            look_up(name, registry.sets, "set")


def test_training_validation_and_test_photographs_are_different_pictures(registry):
    sets = [spec for spec in registry.sets.values() if isinstance(spec, PackageSet)]
    photographs = [photograph for spec in sets for photograph in spec.photographs]
    assert {spec.role for spec in sets} == {"train", "validation", "test"}
    assert len({photograph.sha256 for photograph in photographs}) == len(photographs)
    assert not any("motorcycle_right" in photograph.file for photograph in photographs)  # the other eye


def test_embedded_test_images_are_large_enough_for_niqe_and_do_not_overlap(registry):
    for spec in registry.sets.values():
        if isinstance(spec, PackageSet) and spec.role == "test":
            (photograph,) = spec.photographs
            assert all(min(box.height, box.width) >= 216 for box in photograph.crops.values())
            for a, b in combinations(photograph.crops.values(), 2):
                beside = a.left + a.width <= b.left or b.left + b.width <= a.left
                above = a.top + a.height <= b.top or b.top + b.height <= a.top
                assert beside or above


def written(tmp_path, **changes):
    path = tmp_path / "registry.yaml"
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path.write_text(yaml.safe_dump({"sets": {"own": content}}))
    return path


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"imagse": 3}, r"sets\.own\.imagse"),
        ({"licence": None}, r"sets\.own\.licence.*required"),
        ({"kind": "archive"}, r"sets\.own.*'package', 'folder'"),
        ({"layouts": [{"hr": "own/*.png"}]}, r"sets\.own\.layouts\.0\.hr"),
        ({"layouts": [{"hr": "/home/{name}.png"}]}, r"sets\.own\.layouts\.0\.hr"),
        ({"downloads": [["x.zip"]]}, r"sets\.own\.downloads.*no x\.zip under files"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, changes, message):
    assert load_registry(written(tmp_path, at_least=True)).sets["own"].at_least
    with pytest.raises(MasksrError, match=message) as caught:
        load_registry(written(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "sets:", "sets: [a]", "sets: {own: 3}", "sets: {own: [}"])
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "registry.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MasksrError, match=r"registry\.yaml"):
        load_registry(path)
