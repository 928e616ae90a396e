"""The code behind a result: what it says, not its bytes.

The stage ``check`` writes a file for every notebook, such as ``runs/<profile>/code/13_train.txt``, and stages
depend on it:

    cells                   2f1b0a...   # text and tags; no outputs, no metadata of an editor
    requirements.lock       77ac10...
    masksr/data/packs.py    90be3d...   # its syntax tree without docstrings
    ...                                 # every module that the cells reach, from import to import

So comments, docstrings and the autosave of an editor make nothing out of date, and no dependency can be
missing.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import masksr
from masksr.io import MasksrError, file_digest

LOCK = "requirements.lock"
# The stage that runs a command, not a notebook, and the module behind it.
COMMANDS = {"report": "masksr.report.page"}
RUNNER = "masksr.notebook"
TEMPLATES = "masksr/report/template"


def list_code(root: Path) -> list[str]:
    """List the names of the notebooks and commands whose code stages depend on."""
    return [path.stem for path in sorted(root.glob("notebooks/*.ipynb")) if path.stat().st_size] + [*COMMANDS]


def describe_code(root: Path, name: str) -> str:
    """Return a line for each thing that determines what the notebook or command ``name`` computes."""
    files, digests = [root / LOCK], {}
    if name in COMMANDS:
        roots = [COMMANDS[name]]
        files += sorted(root.glob(f"{TEMPLATES}/*"))
    else:
        cells = read_cells(root / f"notebooks/{name}.ipynb")
        digests["cells"] = hashlib.sha256(json.dumps(cells).encode()).hexdigest()
        roots = imports_of_cells(cells)
    digests |= {path.relative_to(root).as_posix(): file_digest(path) for path in files if path.exists()}
    for path in find_modules(root, [RUNNER, *roots]):
        digests[path.relative_to(root).as_posix()] = read_code(path)[0]
    return "".join(f"{what:40} {digest}\n" for what, digest in sorted(digests.items()))


def read_cells(path: Path) -> list[tuple[str, str, list[str]]]:
    """Read the kind, text and tags of a notebook's cells. Raises MasksrError where it is not a notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise MasksrError(f"{path}: not a notebook") from None


def imports_of_cells(cells: Iterable[tuple[str, str, list[str]]]) -> list[str]:
    """List the ``imports`` of all code in a notebook's cells, which are given as by ``read_cells``."""
    return [name for kind, text, _ in cells if kind == "code" for name in imports(_parse_cell(text))]


def _parse_cell(text: str) -> ast.AST:
    from IPython.core.inputtransformer2 import TransformerManager  # for what is not Python, such as %%time

    try:
        return ast.parse(TransformerManager().transform_cell(text))
    except SyntaxError:  # running the cell will report it
        return ast.Module([], [])


def find_modules(root: Path, roots: Iterable[str]) -> list[Path]:
    """Find the files of these modules of masksr and of all that they import, even inside functions."""
    found: set[Path] = set()
    left = list(roots)
    while left:
        name = left.pop()
        path = root.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name.partition(".")[0] != "masksr" or path in found or not path.is_file():
            continue
        found.add(path)
        left += [name.rpartition(".")[0], *read_code(path)[1]]
    return sorted(found)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield names of modules that code imports and of what it takes from them, unless under TYPE_CHECKING."""
    if isinstance(tree, ast.If) and getattr(tree.test, "id", None) == "TYPE_CHECKING":
        tree = ast.Module(tree.orelse, [])
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        yield from [f"{tree.module}", *(f"{tree.module}.{alias.name}" for alias in tree.names)]
    for child in ast.iter_child_nodes(tree):
        yield from imports(child)


def digest_code(files: Iterable[str]) -> str:
    """Return one sha256 of the code in these files of the installed masksr."""
    folder = Path(masksr.__file__).parent
    digests = "".join(name + read_code(folder / name)[0] for name in files)
    return hashlib.sha256(digests.encode()).hexdigest()


def read_code(path: Path) -> tuple[str, list[str]]:
    """Return the sha256 of a Python file's code, without comments, layout and docstrings; and its imports.

    All versions of Python agree on it.
    """
    try:
        return _read_code(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise MasksrError(f"{path}, line {getattr(error, 'lineno', None) or 1}: {error.args[0]}") from None


@cache
def _read_code(text: bytes) -> tuple[str, list[str]]:
    tree = ast.parse(text)
    return hashlib.sha256(json.dumps(_shape(tree)).encode()).hexdigest(), list(imports(tree))


def _shape(node: Any) -> Any:
    if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
        return None  # a docstring, or the text below an attribute
    if isinstance(node, ast.AST):
        fields = [(name, _shape(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    if isinstance(node, list):
        return [shape for one in node if (shape := _shape(one)) is not None]
    return repr(node)
