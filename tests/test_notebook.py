"""A notebook as a stage: typed, streamed, the same bytes again; a failure is one message."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from tiny_project import ROOT, write_files

from masksr.io import MasksrError
from masksr.notebook import INJECTED, parse_parameters, read_defaults, run_notebook

PARAMETERS = 'name = "a"\nseed = 0\nratio = 0.5\nfast = False'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that is the working directory, where Jupyter is set up by somebody else."""
    root = write_files(tmp_path / "a project", {"dvc.yaml": "", "params.yaml": ""})
    kernel = json.dumps({"argv": ["false"], "display_name": "theirs", "language": "python"})
    foreign = {"jupyter/kernels/python3/kernel.json": kernel}
    write_files(tmp_path, foreign | {"startup.py": "seed = 'set by a start-up file'\n1 / 0"})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "startup.py"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # too long for the names of sockets
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.chdir(root)
    return root


def notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    codes = [nbformat.v4.new_code_cell(source) for source in cells]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[tagged, *codes]), path)
    return path


def stream(executed: Path, name: str) -> list[list[str]]:
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(output["text"]).splitlines() for output in outputs if output.get("name") == name]


def test_a_run_is_typed_streamed_and_repeatable(root: Path, monkeypatch, capsys) -> None:
    source = notebook(
        root / "n.ipynb",
        """\
import json, os, sys, time, warnings
print(json.dumps([name, seed, ratio, fast]), flush=True)
for _ in range(100):
    if os.path.exists("seen"): break
    time.sleep(0.1)
else: raise SystemExit("nobody saw the first line")
print(sys.executable, os.getcwd() + "/data")
warnings.warn("careful")
print("x" * 300_000)""",
        """\
import sys, time
for i in range(4):
    print(f"\\r{i} of 3 after {time.perf_counter()} s", end="\\n" * (i == 3), file=sys.stderr, flush=True)
print("done", file=sys.stderr)""",
        """\
import os
again = os.path.exists("again")
open("again", "w").close()
if again:
    from masksr.io import notice
    notice("ESRGAN, no mask: goes on from step 3 of 8")
    notice("cat is downloaded\\n  A cat\\n  licence: CC0")
print("the same")""",
        "{'a': 1}",
    )

    class Reader(io.StringIO):  # somebody who acts on the first line as soon as it is printed
        def write(self, text: str) -> int:
            if "b" in text:
                Path("seen").touch()
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Reader())
    for output in "one.ipynb", "two.ipynb":
        parameters = {"name": "b", "seed": 3, "ratio": 1.0, "fast": True}
        run_notebook(source, Path("out") / output, parameters, root=root)
        Path("seen").unlink()

    executed = root / "out/one.ipynb"
    assert executed.read_bytes() == (root / "out/two.ipynb").read_bytes()
    assert sorted(path.name for path in executed.parent.iterdir()) == ["one.ipynb", "two.ipynb"]
    first = ['["b", 3, 1.0, true]', f"{sys.executable} data", "x" * 300_000]
    assert stream(executed, "stdout") == [first, ["the same"]]
    warning, bar = stream(executed, "stderr")
    assert warning[0] == "<cell>:8: UserWarning: careful" and bar == ["done"]
    assert str(root) not in executed.read_text()
    content = json.loads(executed.read_text())
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert all(set(cell["metadata"]) <= {"tags"} for cell in content["cells"])
    assert content["cells"][1]["source"][:2] == [f"{INJECTED}\n", 'name = "b"\n']
    nbformat.validate(nbformat.read(executed, as_version=4))
    said = capsys.readouterr().err
    assert "xxx" in sys.stdout.getvalue() and "3 of 3 after" in said and "TCP" not in said


def test_a_section_with_the_tag_if_any_is_left_out_where_it_shows_nothing(root: Path) -> None:
    source = notebook(root / "n.ipynb")
    written = nbformat.read(source, as_version=4)
    for title, cell in (("Nothing", "print('\\rtrue of this run alone')"), ("Something", "print(1)")):
        written.cells.append(nbformat.v4.new_markdown_cell(f"## {title}", metadata={"tags": ["if-any"]}))
        written.cells.append(nbformat.v4.new_code_cell(cell))
    written.cells.append(nbformat.v4.new_markdown_cell("## Untagged"))
    for cell in ("1", "2;"):  # of which the second shows nothing
        caption = nbformat.v4.new_markdown_cell(f"*Of {cell}*", metadata={"tags": ["if-any"]})
        written.cells += [nbformat.v4.new_code_cell(cell), caption]
    nbformat.write(written, source)
    run_notebook(source, root / "out.ipynb", {}, root=root)
    headings = [cell["source"] for cell in json.loads((root / "out.ipynb").read_text())["cells"]]
    assert headings[1:] == [["## Something"], ["print(1)"], ["## Untagged"], ["1"], ["*Of 1*"], ["2;"]]


