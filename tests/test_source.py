"""The code behind a result: what it says counts, how it is written does not, and no module is missing."""

import re
from pathlib import Path

import nbformat
import pytest
from tiny_project import write_files

from masksr.provenance import digests, recorded_stages
from masksr.source import describe_code, list_code

FILES = {
    "requirements.lock": "torch==2.9.0\n", "masksr/__init__.py": '"""The package."""\n',
    "masksr/notebook.py": "def run():\n    return 1\n",
    "masksr/early.py": '"""About it."""\nfrom typing import TYPE_CHECKING\n\n'
    "if TYPE_CHECKING:\n    from masksr import types\n\n\n"
    'def f(x):\n    """Twice."""\n    from masksr.deep.late import g\n\n'
    '    return g(x, name="a", at=[1]) * 2\n',
    "masksr/deep/__init__.py": "",
    "masksr/deep/late.py": "def g(x, name, at):\n    return x\n", "masksr/types.py": "T = int\n",
    "masksr/report/page.py": "a = 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small masksr, and a notebook ``n`` that uses some of it."""
    write_files(tmp_path, FILES | {"notebooks/n.ipynb": ""})
    new = nbformat.v4
    cells = [new.new_markdown_cell("# A title\n\nA word."), new.new_code_cell("%matplotlib inline\nseed = 0")]
    cells.append(new.new_code_cell("from masksr import early  # and no more\n\nearly.f(seed)"))
    cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "notebooks/n.ipynb")
    return tmp_path


def test_the_file_names_each_thing_that_the_notebook_reaches(root: Path) -> None:
    assert list_code(root) == ["n", "report"]
    lines = [line.split() for line in describe_code(root, "n").splitlines()]
    unread = {"masksr/types.py", "masksr/report/page.py"}
    assert [name for name, _ in lines] == sorted({"cells"} | FILES.keys() - unread)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in lines)


N = "notebooks/n.ipynb"
OUTPUTS = '"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}]'
HOW_IT_IS_WRITTEN = [  # and what nothing reaches
    ("masksr/early.py", "    return", "    # a comment\n    return", ""),
    ("masksr/early.py", '    """Twice."""\n', "", ""),
    ("masksr/early.py", '"""About it."""', "'''About that, in\n\nlines.'''", ""),
    ("masksr/early.py", '(x, name="a", at=[1])', "(\n        x,\n        name='a', at=[1,],)", ""),
    ("masksr/types.py", "int", "float", ""), ("masksr/report/page.py", "1", "2", ""),
    (N, '"outputs": []', OUTPUTS, ""),
]  # what else editors change in a notebook: test_edits
WHAT_IT_SAYS = [
    ("masksr/early.py", "* 2", "* 3", "masksr/early.py"),
    ("masksr/early.py", '"a"', '"b"', "masksr/early.py"),
    ("masksr/early.py", "if TYPE_CHECKING:", "if True:", "masksr/early.py masksr/types.py"),
    ("masksr/deep/late.py", "return x", "return -x", "masksr/deep/late.py"),
    ("masksr/deep/__init__.py", "", "a = 1", "masksr/deep/__init__.py"),
    ("masksr/notebook.py", "1", "2", "masksr/notebook.py"),
    ("requirements.lock", "2.9.0", "2.9.1", "requirements.lock"), (N, "A word", "Another word", "cells"),
    (N, "seed = 0", "seed = 1", "cells"), (N, '"parameters"', '"other"', "cells"),
    (N, '"cell_type": "markdown"', '"cell_type": "raw"', "cells"),
]


@pytest.mark.parametrize(("file", "old", "new", "named"), HOW_IT_IS_WRITTEN + WHAT_IT_SAYS)
def test_what_it_says_changes_the_lines_that_name_it_and_how_it_is_written_none(root, file, old, new, named) -> None:
    before, text = describe_code(root, "n"), (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    changed = {*before.splitlines()} ^ {*describe_code(root, "n").splitlines()}
    assert {line.split()[0] for line in changed} == {*named.split()}


def test_no_stage_imports_a_module_that_its_code_file_does_not_name(reproduced: Path) -> None:
    """``conftest.RECORDER`` has written what the processes of each stage asked Python for."""
    stages, checked = recorded_stages("mini", (reproduced / "dvc.lock").read_text()), set()
    for name, stage in stages.items():
        for code in (file for file in digests(stage, "deps") if file.startswith("runs/mini/code/")):
            named = {line.split()[0] for line in (reproduced / code).read_text().splitlines()}
            asked = (reproduced.parent / "imports" / name).read_text().replace(".", "/").split()
            files = {file for module in asked for file in (f"{module}.py", f"{module}/__init__.py")}
            imported = {file for file in files if (reproduced / file).is_file()}
            assert "masksr/stage.py" in imported
            assert not imported - named - {"masksr/__main__.py", "masksr/cli.py"}, name
            checked.add(code)
    assert len(checked) > 10
