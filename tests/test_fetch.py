"""From an address to a set that can be trusted: what is unpacked, what is kept, and what never is."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from archives_like_the_real_ones import IMAGES, encoded, local_registry, make_archives
from local_server import serving

from masksr import fetch
from masksr.__main__ import main
from masksr.errors import MasksrError
from masksr.fetch.registry import FolderSet, find_set, find_weights, load_registry
from masksr.fetch.sets import find_images
from masksr.fetch.staging import RECORD
from masksr.models import RRDBNet
from masksr.tools.pretrained import load_pretrained
from masksr.tools.weights import resolve_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    make_archives(folder)
    return folder


@pytest.fixture
def served(archives: Path, tmp_path: Path) -> Path:
    """What the network offers; a test may spoil it."""
    shutil.copytree(archives, tmp_path / "served", copy_function=os.link)
    return tmp_path / "served"


@pytest.fixture
def project(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose registry has this machine's addresses, and an empty cache."""
    for variable in ("MASKSR_DATA", "MASKSR_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MASKSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("masksr.fetch.download.PAUSES", (0.0,))
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    shutil.copy(ROOT / "profiles/paper.yaml", folder / "params.yaml")
    monkeypatch.chdir(folder)
    with serving(served) as address:
        (folder / "data/registry.yaml").write_text(local_registry(ROOT / "data/registry.yaml", served, address))
        yield folder


def edit_registry(project: Path, section: str, name: str, **changes: object) -> None:
    path = project / "data/registry.yaml"
    content = yaml.safe_load(path.read_text())
    content[section][name] = {k: v for k, v in (content[section][name] | changes).items() if v is not None}
    path.write_text(yaml.safe_dump(content))


def replace(project: Path, served: Path, name: str, content: bytes) -> None:
    """Offer something else under a name, and forget the checksum."""
    (served / name).unlink()
    (served / name).write_bytes(content)
    edit_registry(project, "files", name, sha256=None, bytes=None)


def in_cache(tmp_path: Path) -> set[str]:
    """Everything in the cache that could be taken for a set or for weights."""
    hidden = (path.relative_to(tmp_path / "cache") for path in (tmp_path / "cache").rglob("*") if path.is_file())
    return {path.as_posix() for path in hidden if path.parts[0] != "downloads" and path.suffix != ".lock"}


def test_a_set_comes_whole_with_its_lr_and_nothing_else(project: Path, tmp_path: Path) -> None:
    sources = find_images(find_set("DIV2K_train"))
    assert [source.name for source in sources] == ["0001", "0002", "0003"]
    assert all(set(source.lr) == {2, 4} for source in sources)
    folder = fetch.set_folder(find_set("DIV2K_train"))
    assert sum(path.is_file() for path in folder.rglob("*")) == 3 * IMAGES + 1
    record = json.loads((folder / RECORD).read_text())
    assert len(record["from"]) == 3 and len(record["files"]) == 3 * IMAGES
    assert not list((tmp_path / "cache/downloads").glob("*.zip"))  # unpacked: no second copy of gigabytes


def test_junk_beside_the_pictures_stays_behind(project: Path) -> None:
    for name, expected in (("BSDS500", IMAGES), ("DIV2K_valid", 2 * IMAGES)):
        folder = fetch.fetch_set(find_set(name))
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != RECORD]
        assert len(files) == expected and {path.suffix for path in files} <= {".png", ".jpg"}


def test_an_archive_of_several_sets_is_downloaded_once(project: Path, served: Path, monkeypatch) -> None:
    fetch.fetch_set(find_set("BSD100"))
    (served / "benchmark.tar").unlink()
    monkeypatch.setenv("MASKSR_OFFLINE", "1")  # what is at hand needs no network
    folder = fetch.fetch_set(find_set("Urban100"))
    assert {path.parts[-3] for path in folder.rglob("*.png")} == {"Urban100", "LR_bicubic"}
    assert find_images(find_set("Urban100"))[0].lr[4].name == "img_040x4.png"


def test_what_is_there_is_not_asked_for_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch.fetch_set(find_set("PIRM_valid"))
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    assert len(find_images(find_set("PIRM_valid"))) == IMAGES
    with pytest.raises(
        MasksrError, match=r"BSD100 is not in .*MASKSR_OFFLINE.*data\.local of params\.yaml or MASKSR_DATA"
    ):
        find_images(find_set("BSD100"))


