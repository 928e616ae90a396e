"""A params.yaml from somebody else: it is read whole or refused, and nothing of it means anything to a shell."""

from __future__ import annotations

import copy
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from masksr import params
from masksr.errors import MasksrError

ROOT = Path(__file__).parents[1]
MINI = (ROOT / "profiles/mini.yaml").read_text()
ODD = [None, True, 0, -1, 1, 3, 2**62, 1e308, -0.0, 1.5e-300, float("nan"), float("inf"), "", "x", "\x1b[2J", "$(id)"]
ODD += ["none", "paper", "esrgan", "../..", "-o", "a b", [], ["none"], [0, 0], [[1]], {}, {"kind": "none"}, {"k": {}}]


def mutated(rng: random.Random) -> dict:
    """mini.yaml with one to three of its values or keys replaced, removed or copied elsewhere."""
    tree = yaml.safe_load(MINI)
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = [tree]
        for place in places:
            values = place.values() if isinstance(place, dict) else place
            places += [value for value in values if isinstance(value, dict | list) and value]
        place, other = rng.choice(places), rng.choice(places)
        if not place:
            continue
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        match rng.randrange(5):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[str(rng.choice(ODD))] = place[key]
            case 2 if isinstance(other, dict) and other is not place:
                place[key] = copy.deepcopy(rng.choice(list(other.values()) or [None]))
            case _:
                place[key] = rng.choice(ODD)
    return tree


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_change_is_read_whole_or_refused_in_one_line(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("p") / "params.yaml"
    path.write_text(yaml.safe_dump(mutated(random.Random(seed))))
    try:
        read = params.load(path)
    except MasksrError as error:
        assert "\n" not in str(error) and "params.yaml" in str(error)
        return
    path.write_text(yaml.safe_dump(read.model_dump(mode="json", exclude_unset=True)))
    assert params.load(path) == read, "what was read cannot be written and read again"
    for word in in_commands(read):
        assert shlex.quote(word) == word


def in_commands(read: params.Params) -> list[str]:
    """Everything of params.yaml that dvc.yaml puts into commands and paths."""
    data, table1, sweep = read.data, read.table1, read.sweep
    values = [read.profile, data.train, data.validation, *data.test, *table1.models, *table1.masks, *table1.seeds]
    return list(map(str, [*values, sweep.model, sweep.mask, *sweep.k, *sweep.b, *sweep.seeds]))


def test_these_are_all_that_stand_in_commands():
    """Of dvc.yaml, every ``${...}`` is one that in_commands knows, or ``run``, which params.yaml cannot replace."""
    known = {"run", "profile", "data.train", "data.validation", "data.test", "table1.models", "table1.masks"}
    known |= {"table1.seeds", "sweep.model", "sweep.mask", "sweep.k", "sweep.b", "sweep.seeds"}
    used = set(re.findall(r"\$\{([^}]+)\}", (ROOT / "dvc.yaml").read_text()))
    assert {name for name in used if not name.startswith("item.")} <= known
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "${" not in pipeline["stages"]["params"]["cmd"].replace("${run}", "")


@given(st.text(max_size=8) | st.from_regex(r"[A-Za-z0-9._]+\s?[;&|$`(){}<>*?~#!\\'\"\n\r /-]?.?", fullmatch=True))
def test_a_name_means_nothing_to_a_shell_or_a_path(text):
    try:
        name = TypeAdapter(params.Name).validate_python(text)
    except ValidationError:
        return
    assert shlex.quote(name) == name and Path(name).name == name and name not in (".", "..") and name[0] not in "-.~"


@pytest.fixture
def project(tmp_path):
    for name in ("dvc.yaml", "data/registry.yaml", "data/paper.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("masksr", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "params.yaml").write_text(MINI)
    dvc(tmp_path, "init", "--no-scm", "-q")
    return tmp_path


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(folder)
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "old, new",
    [
        ("profile: mini", "profile: 'x; touch taken; #'"),
        ("profile: mini", 'profile: "x\\ntouch taken\\n"'),
        ("train: photographs", "train: $(touch taken)"),
        ("profile: mini", "profile: ../precious"),
        ("profile: mini", "profile: mini\nrun: touch taken #"),
    ],
)
def test_repro_stops_before_a_shell_or_a_folder_meets_a_bad_name(project, old, new):
    (project / "precious").mkdir()
    (project / "precious/file").write_text("mine")
    (project / "params.yaml").write_text(MINI.replace(old, new, 1))
    done = dvc(project, "repro")
    assert done.returncode != 0
    assert not list(project.rglob("taken")) and (project / "precious/file").read_text() == "mine"


def test_every_stage_waits_for_the_check(project):
    code = """
import networkx
from dvc.repo import Repo
graph = Repo(".").index.graph
(check,) = (stage for stage in graph if stage.addressing == "params")
print(*(stage.addressing for stage in graph if stage is not check and check not in networkx.descendants(graph, stage)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
