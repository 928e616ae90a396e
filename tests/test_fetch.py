"""From an address to a set on this disk: servers that misbehave, archives with real layouts, data folders."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from served_archives import IMAGES, Server, encoded, local_registry, make_archives, serving
from tiny_project import ROOT, copy_sources

from masksr import params, weights
from masksr.cli import main
from masksr.fetch.download import download, unpack
from masksr.fetch.find import build_pack, fetch_pretrained, fetch_set, fetch_weights, find_images
from masksr.fetch.registry import File, find_set, find_weights
from masksr.io import MasksrError
from masksr.paths import Paths, cache_folder
from masksr.results import evaluate
from masksr.training import train as training


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def served(archives: Path, tmp_path: Path) -> Path:
    """What the network offers; a test may change it."""
    return shutil.copytree(archives, tmp_path / "served", copy_function=os.link)


CONTENT, OTHER = os.urandom(400_000), os.urandom(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(served: Path) -> Iterator[Server]:
    """Has the file at /x and another one at /other."""
    (served / "x").write_bytes(CONTENT)
    (served / "other").write_bytes(OTHER)
    with serving(served) as server:
        yield server


@pytest.fixture(autouse=True)
def registry(served: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a project, with this machine's addresses, beside an empty cache."""
    for variable in ("MASKSR_DATA", "MASKSR_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = copy_sources(tmp_path / "project", ["data/registry.yaml", "dvc.yaml"])
    shutil.copy(ROOT / "profiles/paper.yaml", folder / "params.yaml")
    monkeypatch.chdir(folder)
    text = local_registry(ROOT / "data/registry.yaml", served, server.address)
    (folder / "data/registry.yaml").write_text(text)
    return folder / "data/registry.yaml"


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
        for name in ("pesr/psnr.pt", "pesr/perception.pt", "pesr/readme.txt", "top.pt"):
            archive.writestr(name, b"-")
    (cache_folder() / "weights/pesr/.x.unfinished/psnr.pt").mkdir(parents=True)  # left by a killed process
    for name in ("pesr", "pesr/psnr.pt", "pesr/pesr/readme.txt"):
        with pytest.raises(MasksrError, match=r"several checkpoints.*: pesr/pesr/perception\.pt, .*, pesr/top\.pt$"):
            fetch_pretrained(name)
    psnr = cache_folder() / "weights" / "pesr/pesr/psnr.pt"
    assert fetch_pretrained("pesr/pesr/psnr.pt") == fetch_pretrained(str(psnr)) == psnr
    with pytest.raises(MasksrError, match=r"no file esrgan/psnr.pt"):
        fetch_pretrained("esrgan/psnr.pt")


def test_the_command_fetches_and_lists(served, capsys):
    (served / "edsr_x2-0edfb8a3.pt").write_bytes(b"weights")
    assert main(["fetch", "--list", "Set5", "niqe", "cat"]) == 0
    listed = capsys.readouterr().out
    assert "to download: " in listed and "in the installed packages" in listed and "licence: " in listed
    assert main(["fetch"]) == 0
    said = capsys.readouterr().out
    for name in ("DIV2K_train", "Set5", "DIV2K_valid", "Urban100", "BSD100", "PIRM_valid", "vgg19", "ma", "edsr_x2"):
        assert f"{name}: in " in said
    assert "cite: " in said and f"Set5: in {cache_folder() / 'sets'}" in said
    assert main(["fetch", "Set5", "Sett5"]) == 1
    said = capsys.readouterr()
    assert "cite" not in said.out and "did you mean 'Set5'" in said.err


def a_file(server: Server, *paths: str, **known: object) -> File:
    return File(name="x.zip", urls=[server.address + path for path in paths], **(known or {"sha256": SHA256}))


def fails(file: File, folder: Path) -> str:
    """The message of a download that must fail and leave nothing that passes for the file."""
    with pytest.raises(MasksrError) as error:
        download(file, folder)
    assert not (folder / "x.zip").exists()
    return str(error.value)


@pytest.mark.parametrize(
    "known", [{"bytes": 400_000}, {"md5": hashlib.md5(CONTENT).hexdigest()}, {"sha256": SHA256[:8]}]
)
def test_a_download_is_checked_and_not_repeated(known, server, tmp_path):
    file = a_file(server, "/x", **known)
    path = download(file, tmp_path / "new")
    assert path.read_bytes() == CONTENT and path.name == "x.zip"
    assert download(file, tmp_path / "new") == path and len(server.requests) == 1
    path.write_bytes(OTHER[1:])
    with pytest.raises(MasksrError, match=r"expected (is|are) .*remove the file"):
        download(file, tmp_path / "new")
    assert path.read_bytes() == OTHER[1:], "it may be somebody's only copy"


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_connection_that_breaks_off_or_falls_silent_is_resumed(fault, server, tmp_path, monkeypatch):
    monkeypatch.setattr("masksr.fetch.download.TIMEOUT", (5.0, 0.5))
    server.faults["/x"] = [fault, fault]
    assert download(a_file(server, "/x"), tmp_path).read_bytes() == CONTENT
    first, *others = [wanted for _, wanted in server.requests]
    assert first is None and len(others) == 2


def test_a_later_call_and_another_mirror_continue_what_can_be_checked(server, tmp_path):
    server.faults["/x"] = ["cut", 404]
    assert "404" in fails(a_file(server, "/x"), tmp_path)
    server.faults["/x"] = [404]
    (server.folder / "mirror").write_bytes(CONTENT)
    assert download(a_file(server, "/x", "/mirror"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/mirror", "bytes=200000-")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.x.zip.partial").write_bytes(OTHER[:9])
    assert download(a_file(server, "/x", about=9), tmp_path / "new").read_bytes() == CONTENT
    assert server.requests[-1] == ("/x", None), "without a checksum nothing could tell"
    server.faults["/x"] = ["cut"]
    assert "could not be downloaded" in fails(a_file(server, "/x", about=9), tmp_path / "again")


def test_wrong_content_goes_to_the_next_mirror_and_is_named_in_the_end(server, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/.x.zip.partial").write_bytes(OTHER[:9])  # a part of another file
    assert download(a_file(server, "/x", "/other", "/x"), tmp_path / "1").read_bytes() == CONTENT
    message = fails(a_file(server, "/other"), tmp_path / "2")
    assert f"{server.address}/other: its sha256 is {hashlib.sha256(OTHER).hexdigest()}" in message
    assert SHA256 in message and f"put it into {tmp_path / '2'} as x.zip" in message
    assert not list((tmp_path / "2").glob("*.partial")), "it would be continued"


def test_every_mirror_is_tried_and_named(server, tmp_path):
    (server.folder / "page.html").write_text("log in first")
    file = a_file(server, "/none", "/page.html")
    urls = [*file.urls, "http://127.0.0.1:9/x"]
    message = fails(file.model_copy(update={"urls": urls}), tmp_path)
    for url, problem in zip(urls, ("404", "a web page", ".*refused"), strict=True):
        assert re.search(f"{url}: {problem}", message)


@pytest.fixture(params=["zip", "tar", "gztar"])
def archive(request, tmp_path) -> Path:
    content = tmp_path / "content/Set/HR"
    content.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (content / name).write_bytes(OTHER)
    return Path(shutil.make_archive(str(tmp_path / "archive/x"), request.param, tmp_path / "content"))


def test_an_archive_is_unpacked_beside_what_is_there_or_not_at_all(archive, tmp_path):
    into = tmp_path / "sets"
    (into / "Set/HR").mkdir(parents=True)
    (into / "Set/HR/old.png").touch()
    unpack([archive], into)
    assert sorted(path.name for path in into.rglob("*.png")) == ["a.png", "b.png", "old.png"]
    assert (into / "Set/HR/b.png").read_bytes() == OTHER and [path.name for path in into.iterdir()] == ["Set"]
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nonsense" * 999):
        archive.write_bytes(damaged)
        with pytest.raises(MasksrError, match=rf"{archive} cannot be unpacked .*try again") as caught:
            unpack([archive], tmp_path / "other")
        assert not list((tmp_path / "other").iterdir()) and "\n" not in str(caught.value)


def shortened(profile: str) -> dict:
    """The profile with its networks; two steps of two patches of half the side a training, fp32 on a CPU."""
    content = yaml.safe_load((ROOT / f"profiles/{profile}.yaml").read_text())
    content["train"] |= {"device": "cpu", "precision": "fp32", "steps_per_epoch": 2, "log_every": 1}
    content["train"] |= {"validate_every": 2, "validation_patches": 1, "checkpoint_every": 2}
    content["measures"]["also"] = ["gmsd"]  # which needs no weights, in the place of LPIPS and DISTS
    for model in content["models"].values():
        model |= {"batch": 2, "lr_patch": model["lr_patch"] // 2}
        if not model["start"]["phases"]:  # a public checkpoint, which is not served here
            phase = {"scale": model["start"]["init_scale"], "loss": "l1", "learning_rate": 1e-4}
            model["start"] |= {"init": None, "phases": [phase]}
        for schedule in (model["gan"], *model["start"]["phases"]):
            schedule |= {"epochs": 1, "halve_at": []}
    return content


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["paper", "study"])
def test_the_full_networks_start_and_end(profile: str) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(shortened(profile)))
    settings = params.load()
    paths = Paths.of(settings)
    for name in (settings.data.train, settings.data.validation, *settings.data.test):
        pack = build_pack(name, paths.set(name), limit=settings.data.limit_of(name))
        official = [image.lr["lr_x4"] for image in pack.manifest.images]
        assert official == (["masksr"] if name == "BSDS500" else [0]) * IMAGES  # JPEGs have no LR with them
    assert "from vgg19-dcbb9e9d.pth" in weights.prepare_vgg19(settings, paths)
    assert {half["source"] for half in weights.prepare_quality(settings, paths).values()} == {"official"}
    for model, name in zip(settings.table1.models, settings.data.test, strict=False):  # all of all take minutes
        training.train_start(settings, model, 0, paths)
        out = paths.variant(model, "paper", 0)
        result = training.train_gan(settings, model, settings.masks["paper"], 0, paths, out)
        one_set = settings.model_copy(update={"data": settings.data.model_copy(update={"test": [name]})})
        labels, upscale = {"model": model, "mask": "paper", "seed": 0}, evaluate.load_upscale(one_set, out)
        quality = evaluate.evaluate(labels, upscale, *evaluate.load_protocol(one_set, paths))
        assert np.isfinite(result["psnr"]) and len(quality) == IMAGES
        assert set(quality.niqe_weights) == set(quality.ma_weights) == {"official"}
        assert np.isfinite(quality[["psnr", "gmsd"]]).all(axis=None)  # PI may have none of nearly flat pictures
