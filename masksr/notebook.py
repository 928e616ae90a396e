"""Run one notebook with typed parameters, as a stage of the pipeline does.

Papermill executes it. This module adds what a pipeline needs and papermill leaves open: a wrong parameter is
an error, the kernel is this very interpreter, reruns are byte-identical, and a failure is one message.
"""

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from masksr.io import MasksrError, parse_yaml, write_atomic
from masksr.source import imports_of_cells, read_cells
from masksr.stage import guard_inputs

if TYPE_CHECKING:
    from nbformat import NotebookNode

_CELL_FILE = re.compile(r"^\S*ipykernel_\d+\S*\.py", re.MULTILINE)  # in warnings; contains the process id
_LINK = re.compile(r"\]\((\d\d)_(\w+)\.ipynb")  # between notebooks
# Progress bars, which show times, and what is true of one run alone (``io.notice``).
_PASSING = re.compile(r"^[^\r\n]*\r.*\n?", re.MULTILINE)
# The heading of the values that papermill inserts below the cell tagged "parameters".
INJECTED = "# Values of this run: they take the place of the defaults in the cell above, which explains them."
# What a kernel runs while papermill is imported here, in a separate namespace: cells must still import.
# New modules produce no garbage; looking for it would take a fifth of the time.
PREPARE = """
import contextlib, gc, importlib
gc.disable()
for name in {}:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
gc.enable()
"""


def run_notebook(source: Path, output: Path, parameters: Mapping[str, Any], *, root: Path) -> None:
    """Execute ``source`` in the folder ``root`` and write the executed notebook to ``output``, or nothing.

    parameters: from ``parse_parameters``; they replace defaults in the cell tagged ``parameters``. What cells
    print appears at once; progress bars and absolute paths below ``root`` are kept out of the output. While
    it runs and after a failure, the notebook as far as it got is beside it, as ``<name>.partial.ipynb``.
    Raises MasksrError when a cell fails, the kernel dies, a file cannot be written, or inputs were edited.
    """
    # Not resolved: a link is replaced, while what it leads to, such as a file in DVC's cache, is left alone.
    source, output = source.absolute(), output.absolute()
    name, partial = _short(source, root), output.with_suffix(".partial.ipynb")
    if output.resolve() == source.resolve():
        raise MasksrError(f"{name} would be overwritten; choose another output")
    with guard_inputs(root, source.stem):
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with _kernel(source, root) as kernel:
                notebook = _execute(source, partial, dict(parameters), kernel, root)
        except MasksrError as error:
            raise MasksrError(f"{name} {error}\n  as far as it got: {_short(partial, root)}") from None
        except OSError as error:
            reason = f"{error.filename or partial} cannot be written ({error.strerror or error})"
            raise MasksrError(f"{name}: {reason}; free space or fix the rights, then try again") from None
        written = _normalize(notebook, root, parameters)
        write_atomic(output, _lead_links(written, source.parent, output.parent).encode())
        partial.unlink(missing_ok=True)


# ---- Parameters --------------------------------------------------------------------------------------------
def read_defaults(source: Path) -> dict[str, Any]:
    """Read the ``name = literal`` lines of a notebook's cell tagged ``parameters``: names and defaults.

    Raises MasksrError for a file that is not a notebook, or a cell with anything else in it.
    """
    defaults = {}
    try:
        tagged = [text for _, text, tags in read_cells(source) if "parameters" in tags]
        for line in ast.parse("\n".join(tagged)).body:
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            defaults[targets[0].id] = ast.literal_eval(line.value)
    except (MasksrError, ValueError, SyntaxError, AttributeError):
        problem = "not a notebook whose cell tagged 'parameters' has only lines like: name = 1"
        raise MasksrError(f"{source}: {problem}") from None
    return defaults


