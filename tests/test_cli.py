"""The command line: every command has help and examples that are right, and an error is one line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from masksr import cli, project
from masksr.cli import main
from masksr.errors import MasksrError

ROOT = Path(__file__).parents[1]
COMMANDS = ["check", "params", "cost", "fetch", "run", "cluster", "summary", "report", "pdf", "verify", "compare"]
COMMANDS += ["evaluate", "upscale", "score"]  # in the order in which people meet them


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its committed parameters, nothing run yet; the working directory is a folder below it."""
    shutil.copy(ROOT / "profiles/mini.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, nothing on standard output."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("masksr: error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_help_starts_at_once() -> None:
    """Nothing that takes time to import is imported before a command needs it."""
    heavy = "import sys; import masksr.cli; print(len(sys.modules), *sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", heavy]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    count, *modules = run.stdout.split()
    assert not {"torch", "numpy", "pandas", "ruamel.yaml", "pydantic", "jupyter_client"} & set(modules)
    assert int(count) < 150


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    listed = re.findall(r"^    (\S+) +(\S.*)$", said := helped(capsys), flags=re.M)
    assert [name for name, _ in listed if name in COMMANDS] == COMMANDS == list(cli.COMMANDS)
    assert "python -m masksr COMMAND --help" in said and "exit status:" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command_are_right(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, command)
    examples = re.findall(r"^  python -m masksr (.*)$", said, flags=re.M)
    assert examples and all(cli.parse(shlex.split(example)).command == command for example in examples)
    for status in ("0    done", "1    an error", "2    a wrong command line", "130  interrupted"):
        assert f"  {status}" in said


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("fetch", {}),
        ("fetch Set5 --list", {"names": ["Set5"], "list": True}),
        ("run n.ipynb -o x a=1 b=2", {"notebook": Path("n.ipynb"), "output": Path("x"), "parameters": ["a=1", "b=2"]}),
        ("run n.ipynb a=1 -o x b=2", {"notebook": Path("n.ipynb"), "output": Path("x"), "parameters": ["a=1", "b=2"]}),
        ("cluster --dry a b", {"targets": ["a", "b"], "dry": True}),
        ("cluster --jobs 2", {"jobs": 2}),
        ("score a --also lpips,dists -o x b", {"inputs": ["a", "b"], "also": ["lpips", "dists"], "output": Path("x")}),
        ("compare a b --set x --set y", {"a": "a", "b": "b", "set": ["x", "y"]}),
        ("verify", {}),
    ],
)
def test_only_what_is_given_is_passed(words: str, values: dict) -> None:
    assert vars(cli.parse(shlex.split(words))) == {"command": words.split()[0], **values}


def test_the_project_is_found_from_below(clone: Path) -> None:
    assert project.root() == clone


def test_outside_a_project_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MasksrError, match=r"no folder from here upward holds dvc\.yaml and params\.yaml"):
        project.root()
    assert main(["summary"]) == 1
    assert "is not inside a masksr project" in error(capsys)


def test_check(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--record"]) == 0
    assert capsys.readouterr().out == (clone / "runs/mini/params.txt").read_text() == "params.yaml is valid\n"
    with (clone / "params.yaml").open("a") as params:
        params.write("sede: 1\n")
    assert main(["check"]) == 1
    assert "params.yaml: sede: unknown key" in error(capsys)


def test_summary_prints_table_1_and_the_place_of_the_report(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary"]) == 1
    assert "results/mini/table1.md does not exist yet; make it with: make repro" in error(capsys)
    results = clone / "results/mini"
    results.mkdir(parents=True)
    (results / "table1.md").write_text("| PI |\n|---|\n| 3.02 |\n")
    assert main(["summary"]) == 0
    assert capsys.readouterr().out == "| PI |\n|---|\n| 3.02 |\n\nThe whole report: build it with make report\n"
    (results / "report.html").touch()
    assert main(["summary"]) == 0
    assert capsys.readouterr().out.endswith(f"\nThe whole report: {results / 'report.html'}\n")


@pytest.mark.parametrize("words", ["run n.ipynb -o out.ipynb seed", "run n.ipynb seed -o x"])
def test_run_reports_a_wrong_parameter_in_one_line(clone: Path, capsys, words: str) -> None:
    Path("n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert main(words.split()) == 1
    assert "'seed' is no parameter; write name=value" in error(capsys)


@pytest.mark.parametrize(
    "words",
    [
        *("", "no", "run n.ipynb", "run n.ipynb -o x --p", "summary x", "compare mini", "compare mini study paper"),
        *("compare mini study --measure lpips", "score", "score a.png --border -1", "score a.png --scale 0"),
        "cluster --jobs x",
    ],
)
def test_a_wrong_command_line_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert "usage: masksr" in capsys.readouterr().err
