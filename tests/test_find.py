"""Finding, counting and checking the pictures of a set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from masksr.data.bicubic import imresize
from masksr.data.images import write_png
from masksr.data.packs import load_image
from masksr.errors import MasksrError
from masksr.fetch.find import find_images
from masksr.fetch.registry import FolderSet, Layout, PackageSet, load_registry

REGISTRY = Path(__file__).parents[1] / "data" / "registry.yaml"


def smooth_image(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Something with the spectrum of a photograph: noise at several scales."""
    rng = np.random.default_rng(seed)
    shapes = {factor: (height // factor, width // factor, 3) for factor in (16, 8, 4)}
    noise = [imresize(rng.integers(0, 256, shape, dtype=np.uint8), f) for f, shape in shapes.items()]
    return np.mean(noise, axis=0).astype(np.uint8)


def folder_set(images: int, **changes) -> FolderSet:
    about = {"name": "own", "title": "Own", "role": "test", "cite": "-", "licence": "-", "homepage": "-"}
    layouts = [Layout(hr="first/HR/{name}.png"), Layout(hr="own/HR/{name}.png", lr_x4="own/LR/{name}x4.png")]
    return FolderSet(**about, kind="folder", images=images, **{"layouts": layouts, **changes})


def write_pictures(folder: Path, *names: int) -> Path:
    for name in names:
        write_png(folder / f"own/HR/{name}.png", smooth_image(name))
        write_png(folder / f"own/LR/{name}x4.png", imresize(smooth_image(name), 0.25))
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder whose set ``own`` has images 1, 2 and 10 with their LR."""
    return write_pictures(tmp_path, 1, 2, 10)


def test_images_come_in_natural_order_with_their_official_lr(data):
    sources = find_images(folder_set(3), data)
    assert [source.name for source in sources] == ["1", "2", "10"]
    assert [source.lr[4].name for source in sources] == ["1x4.png", "2x4.png", "10x4.png"]
    assert [source.sides for source in sources] == [(64, 48)] * 3


def test_the_first_layout_that_is_complete_counts(data):
    write_png(data / "first/HR/a.png", smooth_image(7))
    assert [source.name for source in find_images(folder_set(1), data)] == ["a"]
    assert len(find_images(folder_set(3), data)) == 3


def test_the_data_folder_comes_from_the_argument_or_the_environment(data, monkeypatch, tmp_path):
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MasksrError, match=r"own is not in .*get it from -.*MASKSR_DATA.*first/HR/{name}"):
        find_images(folder_set(3))
    monkeypatch.setenv("MASKSR_DATA", str(data))
    assert len(find_images(folder_set(3))) == 3
    with pytest.raises(MasksrError, match="does not exist"):
        find_images(folder_set(3), data / "elsewhere")


def test_the_number_of_images_must_be_right(data):
    with pytest.raises(MasksrError, match=r"3 pictures.*4 expected; complete"):
        find_images(folder_set(4), data)
    write_pictures(data, 4)
    with pytest.raises(MasksrError, match=r"4 pictures.*2 expected; remove"):
        find_images(folder_set(2), data)
    assert len(find_images(folder_set(2, at_least=True, exclude=["10"]), data)) == 3


def test_a_limit_takes_the_first_images_and_allows_a_part_of_the_set(data):
    assert [source.name for source in find_images(folder_set(100), data, limit=2)] == ["1", "2"]
    assert len(find_images(folder_set(3), data, limit=100)) == 3  # at most so many: the set has no more
    with pytest.raises(MasksrError, match="3 pictures"):
        find_images(folder_set(100), data, limit=5)


def test_grey_small_and_damaged_pictures_are_named(data):
    write_png(data / "own/HR/2.png", smooth_image(2)[..., 0])
    with pytest.raises(MasksrError, match=r"2\.png: is grey"):
        find_images(folder_set(3), data)
    assert len(find_images(folder_set(3, grey=True), data)) == 3
    write_png(data / "own/HR/2.png", smooth_image(2)[:31])
    with pytest.raises(MasksrError, match=r"2\.png.*at least 32"):
        find_images(folder_set(3), data)
    (data / "own/HR/2.png").write_bytes(b"nonsense")
    with pytest.raises(MasksrError, match=r"2\.png: cannot be read"):
        find_images(folder_set(3), data)


def test_lr_pictures_are_all_there_or_none(data):
    (data / "own/LR/2x4.png").unlink()
    with pytest.raises(MasksrError, match=r"2x4\.png.*missing"):
        find_images(folder_set(3), data)
    for file in (data / "own/LR").iterdir():
        file.unlink()
    assert not any(source.lr for source in find_images(folder_set(3), data))


def test_lr_of_another_picture_is_refused_when_it_is_read(data):
    assert load_image(find_images(folder_set(3), data)[2]).difference == {4: 0}
    one, two = (imresize(smooth_image(name), 0.25) for name in (1, 2))
    for stranger in (two, one[:, ::-1], one[::-1], 255 - one):
        write_png(data / "own/LR/1x4.png", stranger)
        with pytest.raises(MasksrError, match=r"1x4\.png: does not fit .*1\.png"):
            load_image(find_images(folder_set(3), data)[0])
    write_png(data / "own/LR/1x4.png", one[:, :12])
    with pytest.raises(MasksrError, match=r"1x4\.png: is 12 x 12.*12 x 16"):
        load_image(find_images(folder_set(3), data)[0])


@pytest.fixture(scope="module")
def embedded() -> dict[str, PackageSet]:
    return {name: spec for name, spec in load_registry(REGISTRY).sets.items() if isinstance(spec, PackageSet)}


def test_every_embedded_photograph_is_the_recorded_file(embedded):
    sources = [source for spec in embedded.values() for source in find_images(spec)]
    assert all(load_image(source).hr.std() > 10 for source in sources)
    assert len({source.name for source in sources}) == len(sources) == 13


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "0" * 64}, {"file": "no_such_module/astronaut.png"}, {"file": "skimage/data/cosmonaut.png"}],
)
def test_a_missing_or_other_photograph_names_the_version_to_install(changes, embedded):
    photograph = embedded["photographs"].photographs[0].model_copy(update=changes)
    spec = embedded["photographs"].model_copy(update={"photographs": [photograph]})
    with pytest.raises(MasksrError, match=r"astronaut: .*\.png is missing or .* scikit-image 0\.26; install"):
        find_images(spec)


def test_packages_are_not_imported():
    code = (
        "import sys\n"
        "from masksr.fetch.registry import load_registry; from masksr.fetch.find import find_images\n"
        f"specs = load_registry({str(REGISTRY)!r}).sets\n"
        "[find_images(specs[name]) for name in ('photographs', 'temple')]\n"
        "print({'skimage', 'sklearn', 'torch'} & set(sys.modules))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=REGISTRY.parents[1], text=True)
    assert printed.strip() == "set()"


@pytest.mark.skipif("MASKSR_DATA" not in os.environ, reason="MASKSR_DATA is not set: no data sets to look at")
@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100", "Urban100", "BSDS500"])
def test_the_real_sets_are_complete_and_belong_to_their_lr(name):
    sources = find_images(load_registry(REGISTRY).sets[name], limit=30 if name == "Urban100" else None)
    expected = {} if name == "BSDS500" else {4: 0}
    assert all(load_image(source).difference == expected for source in sources[:2])
