"""data/registry.yaml and what reads it."""

from pathlib import Path

import pytest
import yaml

from masksr.fetch.registry import PackageSet, load_registry, look_up
from masksr.io import MasksrError

REGISTRY = load_registry(Path(__file__).parents[1] / "data" / "registry.yaml")
GOOD = {"title": "Own pictures", "role": "train", "kind": "folder", "cite": "nobody", "licence": "mine"}
GOOD |= {"homepage": "at home", "images": 3, "layouts": [{"hr": "own/{name}.png"}]}


def test_the_sets_of_the_paper_and_of_mini_are_there_with_citation_and_licence():
    assert {"photographs", "rocket", "cat", "temple", "workshop", "tissue"} <= REGISTRY.sets.keys()
    assert REGISTRY.sets["DIV2K_train"].images == 800
    for name in ("DIV2K_valid", "PIRM_valid", "BSD100", "Urban100"):
        assert REGISTRY.sets[name].images == 100
    for spec in REGISTRY.sets.values():
        assert spec.title and spec.citation and spec.licence and spec.origin
    assert not REGISTRY.sets.keys() & REGISTRY.weights.keys(), "`masksr fetch NAME` means one of them"
    for name, hint in (("urban100", "did you mean 'Urban100'"), ("mine", "there are: .*BSD100")):
        with pytest.raises(MasksrError, match=f"{name}.*{hint}"):
            look_up(name, REGISTRY.sets, "set")


def test_embedded_photographs_are_different_pictures():
    embedded = [spec for spec in REGISTRY.sets.values() if isinstance(spec, PackageSet)]
    photographs = [photograph for spec in embedded for photograph in spec.photographs]
    assert {spec.role for spec in embedded} == {"train", "validation", "test"}
    assert len({photograph.sha256 for photograph in photographs}) == len(photographs)


@pytest.mark.parametrize(
    "changes, message",
    [
        ("sets: [a]", r"registry\.yaml: sets"),
        ({"imagse": 3}, r"sets\.own\.imagse"),
        ({"licence": None}, r"sets\.own\.licence"),
        ({"kind": "archive"}, r"sets\.own.*'package', 'folder'"),
        ({"layouts": [{"hr": "/home/{name}.png"}]}, r"sets\.own\.layouts\.0\.hr"),
        ({"downloads": [["x.zip"]]}, r"sets\.own\.downloads.*no x\.zip under files"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, changes, message):
    path = tmp_path / "registry.yaml"
    path.write_text(yaml.safe_dump({"sets": {"own": GOOD}}))
    assert load_registry(path).sets["own"].name == "own"
    path.write_text(changes if isinstance(changes, str) else yaml.safe_dump({"sets": {"own": GOOD | changes}}))
    with pytest.raises(MasksrError, match=message) as caught:
        load_registry(path)
    assert "\n" not in str(caught.value)
