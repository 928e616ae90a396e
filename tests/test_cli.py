import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from masksr import __main__ as cli
from masksr import command_line, project
from masksr.__main__ import main
from masksr.errors import MasksrError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A project with its committed parameters, nothing run yet; the working directory is a folder below it."""
    shutil.copy(ROOT / "profiles/mini.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def error(capsys):
    """The one line on standard error, nothing on standard output."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("masksr: error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_help_starts_at_once():
    """Nothing that takes time to import is imported before a command needs it."""
    heavy = "import sys; import masksr.__main__; print(len(sys.modules), *sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, env=environment)
    count, *modules = run.stdout.split()
    assert not {"torch", "numpy", "pandas", "yaml", "pydantic", "jupyter_client"} & set(modules)
    assert int(count) < 150


# In the order in which people meet them.
COMMANDS = ["check", "params", "cost", "fetch", "run", "cluster", "summary", "report", "pdf", "verify", "compare"]
COMMANDS += ["evaluate", "upscale", "score"]


def helped(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_on_a_line_of_its_own(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = helped(capsys)
    listed = re.findall(r"^    (\S+) +(\S.*)$", said, flags=re.M)
    assert [name for name, _ in listed] == COMMANDS == list(cli.COMMANDS)
    assert all(what[0].islower() for _, what in listed)
    assert "python -m masksr COMMAND --help" in said and "exit status:" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_is_a_right_command_line(command, capsys):
    said = helped(capsys, command)
    examples = re.findall(r"^  python -m masksr (.*)$", said, flags=re.M)
    assert examples and all(shlex.split(example)[0] == command for example in examples)
    for example in examples:
        assert command_line.parse(shlex.split(example)).command == command
    for status in ("0    done", "1    an error", "2    a wrong command line", "130  interrupted"):
        assert f"  {status}" in said


@pytest.mark.parametrize("command", ["run", "upscale", "score", "cluster"])
def test_what_may_be_repeated_may_also_follow_options(command):
    needed = {"run": ["n.ipynb", "-o", "x"], "upscale": ["a", "--model", "edsr", "-o", "x"], "score": ["a", "-o", "x"]}
    words = needed.get(command, ["a", "--dry"])
    options = command_line.parse([command, *words, "b", "c"])
    assert getattr(options, command_line.REST[command])[-2:] == ["b", "c"]


def test_the_project_is_found_from_below(clone):
    assert project.root() == clone


def test_outside_a_project_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MasksrError, match=r"no folder from here upward holds dvc\.yaml and params\.yaml"):
        project.root()
    assert main(["summary"]) == 1
    assert "is not inside a masksr project" in error(capsys)


def test_check(clone, capsys):
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "params.yaml is valid\n"
    with (clone / "params.yaml").open("a") as params:
        params.write("sede: 1\n")
    assert main(["check"]) == 1
    assert "params.yaml: sede: unknown key" in error(capsys)


def test_summary_prints_table_1_and_the_place_of_the_report(clone, capsys):
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


@pytest.mark.parametrize(
    "words", [["run", "n.ipynb", "-o", "out.ipynb", "seed"], ["run", "n.ipynb", "seed", "-o", "x"]]
)
def test_run_reports_a_wrong_parameter_in_one_line(clone, capsys, words):
    Path("n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert main(words) == 1
    assert "'seed' is no parameter; write name=value" in error(capsys)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no"],
        ["run", "n.ipynb"],
        ["run", "n.ipynb", "-o", "x", "--p"],
        ["summary", "x"],
        ["compare", "mini"],
        ["compare", "mini", "study", "paper"],
        ["compare", "mini", "study", "--measure", "lpips"],
        ["score"],
        ["score", "a.png", "--border", "-1"],
        ["score", "a.png", "--scale", "0"],
    ],
)
def test_a_wrong_command_line_is_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: masksr" in capsys.readouterr().err
