"""``make carry``: the folder that travels to a GPU machine without a network (docs/gpu.md has the commands there).

It holds the wheels that the library needs and a machine with torch and the usual packages lacks, VGG19 as float16, and
photographs to train on. They are taken from the folder that MASKSR_DATA names: as many photographs as there is room for
beside the tracked files of this project.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from masksr.models.build import save_weights
from masksr.models.vgg import OXFORD_SCALE, load_vgg19, rescale_features
from masksr.paths import find_data_folder

FOLDER = Path("carry")
PYTHON = "3.12"  # of the machine
ROOM = 62 << 20  # bytes, with the tracked files: what a machine may take is often 64 MiB
WHEELS = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "ruamel.yaml")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> int:
    """Build the folder anew, or say what is missing."""
    data = find_data_folder()
    validation = sorted(data.glob("test/Set5/HR/*.png")) if data else []
    photographs = sorted(data.glob("train/BSDS500/*.jpg")) if data else []
    if not validation or not photographs:
        sys.exit("error: MASKSR_DATA must name a folder with pictures in train/BSDS500 and test/Set5/HR, and weights/")
    shutil.rmtree(FOLDER, ignore_errors=True)
    for folder in ("test/Set5/HR", "train/BSDS500"):
        (FOLDER / folder).mkdir(parents=True)
    _get_wheels(FOLDER / "wheels")
    _write_vgg(data / "weights", FOLDER / "weights/vgg19.safetensors")
    for path in validation:
        shutil.copy(path, FOLDER / "test/Set5/HR")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    taken, carried = _size(Path(name) for name in tracked) + _size(FOLDER.rglob("*")), 0
    for path in photographs:
        if taken + path.stat().st_size > ROOM:
            break
        taken += path.stat().st_size
        carried += 1
        shutil.copy(path, FOLDER / "train/BSDS500")
    print(f"{FOLDER}: {carried} photographs; {taken / 2**20:.1f} MiB with the tracked files")
    return int(not carried)


def _get_wheels(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", PYTHON, "--implementation", "cp", "-c", "requirements.lock", "-d", str(folder)]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    if subprocess.run([*command, *WHEELS], stderr=subprocess.DEVNULL).returncode:
        sys.exit(f"error: pip found no wheels of {', '.join(WHEELS)} for Python {PYTHON}; is there a network?")


def _write_vgg(folder: Path, path: Path) -> None:
    """float16 loads as float32; the convolutions of VGG19 lose nothing that a loss would notice."""
    for name in ("vgg19-oxford-features.safetensors", "vgg19.safetensors", "vgg19-dcbb9e9d.pth"):
        if (folder / name).is_file():
            network = load_vgg19(folder / name)
            if "oxford" in name:
                rescale_features(network, OXFORD_SCALE)
            save_weights({key: value.to(torch.float16) for key, value in network.state_dict().items()}, path)
            return
    sys.exit(f"error: {folder}: there is no VGG19 (vgg19-dcbb9e9d.pth, or vgg19-oxford-features.safetensors)")


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
