"""What the pipeline costs beside the work: `dvc repro` when nothing is to be done, commands, an empty notebook."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat

from benchmarks.report import Row, Table, met
from benchmarks.timing import Variant, interleaved
from masksr import project

TARGET = 3.0  # seconds of a `dvc repro` that finds everything done


def tables(quick: bool) -> list[Table]:
    """Seconds of whole processes, from start to end."""
    root, python = project.root(), sys.executable
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "empty.ipynb"
        _write_notebook(notebook)
        commands: dict[str, Sequence[str | Path]] = {
            "import masksr.params": [python, "-c", "import masksr.params"],
            "masksr check": [python, "-m", "masksr", "check"],
            "an empty notebook": [python, "-m", "masksr", "run", notebook, "-o", Path(folder) / "executed.ipynb"],
        }
        reason = _why_not_done(root)
        if not reason:
            commands["dvc repro, nothing to do"] = [python, "-m", "dvc", "repro"]
        variants = {name: Variant(lambda c=command: _run(c, root)) for name, command in commands.items()}
        found = interleaved(variants, rounds=1 if quick else 4, warm_up=0 if quick else 1)
    rows = []
    for name in commands:
        target = TARGET if "dvc" in name else None
        median = found.of(name).median
        cells = {"command": name, "s": found.of(name), "target s": target, "met": met(median, at_most=target)}
        rows.append(Row(cells, {name: found.seconds[name]}))
    note = "Whole processes, imports included."
    return [Table("Pipeline", f"{note} `dvc repro` was not measured: {reason}." if reason else note, rows)]


def _why_not_done(root: Path) -> str | None:
    """Why a `dvc repro` here would not be one that finds everything done; None where it would."""
    dry = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--dry"], cwd=root, env=_environment(), capture_output=True, text=True
    )
    if "Running stage" in dry.stdout:  # in a fresh clone it fails after that
        return "the pipeline is not up to date (run `dvc repro` first)"
    if dry.returncode:
        return (dry.stderr.strip().splitlines() or ["dvc failed"])[0].removeprefix("ERROR: ")
    return None


def _run(command: Sequence[str | Path], root: Path) -> None:
    subprocess.run(command, cwd=root, env=_environment(), check=True, stdout=subprocess.DEVNULL)


def _environment() -> dict[str, str]:
    """As with the environment activated: dvc finds its stages' `python` on the PATH."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _write_notebook(path: Path) -> None:
    cell = nbformat.v4.new_code_cell("nothing = None", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
