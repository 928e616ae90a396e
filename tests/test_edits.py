"""What an edit makes out of date: the table of docs/pipeline.md, as `masksr plan` finds it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
from dvc.repo import Repo
from tiny_project import ROOT, change, dvc, run

from masksr import plan as plans
from masksr.params import load
from masksr.paths import Paths


def text(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(project: Path) -> None:
        content = (project / file).read_text()
        assert old in content
        (project / file).write_text(content.replace(old, new, 1))

    return edit


def value(*keys: str, value: object) -> Callable[[Path], None]:
    return lambda project: change(project, *keys, value=value)


def autosave(project: Path) -> None:
    """What an editor without our hook does to a notebook that it has opened."""
    file = project / "notebooks/13_train.ipynb"
    content = json.loads(file.read_text())
    content["metadata"]["language_info"] |= {"version": "3.13.0", "file_extension": ".py"}
    for cell in content["cells"]:
        cell["metadata"]["trusted"] = True
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1
    file.write_text(json.dumps(content, indent=2))


DOC = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
PANDAS, EQUATION = "import pandas as pd\n", "mask.k * error + mask.b"
EDITS = {
    "a notebook is opened, and saved by its editor": autosave,
    "a docstring or a comment of `training/step.py`": text("masksr/training/step.py", '"""', '"""More. '),
    "a word in the prose of `13_train`": text("notebooks/13_train.ipynb", "# Adversarial", "# GAN"),
    "a line in `plots/charts.py`": text("masksr/plots/charts.py", "linewidth=2.2", "linewidth=2"),
    "equation 8 in `training/mask.py`": text("masksr/training/mask.py", EQUATION, f"2 * {EQUATION}"),
    "`training/losses.py`": text("masksr/training/losses.py", "import torch\n", "import torch\n\nN = 1\n"),
    "`training/loop.py`": text("masksr/training/loop.py", "KEPT = 2", "KEPT = 3"),
    "`quality/ma.py`": text("masksr/quality/ma.py", "import numpy as np\n", "import numpy as np\n\nN = 1\n"),
    "`results/tables.py`": text("masksr/results/tables.py", PANDAS, f"{PANDAS}\nN = 1\n"),
    "`report/template/style.css`": text("masksr/report/template/style.css", "{", "{ "),
    "`title` of a model": value("models", "esrgan", "title", value="ESRGAN, small"),
    "`train.log_every`, `validate_every`": value("train", "log_every", value=2),
    "`masks.paper.k`": value("masks", "paper", "k", value=0.3),
    "`models.esrgan.loss.l1`": value("models", "esrgan", "loss", "l1", value=0.02),
    "another value of `sweep.k`": value("sweep", "k", value=[0.2, 2.0]),
    "another test set": value("data", "test", value=["cat", "tissue"]),
    "`figure4.size`": value("figure4", "size", value=32),
    "`requirements.lock`, a version": text("requirements.lock", "==", "==1"),
}


def test_the_picture_has_every_definition_and_what_it_reads() -> None:
    graph = Repo(str(ROOT)).index.graph
    pairs = {tuple(stage.name.partition("@")[0] for stage in reversed(pair)) for pair in graph.edges}
    reads = nx.transitive_reduction(nx.DiGraph(pair for pair in pairs if len(set(pair)) == 2))
    assert set(re.findall(r"^    (\w+) --> (\w+)$", DOC, re.MULTILINE)) == set(reads.edges)


def planned(project: Path) -> tuple[list[str], list[str]]:
    """The stages that would train, and those that would only run again, without their profile."""
    found = plans.sort_stages(load(project / "params.yaml"), Paths(project, "mini"))
    short = [[name.replace("@mini-", " ").replace("@mini", "") for name in names] for names in found[:2]]
    return sorted(short[0]), sorted(short[1])


def row(edit: str, project: Path) -> str:
    training, again = planned(project)
    kinds = list(dict.fromkeys(name.partition(" ")[0] for name in again if name != "check"))
    stages = (project / "stages.txt").read_text().split()
    everything = {stage.partition("@")[0] for stage in stages} - {"check"}
    running = {*kinds, *(name.partition(" ")[0] for name in training)}
    shown = "all other stages" if running == everything else ""
    return f"| {edit} | {', '.join(training) or '—'} | {shown or ', '.join(kinds) or '—'} |"


def test_the_table_of_edits_is_true(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "stages.txt").write_text(dvc(project, "stage", "list", "--name-only"))
    monkeypatch.setattr("masksr.__file__", str(project / "masksr/__init__.py"))
    assert planned(project) == ([], [])
    rows = []
    for name, edit in EDITS.items():
        edit(project)
        rows.append(row(name, project))
        run(project, "git", "checkout", "--", ".")
    written = DOC.splitlines()
    start = written.index(rows[0])
    assert rows == written[start : start + len(rows)]
