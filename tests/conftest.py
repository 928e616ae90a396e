"""What the test files share: the environment they start in, and one project in which everything has run."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_project import copy_sources, dvc, run, tiny, yaml

os.environ.setdefault("MPLBACKEND", "Agg")  # no test opens a window

# A shell lets what it starts with & ignore Ctrl-C, and the children of that too: tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, because the first example pays for imports; the same examples on every run of CI.
settings.register_profile("masksr", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("masksr")


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project after one `dvc repro` that is also committed to git. Only to be read: see ``project``."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = copy_sources(tmp_path_factory.mktemp("reproduced") / "a project")
    yaml.dump(tiny(), folder / "params.yaml")
    argument = folder / "notebooks/30_argument.ipynb"  # trains for half of all the time, and knows no profile
    argument.write_text(argument.read_text().replace("steps=1500", "steps=150"))
    run(folder, "git", "init", "--quiet")
    dvc(folder, "repro")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--message", "results")
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of that project, to be changed."""
    return shutil.copytree(reproduced, tmp_path / "a copy")
