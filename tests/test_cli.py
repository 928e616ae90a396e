"""The command line: commands have help and right examples and pass on their words; an error is one line."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from made_up_scores import make_project
from tiny_project import ROOT, run

from masksr import cli
from masksr.cli import main
from masksr.io import MasksrError
from masksr.paths import cache_folder, weight_places

COMMANDS = ["check", "params", "cost", "fetch", "run", "plan", "cluster", "summary", "report", "pdf"]
COMMANDS += ["verify", "compare", "evaluate", "upscale", "score"]  # in the order in which people meet them


def test_help_starts_at_once() -> None:
    code = "import sys, masksr.cli; print(*sys.modules)"
    heavy = {"torch", "numpy", "pandas", "ruamel.yaml", "pydantic", "jupyter_client"}
    assert not heavy.intersection(run(ROOT, sys.executable, "-c", code).split())


def test_every_command_has_help_and_right_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^  (\w+)  +\S", capsys.readouterr().out, flags=re.M)
    assert [name for name in listed if name in COMMANDS] == COMMANDS == list(cli.app.commands)
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        for example in re.findall(r"^  python -m masksr (.*)$", capsys.readouterr().out, flags=re.M):
            name, *words = shlex.split(example)
            assert name == command
            cli.app.commands[name].make_context(name, words)


def test_whoever_reads_the_output_may_leave() -> None:
    assert run(ROOT, "sh", "-c", f"{sys.executable} -m masksr params | true") == ""


def test_without_a_home_folder_a_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found: 1000")

    for name in ("HOME", "MASKSR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    with pytest.raises(MasksrError, match="no home folder; set HOME"):
        weight_places()
    monkeypatch.setenv("MASKSR_CACHE", "/kept/here")
    assert cache_folder() == Path("/kept/here")


def test_an_error_is_one_line_and_commands_work_below_a_project(tmp_path: Path, monkeypatch, capsys) -> None:
    (make_project(tmp_path).root / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")

    def error(*words: str) -> str:
        assert main(words) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("masksr: error: ") and said.err.count("\n") == 1
        return said.err

    assert main(["check", "--record"]) == 0
    assert capsys.readouterr().out == "params.yaml is valid\n"
    assert [path.name for path in (tmp_path / "runs/mini/code").iterdir()] == ["report.txt"]
    assert "table1.md does not exist yet; make it with: make repro" in error("summary")
    results = tmp_path / "results/mini"
    results.mkdir(parents=True)
    (results / "table1.md").write_text("| 3.02 |\n")
    assert main(["summary"]) == 0
    assert capsys.readouterr().out == "| 3.02 |\n\nThe whole report: build it with make report\n"
    rows = ["stage,seconds", "start@mini-0,30.0", "start@mini-1,60.0", "check@mini,6.0"]
    (results / "times.csv").write_text("\n".join(rows))
    assert main(["summary"]) == 0
    assert "all runs together: 1.6 (start 1.5, check 0.1; " in capsys.readouterr().out
    with (tmp_path / "params.yaml").open("a") as params:
        params.write("sede: 1\n")
    assert "params.yaml: sede: unknown key" in error("check")
    Path("n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert "'seed' is no parameter; write name=value" in error("run", "n.ipynb", "seed", "-o", "x")
    monkeypatch.chdir(tmp_path.parent)
    assert "is not inside a masksr project" in error("summary")
    assert main(["summary", "x"]) == 2 and "Usage: masksr" in capsys.readouterr().err
