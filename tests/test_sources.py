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
from masksr.fetch.registry import Crop, FolderSet, Layout, PackageSet, load_registry
from masksr.fetch.sets import find_images

REGISTRY = Path(__file__).parents[1] / "data" / "registry.yaml"


def smooth_image(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Something with the spectrum of a photograph: noise at several scales."""
    rng = np.random.default_rng(seed)
    noise = [imresize(rng.integers(0, 256, (height // f, width // f, 3), dtype=np.uint8), f) for f in (16, 8, 4)]
    return np.mean(noise, axis=0).astype(np.uint8)


def folder_set(images: int, **changes) -> FolderSet:
    about = {"name": "own", "title": "Own", "role": "test", "cite": "-", "licence": "-", "homepage": "-"}
    layouts = [Layout(hr="first/HR/{name}.png"), Layout(hr="own/HR/{name}.png", lr_x4="own/LR/{name}x4.png")]
    return FolderSet(**about, kind="folder", images=images, **{"layouts": layouts, **changes})


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder whose set ``own`` has images 1, 2 and 10 with their LR."""
    for name in (1, 2, 10):
        hr = smooth_image(name)
        write_png(tmp_path / f"own/HR/{name}.png", hr)
        write_png(tmp_path / f"own/LR/{name}x4.png", imresize(hr, 0.25))
    return tmp_path


def test_images_come_in_natural_order_with_their_official_lr(data):
    sources = find_images(folder_set(3), data)
    assert [source.name for source in sources] == ["1", "2", "10"]
    assert [source.lr[4].name for source in sources] == ["1x4.png", "2x4.png", "10x4.png"]
    picture = load_image(sources[2])
    np.testing.assert_array_equal(picture.hr, smooth_image(10))
    assert picture.difference == {4: 0} and not picture.cut


def test_the_first_layout_that_is_there_counts(data):
    write_png(data / "first/HR/a.png", smooth_image(7))
    picture = load_image(find_images(folder_set(1), data)[0])
    assert picture.difference == {}
    np.testing.assert_array_equal(picture.hr, smooth_image(7))
    np.testing.assert_array_equal(picture.lr[4], imresize(picture.hr, 0.25))


def test_hr_is_cut_to_multiples_of_four(tmp_path):
    write_png(tmp_path / "own/HR/odd.png", smooth_image(3)[:47, :61])
    picture = load_image(find_images(folder_set(1), tmp_path)[0])
    np.testing.assert_array_equal(picture.hr, smooth_image(3)[:44, :60])
    assert picture.lr[4].shape == (11, 15, 3) and picture.cut


def test_the_data_folder_comes_from_the_argument_or_the_environment(data, monkeypatch):
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    with pytest.raises(MasksrError, match=r"own is not in .*and cannot be downloaded; get it from -.*MASKSR_DATA"):
        find_images(folder_set(3))
    monkeypatch.setenv("MASKSR_DATA", str(data))
    assert len(find_images(folder_set(3))) == 3
    with pytest.raises(MasksrError, match="does not exist"):
        find_images(folder_set(3), data / "elsewhere")


def test_a_set_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(MasksrError, match=rf"not in {tmp_path} .*first/HR/{{name}}\.png or own/HR/{{name}}\.png"):
        find_images(folder_set(3), tmp_path)


def test_the_number_of_images_must_be_right(data):
    with pytest.raises(MasksrError, match=r"3 pictures.*4 expected"):
        find_images(folder_set(4), data)
    with pytest.raises(MasksrError, match=r"3 pictures.*2 expected; remove"):
        find_images(folder_set(2), data)
    assert len(find_images(folder_set(2, at_least=True), data)) == 3
    assert len(find_images(folder_set(2, exclude=["10"]), data)) == 2


def test_a_limit_takes_the_first_images_and_allows_a_part_of_the_set(data):
    assert [source.name for source in find_images(folder_set(100), data, limit=2)] == ["1", "2"]
    assert len(find_images(folder_set(3), data, limit=100)) == 3  # at most so many: the set has no more
    with pytest.raises(MasksrError, match="3 pictures"):
        find_images(folder_set(100), data, limit=5)
    with pytest.raises(ValueError, match="limit"):
        find_images(folder_set(3), data, limit=0)


def test_grey_files_are_refused_where_a_set_has_none(data):
    write_png(data / "own/HR/2.png", smooth_image(2)[..., 0])
    with pytest.raises(MasksrError, match=r"2\.png: is grey"):
        find_images(folder_set(3), data)
    assert len(find_images(folder_set(3, grey=True), data)) == 3


def test_small_and_damaged_pictures_are_named(data):
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
    assert not load_image(find_images(folder_set(3), data)[0]).difference


def test_an_lr_picture_of_another_size_is_refused(data):
    write_png(data / "own/LR/1x4.png", smooth_image(1, 64, 64)[:16, :16])
    with pytest.raises(MasksrError, match=r"1x4\.png: is 16 x 16.*12 x 16"):
        load_image(find_images(folder_set(3), data)[0])


def test_an_lr_picture_of_something_else_is_refused(data):
    one, two = (imresize(smooth_image(name), 0.25) for name in (1, 2))
    for stranger in (two, one[:, ::-1], one[::-1], 255 - one):
        write_png(data / "own/LR/1x4.png", stranger)
        with pytest.raises(MasksrError, match=r"1x4\.png: does not fit .*1\.png"):
            load_image(find_images(folder_set(3), data)[0])


def test_an_lr_picture_shrunk_a_little_differently_is_taken_and_its_difference_recorded(data):
    hr = smooth_image(1)
    boxes = hr.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    write_png(data / "own/LR/1x4.png", boxes)
    picture = load_image(find_images(folder_set(3), data)[0])
    np.testing.assert_array_equal(picture.lr[4], boxes)
    assert picture.difference[4] == np.abs(boxes.astype(int) - imresize(hr, 0.25)).max() > 0


@pytest.fixture(scope="module")
def embedded() -> dict[str, PackageSet]:
    return {name: spec for name, spec in load_registry(REGISTRY).sets.items() if isinstance(spec, PackageSet)}


def test_every_embedded_photograph_is_the_recorded_file(embedded):
    names = []
    for spec in embedded.values():
        for source in find_images(spec):
            hr = load_image(source).hr
            assert hr.shape[0] % 4 == hr.shape[1] % 4 == 0 and hr.ndim == 3 and hr.std() > 10
            names.append(source.name)
    assert len(set(names)) == len(names) == 13


def changed(spec: PackageSet, **changes) -> PackageSet:
    return spec.model_copy(update={"photographs": [spec.photographs[0].model_copy(update=changes)]})


def test_a_missing_package_and_another_file_than_recorded_name_the_version_to_install(embedded):
    with pytest.raises(MasksrError, match=r"astronaut: .*not the file of scikit-image 0\.26.*install"):
        find_images(changed(embedded["photographs"], sha256="0" * 64))
    with pytest.raises(MasksrError, match=r"astronaut: the package scikit-image is missing"):
        find_images(changed(embedded["photographs"], file="no_such_module/astronaut.png"))
    with pytest.raises(MasksrError, match=r"cosmonaut\.png is missing; install scikit-image 0\.26"):
        find_images(changed(embedded["photographs"], file="skimage/data/cosmonaut.png"))


def test_a_crop_outside_its_photograph_is_refused(embedded):
    box = Crop(top=0, left=400, height=100, width=200)
    (source,) = find_images(changed(embedded["cat"], crops={"outside": box}))
    with pytest.raises(MasksrError, match="too small for crop chelsea-outside"):
        load_image(source)


def test_packages_are_not_imported():
    code = (
        "import sys; from masksr.fetch.registry import load_registry; from masksr.fetch.sets import find_images\n"
        "from masksr.data.packs import load_image\n"
        f"specs = load_registry({str(REGISTRY)!r}).sets\n"
        "[load_image(source) for name in ('photographs', 'temple') for source in find_images(specs[name])]\n"
        "print({'skimage', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=REGISTRY.parents[1], text=True)
    assert printed.strip() == "set()"


@pytest.mark.skipif("MASKSR_DATA" not in os.environ, reason="MASKSR_DATA is not set: no data sets to look at")
@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100", "Urban100", "BSDS500"])
def test_the_real_sets_are_complete_and_belong_to_their_lr(name):
    sources = find_images(load_registry(REGISTRY).sets[name], limit=30 if name == "Urban100" else None)
    assert all(load_image(source).difference == ({} if name == "BSDS500" else {4: 0}) for source in sources[:5])
