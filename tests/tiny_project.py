"""Copies of this project with networks and schedules of seconds, and DVC as a user runs it in them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SOURCES = ["masksr", "notebooks", "data/registry.yaml", "data/paper.yaml", "dvc.yaml", "CITATION.cff"]
SOURCES += ["profiles", "requirements.lock", "docs", ".dvc/config", ".dvc/.gitignore", ".dvc/plots"]
SOURCES += [".dvcignore", ".gitignore", ".gitattributes"]
# Whatever a test patches, and whether `make` runs the tests.
UNWANTED = ("MASKSR_DATA", "MAKE", "MFLAGS")
INHERITED = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
yaml = YAML()  # keeps comments, quotes and lists in one line
yaml.preserve_quotes, yaml.width = True, 999


def environment_in(folder: Path) -> dict[str, str]:
    """Variables for a process in ``folder``: this environment's programs first, its masksr, no network."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{INHERITED['PATH']}"
    changes = {"PATH": path, "OMP_NUM_THREADS": "1", "MASKSR_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}
    changes |= {"GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": str(folder)}
    changes |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return INHERITED | changes


def run(folder: Path, *command: str | Path, ok: bool = True, **environment: str) -> str:
    """Run a command in ``folder``; what it printed."""
    env = environment_in(folder) | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=1800)
    assert (done.returncode == 0) == ok, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def dvc(project: Path, *arguments: str, ok: bool = True, **environment: str) -> str:
    return run(project, sys.executable, "-m", "dvc", *arguments, ok=ok, **environment)


def ran(output: str) -> set[str]:
    """The stages that DVC says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def copy_sources(folder: Path, names: list[str] = SOURCES) -> Path:
    """Files and folders of this project, as a clone has them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Files with these texts, by their paths below ``folder``."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def change(project: Path, *keys: str, value: object) -> None:
    """Set one value of ``params.yaml``."""
    content = section = yaml.load(project / "params.yaml")
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    yaml.dump(content, project / "params.yaml")


def tiny() -> dict[str, Any]:
    """The profile mini with the smallest networks and schedules, one model, a plain and a masked variant."""
    content = yaml.load(ROOT / "profiles/mini.yaml")
    content["train"] |= {"device": "cpu", "steps_per_epoch": 2, "log_every": 1, "validate_every": 2}
    content["train"] |= {"validation_patches": 2, "checkpoint_every": 2}
    content["weights"]["vgg_width"] = 0.0625
    content["measures"]["also"] = []  # others need weights
    esrgan = content["models"]["esrgan"]
    esrgan |= {"lr_patch": 16, "batch": 2}
    esrgan["generator"] |= {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    esrgan["discriminator"]["num_feat"] = 4
    esrgan["gan"] |= {"epochs": 1, "halve_at": []}
    esrgan["start"]["phases"][0] |= {"epochs": 1, "halve_at": []}
    content["table1"]["models"][:] = ["esrgan"]
    content["sweep"]["k"][:], content["sweep"]["b"][:] = [0.2], [0.5]
    content["data"]["test"][:] = ["cat"]
    del content["figure4"]["crops"][1:]
    return content
