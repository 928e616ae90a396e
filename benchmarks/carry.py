"""``make carry``: the folder that travels to a GPU machine without a network (docs/gpu.md has the commands there).

It holds the wheels that the library needs and a machine with torch and the usual packages lacks, VGG19 as float16, and
photographs to train on. They are taken from the folder that MASKSR_DATA names: as many photographs as there is room for
beside the tracked files of this project.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from masksr.io import MasksrError
from masksr.models.build import save_weights
from masksr.models.vgg import OXFORD_SCALE, load_vgg19, rescale_features
from masksr.paths import find_data_folder

FOLDER = Path("carry")
PYTHON = "3.12"  # of the machine
ROOM = 62 << 20  # bytes, with the tracked files: what a machine may take is often 64 MiB
WHEELS = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "ruamel.yaml")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> int:
    try:
        build_folder(FOLDER)
    except MasksrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    photographs = len(list((FOLDER / "train/BSDS500").iterdir()))
    size = _size(FOLDER.rglob("*")) + _size(_tracked_files())
    print(f"{FOLDER}: {photographs} photographs; {size / 2**20:.1f} MiB with the tracked files")
    return 0


def build_folder(folder: Path) -> None:
    """Build ``folder`` anew. Raises MasksrError where data is missing, there is no room, or pip finds no wheel."""
    data = find_data_folder(None)
    if data is None:
        raise MasksrError("MASKSR_DATA must name a folder with train/BSDS500, test/Set5/HR and weights/")
    validation = sorted((data / "test/Set5/HR").glob("*.png"))
    photographs = sorted((data / "train/BSDS500").glob("*.jpg"))
    if not validation or not photographs:
        raise MasksrError(f"{data}: there are no pictures in train/BSDS500 or test/Set5/HR")
    shutil.rmtree(folder, ignore_errors=True)
    _get_wheels(folder / "wheels")
    _write_vgg(data / "weights", folder / "weights/vgg19.safetensors")
    for path in validation:
        _copy(path, folder / "test/Set5/HR")
    room = ROOM - _size(_tracked_files()) - _size(folder.rglob("*"))
    for path in photographs:
        room -= path.stat().st_size
        if room < 0:
            break
        _copy(path, folder / "train/BSDS500")
    if not (folder / "train").exists():
        raise MasksrError(f"{folder}: no room for photographs below {ROOM >> 20} MiB; commit or carry less")


def _get_wheels(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", PYTHON, "--implementation", "cp", "-c", "requirements.lock", "-d", str(folder)]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    if subprocess.run([*command, *WHEELS], stderr=subprocess.DEVNULL).returncode:
        raise MasksrError(f"pip found no wheels of {', '.join(WHEELS)} for Python {PYTHON}; is there a network?")


def _write_vgg(folder: Path, path: Path) -> None:
    """float16 loads as float32; the convolutions of VGG19 lose nothing that a loss would notice."""
    for name in ("vgg19-oxford-features.safetensors", "vgg19.safetensors", "vgg19-dcbb9e9d.pth"):
        if (folder / name).is_file():
            network = load_vgg19(folder / name)
            if "oxford" in name:
                rescale_features(network, OXFORD_SCALE)
            save_weights({key: value.to(torch.float16) for key, value in network.state_dict().items()}, path)
            return
    raise MasksrError(f"{folder}: there is no VGG19 (vgg19-dcbb9e9d.pth, or vgg19-oxford-features.safetensors)")


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / path.name)


def _tracked_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in names.split("\0") if name]


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
