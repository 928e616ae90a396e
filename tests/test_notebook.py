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

from masksr.errors import MasksrError
from masksr.notebook import run_notebook

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
        parameters = {"name": "b", "seed": 3, "ratio": 1, "fast": True}
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


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_runner_and_kernel_end_with_dvc(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train")
    notebook(project / "n.ipynb", ENDLESS)
    dvc = f"import subprocess; subprocess.run({command('-o', 'out.ipynb')!r})"
    with subprocess.Popen([sys.executable, "-c", dvc], stdout=subprocess.PIPE, text=True) as parent:
        runner, kernel = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.stdout.close()
    assert ended(runner)
    assert ended(kernel)