LAYOUTS = [
    (name, number)
    for name, spec in load_registry(ROOT / "data/registry.yaml").sets.items()
    if isinstance(spec, FolderSet)
    for number in range(len(spec.layouts))
]


@pytest.mark.parametrize(("name", "number"), LAYOUTS)
def test_a_folder_of_your_own_comes_first_and_nothing_is_copied(
    name: str, number: int, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layout of every set, by itself: DIV2K's own, EDSR's archive, BasicSR's, SelfExSR's and others."""
    spec = find_set(name)
    layout, first = spec.layouts[number], spec.first or 1
    scales = {1: layout.hr, 4: layout.lr_x4, 2: layout.lr_x2}
    for image in range(first, first + IMAGES):
        for scale, template in scales.items():
            if template:
                path = tmp_path / "own" / template.replace("*", "rain").format(name=f"img_{image:03d}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(image, scale, path.suffix))
    monkeypatch.setenv("MASKSR_DATA", str(tmp_path / "own"))
    sources = find_images(spec)
    assert len(sources) == IMAGES and all(source.hr.is_relative_to(tmp_path / "own") for source in sources)
    assert all(set(source.lr) == {s for s, t in scales.items() if t} - {1} for source in sources)
    assert not (tmp_path / "cache/sets").exists()
    sources[1].hr.unlink()
    gap = rf" \(the first that is missing: img_{first + 1:03d}\)" if spec.first else ""
    with pytest.raises(MasksrError, match=rf"2 pictures.*3 expected{gap}; complete it"):
        find_images(spec)
    assert not (tmp_path / "cache/sets").exists(), "an incomplete folder of the user's is named, not passed over"


def test_a_complete_layout_comes_before_one_that_is_not(project: Path, tmp_path: Path, monkeypatch) -> None:
    spec = find_set("BSD100")
    for number, images in ((1, [30]), (5, [30, 31, 32])):
        for image in images:
            path = tmp_path / "own" / spec.layouts[number].hr.format(name=image)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(image, 1, ".png"))
    monkeypatch.setenv("MASKSR_DATA", str(tmp_path / "own"))
    folder = Path(spec.layouts[5].hr).parent
    assert all(source.hr.is_relative_to(tmp_path / "own" / folder) for source in find_images(spec, limit=1))


def test_a_set_of_your_own_without_an_address_is_in_nobodys_way(project: Path) -> None:
    edit_registry(project, "sets", "BSDS500", downloads=None)
    assert len(find_images(find_set("PIRM_valid"))) == IMAGES
    with pytest.raises(MasksrError, match=r"BSDS500 is not in .* and cannot be downloaded; get it from https://"):
        find_images(find_set("BSDS500"))


def test_pictures_put_into_the_cache_by_hand_are_neither_trusted_nor_removed(project: Path, tmp_path: Path) -> None:
    picture = fetch.set_folder(find_set("Set5")) / "benchmark/Set5/HR/img_010.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(encoded(10, 1, ".png"))
    with pytest.raises(MasksrError, match="was not fetched by masksr; move it"):
        find_images(find_set("Set5"), limit=1)
    assert picture.is_file() and not (tmp_path / "cache/downloads").exists(), "it is said before the download"


# ---- What goes wrong -------------------------------------------------------------------------------------------------


PICTURE = encoded(50, 1, ".png")


def zipped(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def linked() -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as archive:
        member = tarfile.TarInfo("PIRM_valid_HR/50.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    return buffer.getvalue()


SPOILT: dict[str, Callable[[], bytes]] = {
    "no archive at all": lambda: b"\0" * 1000,
    "climbs out of its folder": lambda: zipped({"../../PIRM_valid_HR/50.png": PICTURE}),
    "a link in place of a picture": linked,
    "too few pictures": lambda: zipped({"PIRM_valid_HR/50.png": PICTURE}),
    "pictures under other names": lambda: zipped({"elsewhere/50.png": PICTURE}),
    "a bomb": lambda: zipped({"PIRM_valid_HR/50.png": bytes(120_000_000)}),
    "damaged pictures": lambda: zipped({f"PIRM_valid_HR/{n}.png": PICTURE[:9000] for n in (50, 51, 52)}),
    "another picture": lambda: zipped({f"PIRM_valid_HR/{n}.png": PICTURE for n in (50, 51, 52)}),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_archive_leaves_nothing_and_the_next_way_is_tried(
    what: str, project: Path, served: Path, tmp_path: Path
) -> None:
    replace(project, served, "PIRM_valid_HR.tar.gz", SPOILT[what]())
    with pytest.raises(MasksrError, match=r"PIRM_valid could not be downloaded: .*; or: .*404.*MASKSR_DATA"):
        fetch.fetch_set(find_set("PIRM_valid"))
    assert not in_cache(tmp_path)
    with zipfile.ZipFile(served / "PIRM_dataset.zip", "w") as archive:
        for number in range(50, 50 + IMAGES):
            archive.writestr(f"PIRM_dataset/Validation/Original/{number}.png", encoded(number, 1, ".png"))
    assert len(find_images(find_set("PIRM_valid"))) == IMAGES
    downloads = {path.name for path in (tmp_path / "cache/downloads").iterdir()}
    assert "PIRM_valid_HR.tar.gz" not in downloads, "what turned out to be useless is not what later files are held to"


def test_lr_under_other_names_than_hr_is_refused(project: Path, served: Path, tmp_path: Path) -> None:
    lr = {f"PIRM_valid_LR_x4/small_{n}.png": encoded(n, 4, ".png") for n in (50, 51, 52)}
    replace(project, served, "PIRM_valid_LR_x4.tar.gz", zipped(lr))
    with pytest.raises(MasksrError, match=r"LR pictures \(small_50\.png, \.\.\.\) have other names"):
        fetch.fetch_set(find_set("PIRM_valid"))
    assert not in_cache(tmp_path)


def test_killed_while_unpacking_it_starts_over(project: Path, tmp_path: Path) -> None:
    code = (
        "import os, time; from masksr import fetch; from masksr.fetch import archives\n"
        "from masksr.fetch.registry import find_set\n"
        "unpack = archives.unpack\n"
        "def slow(*args, **kwargs):\n    unpack(*args, **kwargs); print('unpacked', flush=True); time.sleep(60)\n"
        "archives.unpack = slow\nfetch.fetch_set(find_set('DIV2K_valid'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    while child.stdout.readline().strip() != "unpacked":
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert any(".unpacking" in name for name in in_cache(tmp_path)), "it was killed in the middle"
    assert len(find_images(find_set("DIV2K_valid"))) == IMAGES
    assert not any(".unpacking" in name for name in in_cache(tmp_path))


def test_two_processes_that_want_the_same_set_share_it(project: Path, tmp_path: Path) -> None:
    code = "from masksr.fetch import registry, sets; sets.fetch_set(registry.find_set('DIV2K_train'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    children = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert len(find_images(find_set("DIV2K_train"))) == IMAGES


# ---- Weights ---------------------------------------------------------------------------------------------------------


def test_checkpoints_have_names(project: Path, served: Path, tmp_path: Path, monkeypatch) -> None:
    network = RRDBNet(8, 1, 4)
    torch.save(network.state_dict(), served / "RRDB_PSNR_x4.pth")
    assert load_pretrained(fetch.find_pretrained("esrgan_psnr"), "rrdb").conv_first.weight.shape[0] == 8
    own = tmp_path / "own.pth"
    own.touch()
    assert fetch.find_pretrained(str(own)) == own
    with pytest.raises(MasksrError, match=r"no file nothing.pth.*esrgan_psnr"):
        fetch.find_pretrained("nothing.pth")
    (tmp_path / "data").mkdir()
    torch.save(network.state_dict(), tmp_path / "data/RRDB_PSNR_x4.pth")
    assert fetch.find_pretrained("esrgan_psnr", tmp_path / "data") == tmp_path / "data/RRDB_PSNR_x4.pth"
    (tmp_path / "data/RRDB_ESRGAN_x4.pth").write_bytes(b"zz")
    edit_registry(project, "files", "RRDB_ESRGAN_x4.pth", bytes=66929193)
    with pytest.raises(MasksrError, match=r"RRDB_ESRGAN_x4\.pth: it has 2 bytes, expected are 66929193"):
        fetch.find_pretrained("esrgan", tmp_path / "data")


def test_an_archive_of_checkpoints_lists_them(project: Path, served: Path) -> None:
    with zipfile.ZipFile(served / "PESR_pretrained", "w") as archive:
        for name in ("pesr/psnr.pt", "pesr/perception.pt", "pesr/readme.txt"):
            archive.writestr(name, b"-")
    with pytest.raises(MasksrError, match=r"several checkpoints.*perception\.pt, .*psnr\.pt$"):
        fetch.find_pretrained("pesr")
    assert fetch.find_pretrained(str(fetch.weights_folder() / "pesr/pesr/psnr.pt")).is_file()


@pytest.mark.parametrize("name", ["niqe", "ma", "vgg19", "edsr_x4"])
def test_weights_that_do_not_read_are_neither_kept_nor_the_measure_of_later_ones(
    name: str, project: Path, served: Path
) -> None:
    spec = find_weights(name)
    file = spec.downloads[0].name
    good = (served / file).read_bytes() if (served / file).exists() else None
    (served / file).unlink(missing_ok=True)
    (served / file).write_bytes(b'{"error": "rate limited"}')
    edit_registry(project, "files", file, sha256=None, bytes=None)
    with pytest.raises(MasksrError, match=rf"{name} \(https://.*\) could not be had: .*{file}"):
        fetch.fetch_weights(find_weights(name))
    assert not (fetch.weights_folder() / file).exists()
    if good:
        (served / file).write_bytes(good)
        assert fetch.fetch_weights(find_weights(name)).read_bytes() == good


def test_another_name_for_a_file_counts_in_the_cache_too(project: Path, tmp_path: Path) -> None:
    spec = find_weights("vgg19")
    own = fetch.weights_folder() / spec.also_named[0]
    own.parent.mkdir(parents=True)
    own.touch()
    assert fetch.fetch_weights(spec) == own


def test_a_file_of_the_official_name_must_be_the_official_file(project: Path, tmp_path: Path) -> None:
    """Another NIQE under its name would change every PI, under a label that says official."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/niqe_modelparameters.mat").write_bytes(b"another one")
    for mode in ("official", "auto"):
        with pytest.raises(MasksrError, match=r"niqe_modelparameters\.mat: it has 11 bytes, expected are"):
            resolve_weights(mode, tmp_path / mode, data_folder=tmp_path / "data")


