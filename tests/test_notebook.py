"""A notebook as a stage: typed, streamed, the same bytes again; a failure is one message; edits do not slip in."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from masksr.errors import MasksrError
from masksr.notebook import _unchanged_inputs, parse_parameters, read_defaults, run_notebook

PARAMETERS = 'name = "a"\nseed = 0\nratio = 0.5\nfast = False'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project that is the working directory, on a machine whose Jupyter is set up by somebody else."""
    root = tmp_path / "a project"
    root.mkdir()
    (root / "dvc.yaml").touch()
    (root / "params.yaml").touch()
    foreign = tmp_path / "jupyter/kernels/python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["false"], "display_name": "theirs", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "startup.py").write_text("seed = 'set by a start-up file'\n1 / 0")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "startup.py"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.chdir(root)
    return root


def notebook(path, *cells, parameters=PARAMETERS):
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    text = nbformat.v4.new_markdown_cell("# Title")
    codes = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=[text, tagged, *codes]), path)
    return path


class Reader(io.StringIO):
    """Somebody who acts on the first line as soon as it is printed."""

    def write(self, text):
        if "b" in text:
            Path("seen").touch()
        return super().write(text)


def stream(executed, name):
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(o["text"]).splitlines() for o in outputs if o["output_type"] == "stream" and o["name"] == name]


def test_a_run_is_typed_streamed_and_repeatable(project, monkeypatch, capsys):
    source = notebook(
        project / "n.ipynb",
        """\
import json, os, sys, time, warnings
print(json.dumps([name, seed, ratio, fast]), flush=True)
for _ in range(100):
    if os.path.exists("seen"): break
    time.sleep(0.1)
else: raise SystemExit("nobody saw the first line")
print(sys.executable, os.getcwd() + "/data")
warnings.warn("careful")
print("last")""",
        """\
import sys, time
for i in range(4):
    print(f"\\r{i} of 3 after {time.perf_counter()} s", end="\\n" * (i == 3), file=sys.stderr, flush=True)
print("done", file=sys.stderr)""",
        "{'a': 1}",
    )
    monkeypatch.setattr(sys, "stdout", Reader())
    for output in "one.ipynb", "two.ipynb":
        parameters = {"name": "b", "seed": 3, "ratio": 1.0, "fast": True}
        run_notebook(source, Path("out") / output, parameters, root=project)
        Path("seen").unlink()

    executed = project / "out/one.ipynb"
    assert executed.read_bytes() == (project / "out/two.ipynb").read_bytes()
    assert sorted(path.name for path in executed.parent.iterdir()) == ["one.ipynb", "two.ipynb"]
    assert stream(executed, "stdout") == [['["b", 3, 1.0, true]', f"{sys.executable} data", "last"]]
    warning, bar = stream(executed, "stderr")
    assert warning[0] == "<cell>:8: UserWarning: careful"
    assert bar == ["done"]
    assert str(project) not in executed.read_text()
    content = json.loads(executed.read_text())
    assert content["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in content["cells"])
    nbformat.validate(nbformat.read(executed, as_version=4))
    assert "last" in sys.stdout.getvalue()
    assert "3 of 3 after" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (
            "class MasksrError(Exception): pass\nraise MasksrError('no data in x\\nfetch it')",
            "n.ipynb failed in cell [3]: no data in x\nfetch it\n",
        ),
        ("int('3.5')", "n.ipynb failed in cell [3]: ValueError: invalid literal for int() with base 10: '3.5'\n"),
        (
            "import os\nos.kill(os.getpid(), 9)",
            "n.ipynb failed in cell [3]: the kernel died; most often memory ran out\n",
        ),
        ("import sys\nsys.exit()", "n.ipynb failed in cell [3]: the cell ended the notebook early (sys.exit)\n"),
    ],
    ids=["MasksrError", "ValueError", "killed", "exit"],
)
def test_a_failure_is_one_message_and_leaves_a_partial_notebook(project, cell, says):
    source = notebook(project / "n.ipynb", "print('before')", cell, "print('after')")
    with pytest.raises(MasksrError) as caught:
        run_notebook(source, project / "out/{n}.ipynb", {}, root=project)
    assert str(caught.value) == says + "  as far as it got: out/{n}.partial.ipynb"
    assert not (project / "out/{n}.ipynb").exists()
    assert stream(project / "out/{n}.partial.ipynb", "stdout") == [["before"]]


def test_a_long_line_and_a_progress_bar_beside_it(project):
    source = notebook(project / "n.ipynb", "print('x' * 300_000)\nprint('\\r1 of 2\\r2 of 2')\nprint('last', end='')")
    run_notebook(source, Path("out/n.ipynb"), {}, root=project)
    assert stream(project / "out/n.ipynb", "stdout") == [["x" * 300_000, "last"]]


def test_the_source_is_never_overwritten(project):
    source = notebook(project / "n.ipynb", "1")
    with pytest.raises(MasksrError, match="choose another output"):
        run_notebook(source, Path("n.ipynb"), {}, root=project)


def command(*words):
    return [sys.executable, "-m", "masksr", "run", "n.ipynb", *words]


def test_two_runs_at_the_same_time(project):
    notebook(project / "n.ipynb", "import os, time\nprint(seed, os.listdir(os.environ['IPYTHONDIR']) != [])")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command("-o", f"{seed}.ipynb", f"seed={seed}"), **pipes) for seed in (1, 2)]
    results = [run.communicate(timeout=60) for run in runs]
    assert results == [("1 True\n", ""), ("2 True\n", "")]
    assert [run.returncode for run in runs] == [0, 0]