def test_the_title_names_the_run_and_links_lead_to_what_lies_there(root: Path) -> None:
    source = notebook(root / "notebooks/n.ipynb", parameters="seed: int = 0")
    written = nbformat.read(source, as_version=4)
    written.cells.insert(0, nbformat.v4.new_markdown_cell("# A run\n\n[idea](00_idea.ipynb), [data](10_data.ipynb#x)"))
    nbformat.write(written, source)
    for folder, links in {"results/mini": ("idea.ipynb", "../../notebooks/10_data.ipynb#x"),
                          "runs/mini": ("../../notebooks/00_idea.ipynb", "../../notebooks/10_data.ipynb#x")}.items():
        run_notebook(source, root / folder / "n.ipynb", {"seed": 3}, root=root)
        text = "".join(json.loads((root / folder / "n.ipynb").read_text())["cells"][0]["source"])
        assert text == "# A run: seed 3\n\n[idea]({}), [data]({})".format(*links)


def test_a_link_is_replaced_and_what_it_leads_to_stays(root: Path) -> None:
    (root / "object").write_text("of DVC's cache")
    (root / "out.ipynb").symlink_to("object")
    run_notebook(notebook(root / "n.ipynb"), root / "out.ipynb", {}, root=root)
    assert (root / "object").read_text() == "of DVC's cache" and not (root / "out.ipynb").is_symlink()


@pytest.mark.parametrize(("cell", "says"), [
    ("class MasksrError(Exception): pass\nraise MasksrError('no x\\nfetch it')", "no x\nfetch it"),
    ("import os\nos.kill(os.getpid(), 9)", "the kernel did not start, or died; most often memory ran out"),
    ("import sys\nsys.exit()", "a cell ended the notebook early (sys.exit)"),
    # The kernel imports ahead what cells import, and gives it to none.
    ("shlex.quote('a')\nimport shlex", "NameError: name 'shlex' is not defined"),
], ids=["MasksrError", "killed", "exit", "late import"])
def test_a_failure_is_one_message_and_leaves_a_partial_notebook(root: Path, cell: str, says: str) -> None:
    source = notebook(root / "n.ipynb", "print('before')", cell, "print('after')")
    with pytest.raises(MasksrError) as caught:
        run_notebook(source, root / "out/n.ipynb", {}, root=root)
    where = " in cell [3]" if "Error" in cell + says else ""
    assert str(caught.value) == f"n.ipynb failed{where}: {says}\n  as far as it got: out/n.partial.ipynb"
    assert not (root / "out/n.ipynb").exists()
    assert stream(root / "out/n.partial.ipynb", "stdout") == [["before"]]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("sent", "status"), [("SIGINT", 130), ("SIGKILL", -9), ("SIGTERM", 143)])
def test_the_kernel_ends_with_its_runner(root: Path, sent: str, status: int) -> None:
    notebook(root / "n.ipynb", "import os, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(1)")
    command = [sys.executable, "-m", "masksr", "run", "n.ipynb", "-o", "out.ipynb"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        kernel = psutil.Process(int(run.stdout.readline()))
        run.send_signal(getattr(signal, sent))
        try:
            _, said = run.communicate(timeout=30)
        finally:
            run.kill()  # a failure must not wait for ever
    assert run.returncode == status and "Traceback" not in said
    assert not psutil.wait_procs([kernel], timeout=10)[1] and not (root / "out.ipynb").exists()


def test_words_of_a_command_line_become_typed_values(tmp_path: Path) -> None:
    lines = ['mask = "none"  # text', "seed = 0", "lr: float = 1e-4", "fast = False"]
    lines += ["k: int | float | None = None", "ks: list = []"]
    source = notebook(tmp_path / "n.ipynb", parameters="\n".join(lines))
    assert list(read_defaults(source).values()) == ["none", 0, 1e-4, False, None, []]
    for words, values in {
        "seed=3 lr=2 fast=true": {"seed": 3, "lr": 2.0, "fast": True},
        "k=1 mask=2": {"k": 1, "mask": "2"},  # as params.yaml has it: it names folders
        "k=3e-06 mask=a=b": {"k": 3e-6, "mask": "a=b"},  # a small number, as DVC writes it
        "k=null ks=[1,2]": {"k": None, "ks": [1, 2]},
    }.items():
        result = parse_parameters(source, words.split())
        assert result == values
        assert [type(value) for value in result.values()] == [type(value) for value in values.values()]
    for word, says in {
        "fast=0": "'fast=0' is no bool, which the default False is", "ks=[1": "ks=.1: not valid YAML",
        "sede=1": r"'sede=1' is no parameter; .*\(names: mask, seed", "seed": "write name=value",
    }.items():
        with pytest.raises(MasksrError, match=says):
            parse_parameters(source, [word])


@pytest.mark.parametrize("cell", ["import torch", "a = int(3)", "a =", "a, b = 1, 2"])
def test_a_parameters_cell_holds_literals_only(tmp_path: Path, cell: str) -> None:
    with pytest.raises(MasksrError, match="only lines like: name = 1"):
        read_defaults(notebook(tmp_path / "n.ipynb", parameters=cell))