# ---- The command -----------------------------------------------------------------------------------------------------


def test_the_command_fetches_lists_and_verifies(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--list", "Set5", "niqe", "cat"]) == 0
    listed = capsys.readouterr().out
    assert "to download: " in listed and "in the installed packages" in listed and "licence: " in listed
    assert main(["fetch", "Set5", "niqe"]) == 0
    said = capsys.readouterr()
    assert f"Set5: in {fetch.set_folder(find_set('Set5'))}" in said.out and "cite: " in said.out
    assert main(["fetch", "--list", "Set5", "niqe"]) == 0
    assert "to download" not in capsys.readouterr().out
    assert main(["fetch", "--verify", "Set5", "niqe", "BSD100"]) == 0
    said = capsys.readouterr()
    assert f"{2 * IMAGES} files as fetched" in said.out and "as published" in said.out
    assert "BSD100: not in the cache" in said.out
    picture = next(fetch.set_folder(find_set("Set5")).rglob("*x4.png"))
    picture.write_bytes(picture.read_bytes()[:-1] + b"?")
    assert main(["fetch", "--verify"]) == 1
    said = capsys.readouterr()
    assert picture.name in said.err and "python -m masksr fetch Set5" in said.err
    assert said.out.startswith("niqe: ") and said.out.count("\n") == 1  # the others, of which there is one
    (fetch.set_folder(find_set("Set5")) / RECORD).write_text("{")
    assert main(["fetch", "--verify", "Set5"]) == 1
    assert "is damaged; remove" in capsys.readouterr().err
    assert main(["fetch", "Sett5"]) == 1
    assert "did you mean 'Set5'" in capsys.readouterr().err


def test_without_names_it_fetches_what_the_profile_needs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0
    said = capsys.readouterr().out
    for name in ("DIV2K_train", "Set5", "DIV2K_valid", "Urban100", "BSD100", "PIRM_valid", "vgg19", "niqe", "ma"):
        assert f"{name}: in " in said
    assert main(["fetch"]) == 0
    assert "cite" not in capsys.readouterr().out  # which is said when something is downloaded