def ended(pid):
    """Whether the process is gone or waits to be, some seconds at most from now."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


ENDLESS = "import os, time\nprint(os.getppid(), os.getpid(), flush=True)\nwhile True: time.sleep(1)"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_kernel_ends_with_its_runner(project, sent, status):
    notebook(project / "n.ipynb", ENDLESS)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A test run in the background of a shell ignores SIGINT, and its children would too.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command("-o", "out.ipynb"), **pipes, **heard) as run:
        _, kernel = map(int, run.stdout.readline().split())
        run.send_signal(sent)
        try:
            _, said = run.communicate(timeout=30)
        finally:
            run.kill()  # a failure must not wait for ever
    assert run.returncode == status
    assert ended(kernel)
    assert "Traceback" not in said
    assert not (project / "out.ipynb").exists()


# ---- Parameters ------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = ['mask = "none"  # text', "seed = 0", "lr: float = 1e-4", "fast = False"]
    lines += ["k: int | float | None = None", "ks: list = []"]
    return notebook(tmp_path / "n.ipynb", parameters="\n".join(lines))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("seed=3 lr=0.5 fast=true", {"seed": 3, "lr": 0.5, "fast": True}),
        ("lr=2 k=3e-06", {"lr": 2.0, "k": 3e-6}),  # a small number, as DVC writes it
        ("k=1", {"k": 1}),  # as params.yaml has it: it names folders
        ("k=null ks=[1,2]", {"k": None, "ks": [1, 2]}),
        ("mask=2", {"mask": "2"}),
        ("mask=a=b", {"mask": "a=b"}),
        ("", {}),
    ],
)
def test_words_of_a_command_line_become_typed_values(source: Path, words: str, values: dict) -> None:
    assert read_defaults(source) == {"mask": "none", "seed": 0, "lr": 1e-4, "fast": False, "k": None, "ks": []}
    result = parse_parameters(source, words.split())
    assert result == values
    assert {name: type(value) for name, value in result.items()} == {n: type(v) for n, v in values.items()}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("fast=0", "'fast=0' is no bool, which the default False is"),
        ("seed=three", "is no int"),
        ("seed=1.0", "is no int"),
        ("seed=true", "is no int"),
        ("seed=", "is no int"),
        ("ks=1", "is no list"),
        ("ks=[1", "ks=.1: not valid YAML"),
        ("sede=1", r"no parameter 'sede' \(there are: mask, seed"),
        ("seed", "write name=value"),
    ],
)
def test_a_wrong_parameter_is_one_line(source: Path, word: str, says: str) -> None:
    with pytest.raises(MasksrError, match=says) as caught:
        parse_parameters(source, [word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["import torch", "a = int(3)", "a =", "a: int", "a, b = 1, 2", "a = " + "(" * 500])
def test_a_parameters_cell_holds_literals_only(tmp_path: Path, cell: str) -> None:
    with pytest.raises(MasksrError, match="only lines like: name = 1"):
        read_defaults(notebook(tmp_path / "n.ipynb", parameters=cell))


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{}]}'])
def test_another_file_is_no_notebook(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(MasksrError, match=r"n\.ipynb: cannot be read as a notebook"):
        read_defaults(tmp_path / "n.ipynb")


# ---- Inputs that change while a stage runs: DVC would record the new ones --------------------------------------

STAGE = {
    "cmd": "python -m masksr run notebooks/a.ipynb -o a.ipynb",
    "params": ["train", "masks.paper.k", {"data/registry.yaml": ["sets.own"]}],
    "deps": ["notebooks/a.ipynb", "masksr/models"],
    "outs": ["a.ipynb"],
}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    content = {
        ".dvc/config": "[core]\n    no_scm = true\n",
        "dvc.yaml": yaml.safe_dump({"stages": {"a": STAGE}}),
        "params.yaml": yaml.safe_dump({"train": {"steps": 1}, "masks": {"paper": {"k": 0.2, "b": 0.5}}}),
        "data/registry.yaml": yaml.safe_dump({"sets": {"own": 1, "other": 1}}),
        "notebooks/a.ipynb": "{}",
        "masksr/models/edsr.py": "",
        "masksr/report.py": "",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("DVC_STAGE", "a")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("params.yaml", "steps: 1", "steps: 2", "train in params.yaml changed while a ran"),
        ("params.yaml", "k: 0.2", "kk: 0.2", "masks.paper.k in params.yaml changed"),
        ("params.yaml", "b: 0.5", "b: 0.6", ""),
        ("params.yaml", "steps: 1", "steps: [", "params.yaml.* changed while a ran"),
        ("data/registry.yaml", "own: 1", "own: 2", "sets.own in registry.yaml changed"),
        ("data/registry.yaml", "other: 1", "other: 2", ""),
        ("notebooks/a.ipynb", "{}", "{ }", "notebooks/a.ipynb changed"),
        ("masksr/models/edsr.py", "", "x = 1", "masksr/models/edsr.py changed"),
        ("masksr/models/new.py", "", "x = 1", r"masksr/models/new\.py changed"),
        ("masksr/report.py", "", "x = 1", ""),
    ],
)
def test_an_edit_counts_where_the_stage_depends_on_it(
    stage: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, says: str
) -> None:
    def edit() -> None:
        with _unchanged_inputs(stage):
            text = (stage / file).read_text() if (stage / file).exists() else ""
            (stage / file).write_text(text.replace(old, new, 1) if old else new)

    if says:
        with pytest.raises(MasksrError, match=f"{says}.*run dvc repro again"):
            edit()
        monkeypatch.delenv("DVC_STAGE")  # outside of DVC nothing is watched
    edit()
