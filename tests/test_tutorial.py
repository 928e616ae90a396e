"""docs/tutorial.md, obeyed: its changes applied, its commands run; what is under ```text must be printed."""

import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image
from skimage import data as photographs
from tiny_project import ROOT, run, yaml

pytestmark = pytest.mark.slow
Block = namedtuple("Block", "section language file content")


def blocks() -> list[Block]:
    text, section, found = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), "", []
    blocks = re.findall(r"^## (.+)$|^```(\S.*)\n((?s:.*?))^```$", text, flags=re.MULTILINE)
    for heading, info, content in blocks:
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
        assert text.count("\n" + old) == 1, f"{path.name} does not have these lines once:\n{old}"
        text = text.replace("\n" + old, "\n" + new)
    path.write_text(text[1:], encoding="utf-8")


@pytest.fixture(scope="module")
def reader(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's project after a run, with what mini tests and compares, and photographs in ``../home``."""
    folder = tmp_path_factory.mktemp("tutorial")
    project, pictures = shutil.copytree(reproduced, folder / "a project"), folder / "home/Pictures"
    content = yaml.load(project / "params.yaml")
    content["table1"]["models"][:] = ["esrgan", "pesr", "edsr"]
    content["data"]["test"][:] = ["cat", "temple", "workshop", "tissue"]
    yaml.dump(content, project / "params.yaml")
    pictures.mkdir(parents=True)
    Image.fromarray(photographs.astronaut()[:128, :160]).save(pictures / "IMG_1.jpg")
    Image.fromarray(photographs.coffee()[:160, :128]).save(pictures / "IMG_2.jpg")
    return project


SECTIONS = list(dict.fromkeys(block.section for block in blocks()))


@pytest.mark.parametrize("section", SECTIONS)
def test_section(section: str, reader: Path) -> None:
    said = ""
    for block in (block for block in blocks() if block.section == section):
        if block.file:
            (reader / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "diff":
            apply(block.content, reader)
        elif block.language == "text":
            missing = [line for line in block.content.splitlines() if line not in said]
            assert not missing, f"{missing}\nnot in\n{said}"
        else:
            command = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"]}[block.language]
            said = run(reader, *command, block.content, HOME=str(reader.parent / "home"))
