"""docs/tutorial.md, read and obeyed: its changes are applied and its commands run, in order and as they stand there.

In a copy of the project that is as after a run, with trainings shrunk to seconds. A line under ```text must be in what
the command before it printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dvc.repo import Repo
from PIL import Image
from random_quality import write_quality_weights
from skimage import data as photographs
from test_pipeline import SOURCES, copy_sources, dvc

from masksr import params
from masksr.fetch.find import build_pack
from masksr.paths import Paths
from masksr.tools import weights
from masksr.training import train as training

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
HALVINGS = "[22, 29, 34, 38, 41, 43]"
SHRUNK = {  # of profiles/mini.yaml; lines that the tutorial changes stay as they are
    "device: auto": "device: cpu",
    "steps_per_epoch: 20": "steps_per_epoch: 1",
    "log_every: 10": "log_every: 1",
    "validate_every: 50": "validate_every: 9",
    "validation_patches: 8": "validation_patches: 1",
    "checkpoint_every: 50": "checkpoint_every: 99",
    "vgg_width: 0.25": "vgg_width: 0.0625",
    "num_feat: 32, num_block: 1, num_grow_ch: 16": "num_feat: 8, num_block: 1, num_grow_ch: 4",
    f"epochs: 45, learning_rate: 1.0e-3, halve_at: {HALVINGS}": "epochs: 1, learning_rate: 0.1, halve_at: []",
    "gan: {epochs: 5, learning_rate: 2.0e-4, halve_at: [3, 4]}": "gan: {epochs: 1, learning_rate: 0.1, halve_at: []}",
}


class Block(NamedTuple):
    section: str
    language: str
    file: str
    content: str


def blocks() -> list[Block]:
    text, section, found = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), "", []
    for heading, info, content in re.findall(r"^## (.+)$|^```(\S.*)\n((?s:.*?))^```$", text, flags=re.MULTILINE):
        section = heading or section
        if info:
            language, _, file = info.partition(" file=")
            found.append(Block(section, language, file, content))
    return found


def apply(diff: str, project: Path) -> None:
    """Each hunk's old lines must stand in the file once; they become its new lines."""
    header, *hunks = re.split(r"^@@\n", diff, flags=re.MULTILINE)
    path = project / header.removeprefix("--- ").strip()
    text = "\n" + path.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = hunk.splitlines()
        assert {line[:1] for line in lines} <= {" ", "-", "+"}, hunk
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in keep) for keep in (" -", " +"))
        assert text.count("\n" + old) == 1, (
            f"{path.name} does not have these lines once, as the tutorial has them:\n{old}"
        )
        text = text.replace("\n" + old, "\n" + new)
    path.write_text(text[1:], encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make repro` leaves it, as far as the tutorial needs it: data, weights and ESRGAN's start, known to DVC."""
    project = tmp_path_factory.mktemp("a project")
    copy_sources([*SOURCES, "profiles", "docs"], project)
    text = (ROOT / "profiles/mini.yaml").read_text(encoding="utf-8")
    for old, new in SHRUNK.items():
        assert text.count(old) == 1, f"profiles/mini.yaml does not have {old!r} once"
        text = text.replace(old, new)
    (project / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.delenv("MASKSR_DATA", raising=False)
        settings = params.load()
        paths = Paths.of(settings)
        sets = [settings.data.train, settings.data.validation, *settings.data.test]
        for name in sets:
            build_pack(name, paths.set(name))
        weights.prepare_vgg19(settings, paths)
        write_quality_weights(paths.weights / "quality")
        training.train_start(settings, "esrgan", 0, paths)
    notebooks = [paths.runs / f"data/{name}.ipynb" for name in sets]
    for notebook in [*notebooks, paths.runs / "02_weights.ipynb", paths.start("esrgan", 0) / "start.ipynb"]:
        notebook.parent.mkdir(parents=True, exist_ok=True)
        notebook.write_text("{}")
    (paths.runs / "params.txt").write_text("params.yaml is valid\n")
    dvc(project, "config", "--local", "core.no_scm", "true")
    stages = [f"{'test_' * (name in settings.data.test)}data@{name}" for name in sets]
    dvc(project, "commit", "--force", "params", *stages, "weights", "start@esrgan-0")
    return project


@pytest.fixture(scope="module")
def environment(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A reader's terminal: the environment is active, the project installed, and there are photographs at home."""
    home = tmp_path_factory.mktemp("home")
    (home / "Pictures").mkdir()
    for name, picture in {
        "IMG_1": photographs.astronaut()[:128, :160],
        "IMG_2": photographs.coffee()[:160, :128],
    }.items():
        Image.fromarray(picture).save(home / f"Pictures/{name}.jpg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    changes = {"PATH": path, "PYTHONPATH": str(project), "HOME": str(home), "OMP_NUM_THREADS": "1"}
    changes |= {"MASKSR_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}
    return {name: value for name, value in os.environ.items() if name != "MASKSR_DATA"} | changes


SECTIONS = list(dict.fromkeys(block.section for block in blocks()))


@pytest.mark.parametrize("section", SECTIONS)
def test_section(section: str, project: Path, environment: dict[str, str]) -> None:
    said = ""
    for block in (block for block in blocks() if block.section == section):
        if block.file:
            (project / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "diff":
            apply(block.content, project)
        elif block.language == "text":
            assert not [line for line in block.content.splitlines() if line not in said], (
                f"{block.content}\nnot in\n{said}"
            )
        else:
            command = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"]}[block.language]
            done = subprocess.run(
                [*command, block.content], cwd=project, env=environment, capture_output=True, text=True
            )
            said = done.stdout + done.stderr
            assert done.returncode == 0, f"{block.content}\n{said[-3000:]}"


def test_the_sections_are_those_that_were_promised_and_leave_a_valid_project(project: Path) -> None:
    assert [section[0] for section in SECTIONS] == ["1", "2", "3", "4"]
    kept = yaml.safe_load((project / "params.yaml").read_text())
    assert {"strong", "texture"} < set(kept["masks"]) and "espcn" in kept["models"]
    assert {"test_data@holiday", "train@espcn-texture-0"} < {stage.name for stage in Repo(project).index.stages}
    for made in "variants/esrgan-strong-s0", "variants/esrgan-texture-s0", "start/espcn-s0":
        assert (project / "runs/mini" / made / "generator.safetensors").is_file()