def parse_parameters(source: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """Parse ``name=value`` words into values of the types of the notebook's defaults; None allows any type.

    Raises MasksrError for an unknown parameter or a value of another type.
    """
    defaults, values = read_defaults(source), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in defaults:
            known = ", ".join(defaults) or "none"
            raise MasksrError(f"{source}: {assignment!r} is no parameter; write name=value (names: {known})")
        default = defaults[name]
        value = text if isinstance(default, str) else parse_yaml(text, assignment)
        if type(default) is float and type(value) is int:
            value = float(value)
        if default is not None and type(value) is not type(default):
            problem = f"{assignment!r} is no {type(default).__name__}, which the default {default!r} is"
            raise MasksrError(f"{source}: {problem}")
        values[name] = value
    return values


# ---- Running -----------------------------------------------------------------------------------------------
@contextmanager
def _kernel(source: Path, root: Path) -> Iterator[AsyncKernelManager]:
    """Start a kernel, importing what ``source`` will; it shares no folder with other runs and users."""
    # In /tmp: names of sockets have at most 103 characters, and TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="masksr-run-", dir="/tmp", ignore_cleanup_errors=True) as private:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # this interpreter, whatever is installed
            connection_file=f"{private}/kernel.json",
            transport="ipc",
        )
        changes = {"IPYTHONDIR": private, "JUPYTER_RUNTIME_DIR": private, "PYTHONSTARTUP": ""}
        changes["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        if not sys.stderr.isatty():
            changes["TQDM_MININTERVAL"] = "30"  # seconds: a log file keeps every state of a progress bar
        prepare = PREPARE.format(imports_of_cells(read_cells(source)))
        options = ["--HistoryManager.enabled=False", f"--IPKernelApp.exec_lines=exec({prepare!r}, {{}})"]
        start, shut_down = run_sync(kernel.start_kernel), run_sync(kernel.shutdown_kernel)
        try:
            start(cwd=root, env=os.environ | changes, extra_arguments=options)
            yield kernel
        finally:
            shut_down(now=True)  # its cells are done; an orderly shutdown would take two seconds


def _execute(
    source: Path, partial: Path, parameters: dict[str, Any], kernel: AsyncKernelManager, root: Path
) -> "NotebookNode":
    # Imported by packages under papermill if they are there, and not needed here: a grammar of web addresses,
    # which takes 0.9 s to compile, and file systems, which take 0.4 s to import.
    for name in ("rfc3987_syntax", "pyarrow"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    import papermill  # slow: imported here, while the kernel starts

    papermill.log.logger.disabled = True  # one message is enough
    try:
        notebook = papermill.execute_notebook(
            *(source, partial, parameters),
            **{"km": kernel, "kernel_name": "python3", "language": "python", "cwd": root},
            **{"stdout_file": sys.stdout, "stderr_file": sys.stderr, "progress_bar": False},
            **{"record_timing": False, "store_widget_state": False},
            start_timeout=600,  # seconds: imports from a network drive take time
        )
    except papermill.PapermillExecutionError as error:
        reason = str(error.evalue).strip()
        if error.ename != "MasksrError":
            reason = f"{error.ename}: {reason.partition(chr(10))[0]}"
        raise MasksrError(f"failed in cell [{error.exec_count}]: {reason}") from None
    except RuntimeError:  # the kernel has printed why
        raise MasksrError("failed: the kernel did not start, or died; most often memory ran out") from None
    if any(cell.get("execution_count", 1) is None and cell.source.strip() for cell in notebook.cells):
        raise MasksrError("failed: a cell ended the notebook early (sys.exit)")
    return notebook


# ---- The same bytes in every run; times are kept beside ----------------------------------------------------
def _normalize(notebook: "NotebookNode", root: Path, parameters: Mapping[str, Any]) -> str:
    """Write a notebook without what differs between equal runs: times, ids, versions, progress bars, paths.

    Its title names the run.
    """
    import nbformat

    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
            cell.source = cell.source.replace("# Parameters", INJECTED, 1)
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs, root)
    notebook.cells = list(_applying(notebook.cells))
    if parameters and notebook.cells[0].cell_type == "markdown":
        title, end, rest = notebook.cells[0].source.partition("\n")
        run = ", ".join(f"{name} {value}" for name, value in parameters.items())
        notebook.cells[0].source = f"{title}: {run}{end}{rest}"
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _lead_links(text: str, sources: Path, folder: Path) -> str:
    """Rewrite links between notebooks to lead to what exists, seen from the executed one in ``folder``.

    Executed notebooks of results (not 10 to 16) lie together in ``results/PROFILE`` as ``NAME.ipynb``;
    all other links lead to the notebooks without outputs in ``sources``.
    """
    beside = os.path.relpath(sources, folder).replace(os.sep, "/")

    def lead(link: re.Match[str]) -> str:
        number, name = link.groups()
        executed = folder.parent.name == "results" and not 10 <= int(number) <= 16
        return f"]({name}.ipynb" if executed else f"]({beside}/{number}_{name}.ipynb"

    return _LINK.sub(lead, text)


def _applying(cells: "list[NotebookNode]") -> "Iterator[NotebookNode]":
    """Yield the cells, leaving out those tagged ``if-any`` that have nothing to be about.

    A tagged ## heading is dropped with its whole section if no cell there shows anything; any other tagged
    cell is the caption of the cell above it, and is dropped if that one shows nothing.
    """
    heads = [n for n, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source[:3] == "## "]
    for begin, end in pairwise([0, *heads, len(cells)]):
        whole = any(cell.get("outputs") for cell in cells[begin:end])
        for number, cell in enumerate(cells[begin:end], begin):
            shows = whole if number == begin else cells[number - 1].get("outputs")
            if "if-any" not in cell.metadata.get("tags", []) or shows:
                yield cell
            elif number == begin:
                break


def _merge_streams(outputs: "list[NotebookNode]", root: Path) -> "list[NotebookNode]":
    """Join each run of printed text, stream by stream: its pieces and their order depend on timing."""
    from nbformat.v4 import new_output

    merged = []
    for printed, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        if not printed:
            merged += group
            continue
        pieces = list(group)
        for name in ("stdout", "stderr"):
            text = "".join(piece.text for piece in pieces if piece.name == name).replace("\r\n", "\n")
            text = re.sub(r"\r +\r", "\r\n", text)  # a progress bar that erases itself
            text = _CELL_FILE.sub("<cell>", _PASSING.sub("", text))
            text = text.replace(f"{root}{os.sep}", "")
            if text:
                merged.append(new_output("stream", name=name, text=text))
    return merged


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
