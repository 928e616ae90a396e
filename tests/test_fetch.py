"""From an address to a set on this disk: archives with their real layouts, data folders, weights."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from archives_like_the_real_ones import IMAGES, encoded, local_registry, make_archives
from local_server import serving

from masksr.cli import main
from masksr.fetch.find import fetch_pretrained, fetch_set, fetch_weights, find_images
from masksr.fetch.registry import find_set, find_weights
from masksr.io import MasksrError
from masksr.paths import cache_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    make_archives(folder)
    return folder


@pytest.fixture
def served(archives: Path, tmp_path: Path) -> Path:
    """What the network offers; a test may change it."""
    return shutil.copytree(archives, tmp_path / "served", copy_function=os.link)


@pytest.fixture(autouse=True)
def registry(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of a project, with this machine's addresses, beside an empty cache."""
    for variable in ("MASKSR_DATA", "MASKSR_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    shutil.copy(ROOT / "profiles/paper.yaml", folder / "params.yaml")
    monkeypatch.chdir(folder)
    with serving(served) as server:
        text = local_registry(ROOT / "data/registry.yaml", served, server.address)
        (folder / "data/registry.yaml").write_text(text)
        yield folder / "data/registry.yaml"


def forget_checksum(registry: Path, name: str, **known: object) -> None:
    content = yaml.safe_load(registry.read_text())
    content["files"][name] = {"urls": content["files"][name]["urls"], **known}
    registry.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("name, files", [("DIV2K_train", 3), ("DIV2K_valid", 2), ("BSDS500", 1)])
def test_a_set_comes_with_its_lr(name, files, tmp_path, monkeypatch):
    sources = find_images(find_set(name))
    assert len(sources) == IMAGES and all(len(source.lr) == files - 1 for source in sources)
    assert not list((tmp_path / "cache/downloads").glob("[!.]*")), "a second copy of gigabytes"
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    assert find_images(find_set(name)) == sources
    with pytest.raises(MasksrError, match=r"BSD100 is not in .*MASKSR_OFFLINE.*data\.local of .*MASKSR_DATA"):
        find_images(find_set("BSD100"))


def test_an_archive_of_several_sets_is_downloaded_once(monkeypatch):
    fetch_set(find_set("BSD100"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")  # what is at hand needs no network
    sources = find_images(find_set("Urban100"))
    assert len(sources) == IMAGES and sources[0].lr[4].name == "img_040x4.png"


def test_after_an_archive_of_too_few_pictures_the_next_way_is_tried(registry, served):
    (served / "PIRM_valid_HR.tar.gz").unlink()
    with zipfile.ZipFile(served / "PIRM_valid_HR.tar.gz", "w") as archive:
        archive.writestr("PIRM_valid_HR/50.png", encoded(50, 1, ".png"))
    forget_checksum(registry, "PIRM_valid_HR.tar.gz")
    with pytest.raises(MasksrError, match=r"PIRM_valid is not in .*; or: .*404.*MASKSR_DATA"):
        fetch_set(find_set("PIRM_valid"))
    with zipfile.ZipFile(served / "PIRM_dataset.zip", "w") as archive:
        for number in range(50, 50 + IMAGES):
            archive.writestr(f"PIRM_dataset/Validation/Original/{number}.png", encoded(number, 1, ".png"))
    assert len(find_images(find_set("PIRM_valid"))) == IMAGES


def test_checkpoints_have_names(registry, served, tmp_path):
    (served / "RRDB_PSNR_x4.pth").write_bytes(b"weights")
    assert fetch_pretrained("esrgan_psnr") == cache_folder() / "weights" / "RRDB_PSNR_x4.pth"
    own, vgg19 = tmp_path / "own.pth", cache_folder() / "weights" / "vgg19.safetensors"
    for path in (own, vgg19):
        path.touch()
    assert fetch_pretrained(str(own)) == own
    assert fetch_weights(find_weights("vgg19")) == vgg19  # also_named
    with pytest.raises(MasksrError, match=r"no file nothing.pth.*esrgan_psnr"):
        fetch_pretrained("nothing.pth")
    with pytest.raises(MasksrError, match=r"esrgan \(https://.*\) could not be had: .*404.*as RRDB_ESRGAN"):
        fetch_pretrained("esrgan")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/RRDB_PSNR_x4.pth").write_bytes(b"zz")
    assert fetch_pretrained("esrgan_psnr", tmp_path / "data") == tmp_path / "data/RRDB_PSNR_x4.pth"
    forget_checksum(registry, "RRDB_PSNR_x4.pth", bytes=66929193)
    with pytest.raises(MasksrError, match=r"RRDB_PSNR_x4\.pth: it has 2 bytes, expected are 66929193"):
        fetch_pretrained("esrgan_psnr", tmp_path / "data")
    with zipfile.ZipFile(served / "PESR_pretrained", "w") as archive:
        for name in ("pesr/psnr.pt", "pesr/perception.pt", "pesr/readme.txt"):
            archive.writestr(name, b"-")
    with pytest.raises(MasksrError, match=r"several checkpoints.*perception\.pt, .*psnr\.pt$"):
        fetch_pretrained("pesr")
    assert fetch_pretrained(str(cache_folder() / "weights" / "pesr/pesr/psnr.pt")).is_file()


def test_the_command_fetches_and_lists(capsys):
    assert main(["fetch", "--list", "Set5", "niqe", "cat"]) == 0
    listed = capsys.readouterr().out
    assert "to download: " in listed and "in the installed packages" in listed and "licence: " in listed
    assert main(["fetch"]) == 0
    said = capsys.readouterr().out
    for name in ("DIV2K_train", "Set5", "DIV2K_valid", "Urban100", "BSD100", "PIRM_valid", "vgg19", "ma"):
        assert f"{name}: in " in said
    assert "cite: " in said and f"Set5: in {cache_folder() / 'sets'}" in said
    assert main(["fetch", "Set5", "Sett5"]) == 1
    said = capsys.readouterr()
    assert "cite" not in said.out and "did you mean 'Set5'" in said.err
