"""One notebook, run with typed parameters: what a stage of the pipeline does.

Papermill does the work. Around it is what a pipeline needs and papermill leaves open: a wrong parameter is an
error, the kernel is this very interpreter, reruns are byte-identical, a failure is one message, and a stage whose
inputs were edited while it ran does not count.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from masksr import durations
from masksr.documents import parse_yaml, read_json
from masksr.errors import MasksrError
from masksr.files import write_atomic

if TYPE_CHECKING:
    from nbformat import NotebookNode

# What people edit, of what stages read.
EDITED = ("params.yaml", "data/*.yaml", "notebooks/*.ipynb", "masksr/**/*.py")
_CODE_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")  # of a cell, in warnings; holds the process id


def run_notebook(source: Path, output: Path, parameters: Mapping[str, Any], *, root: Path) -> None:
    """Execute ``source`` in the folder ``root`` and write the executed notebook to ``output``, whole or not at all.

    parameters: of ``parse_parameters``; they replace defaults of the cell tagged ``parameters``. What the cells
    print appears at once; progress bars and absolute paths below ``root`` do not enter the output. While it runs
    and after a failure, the notebook as far as it got is beside the output as ``<name>.partial.ipynb``.

    Raises MasksrError: a cell that failed, a kernel that died, a disk that refuses, inputs of the stage that were
    edited meanwhile.
    """
    source, output = source.resolve(), output.resolve()
    if output == source:
        raise MasksrError(f"{_short(source, root)} would be overwritten; choose another output")
    partial = output.with_suffix(".partial.ipynb")
    with durations.timed(output, root), _unchanged_inputs(root):
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with _kernel(root) as kernel:
                notebook = _execute(source, partial, dict(parameters), kernel, root)
        except MasksrError as error:
            raise MasksrError(f"{error}\n  as far as it got: {_short(partial, root)}") from None
        except OSError as error:
            file = error.filename or _short(partial, root)
            raise MasksrError(
                f"{_short(source, root)}: {file} cannot be written ({error.strerror or error}); free some space "
                "or fix the rights, then run the same command again"
            ) from None
        write_atomic(output, _normalize(notebook, root))
        partial.unlink(missing_ok=True)


# Parameters


def read_defaults(source: Path) -> dict[str, Any]:
    """The parameters of a notebook and their defaults: the ``name = literal`` lines of its cell tagged so.

    Raises MasksrError for a file that is no notebook, or a cell with something else in it.
    """
    try:
        cells = [cell for cell in read_json(source)["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        lines = ["".join(cell["source"]) for cell in cells]
    except (FileNotFoundError, MasksrError, LookupError, TypeError, AttributeError):
        raise MasksrError(f"{source}: cannot be read as a notebook (nbformat 4)") from None
    defaults = {}
    try:
        for line in ast.parse("\n".join(lines)).body:
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            defaults[targets[0].id] = ast.literal_eval(line.value)
    except (SyntaxError, ValueError, TypeError, AttributeError):
        raise MasksrError(f"{source}: its cell tagged 'parameters' may hold only lines like: name = 1") from None
    return defaults


def parse_parameters(source: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """The values of ``name=value`` words, of the types of the notebook's defaults; of any where that is None.

    Raises MasksrError: no such parameter, another type.
    """
    defaults, values = read_defaults(source), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise MasksrError(f"{assignment!r} is no parameter; write name=value")
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise MasksrError(f"{source}: there is no parameter {name!r} (there are: {known})")
        default = defaults[name]
        kind = type(default)
        value = text if kind is str else parse_yaml(text, assignment)
        if kind is float and type(value) is int:
            value = float(value)
        if kind not in (type(None), type(value)):
            raise MasksrError(f"{source}: {assignment!r} is no {kind.__name__}, which the default {default!r} is")
        values[name] = value
    return values


# Running


class _ThisInterpreter(KernelSpecManager):
    """Whatever kernels the machine has, also under the name python3: the one that runs this line."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        environment = {"PYTHONSTARTUP": "", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        if not sys.stderr.isatty():
            environment["TQDM_MININTERVAL"] = "30"  # seconds: each look of a progress bar stays in a log file
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
            env=environment,
        )


@contextmanager
def _kernel(root: Path) -> Iterator[AsyncKernelManager]:
    """A kernel whose sockets and profile are in a folder of its own: runs and users cannot meet in it."""
    with tempfile.TemporaryDirectory(prefix="masksr-kernel-", ignore_cleanup_errors=True) as private:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_ThisInterpreter(),
            connection_file=f"{private}/kernel.json",
            transport="ipc" if os.name == "posix" and len(private) < 80 else "tcp",  # sockets: 103 characters
        )
        private_only = {**os.environ, "IPYTHONDIR": private, "JUPYTER_RUNTIME_DIR": private}
        start, shut_down = run_sync(kernel.start_kernel), run_sync(kernel.shutdown_kernel)
        try:
            start(cwd=root, env=private_only, extra_arguments=["--HistoryManager.enabled=False"])
            yield kernel
        except BaseException:
            shut_down(now=True)
            raise
        shut_down()


def _execute(
    source: Path, partial: Path, parameters: dict[str, Any], kernel: AsyncKernelManager, root: Path
) -> NotebookNode:
    # jsonschema, under nbformat, compiles a grammar of web addresses where it finds this package, for 0.9 s.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill  # slow, and here it is imported while the kernel starts
    from nbclient.exceptions import DeadKernelError

    papermill.log.logger.disabled = True  # one message is enough
    started = []
    try:
        notebook = papermill.execute_notebook(
            _escape(source),
            _escape(partial),
            parameters,
            kernel_name="python3",
            language="python",
            cwd=root,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            km=kernel,
            on_cell_execute=lambda **_: started.append(1),
            record_timing=False,
            store_widget_state=False,
        )
        codes = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
        if len(started) == len(codes):
            return notebook
        cell, reason = len(started), "the cell ended the notebook early (sys.exit)"
    except papermill.PapermillExecutionError as error:
        cell, reason = error.exec_count, str(error.evalue).strip()
        if error.ename != "MasksrError":
            reason = f"{error.ename}: {reason.partition(chr(10))[0]}"
    except DeadKernelError:
        cell, reason = len(started), "the kernel died; most often memory ran out"
    except RuntimeError as error:  # why, the kernel printed itself
        raise MasksrError(f"{_short(source, root)}: the kernel did not start ({error})") from None
    raise MasksrError(f"{_short(source, root)} failed in cell [{cell}]: {reason}")


def _escape(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")  # papermill fills in {names}


# The same bytes in every run


def _normalize(notebook: NotebookNode, root: Path) -> bytes:
    """The notebook without what differs between equal runs: times, ids, versions, progress bars, local paths."""
    import nbformat

    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs, root)
    return nbformat.writes(notebook).rstrip("\n").encode() + b"\n"


def _merge_streams(outputs: list[NotebookNode], root: Path) -> list[NotebookNode]:
    """One output per run of printed text: its pieces and the order of the two streams depend on timing."""
    from nbformat.v4 import new_output

    merged = []
    for printed, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        if not printed:
            merged += group
            continue
        texts = {"stdout": "", "stderr": ""}
        for output in group:
            texts[output.name] += output.text
        for name, text in texts.items():
            text = text.replace("\r\n", "\n")
            text = re.sub(r"\r +\r", "\r\n", text)  # a progress bar that wipes itself out
            # Line by line, because a pattern on the whole text would take hours for a line of a megabyte; without
            # progress bars, which hold times.
            lines = [line for line in re.split(r"(?<=\n)", text) if "\r" not in line]
            text = "".join(_CODE_FILE.sub("<cell>", line) if "ipykernel_" in line else line for line in lines)
            if text := text.replace(f"{root}{os.sep}", ""):
                merged.append(new_output("stream", name=name, text=text))
    return merged


# What DVC gets wrong


@contextmanager
def _unchanged_inputs(root: Path) -> Iterator[None]:
    """Around the work of a stage that DVC has started: its inputs must not change under it.

    DVC reads parameters and files again *after* the command and records those values. So an edit while a stage
    runs would be recorded as what its result was made from, and never run. Raises MasksrError, and DVC then
    records nothing.
    """
    name = os.environ.get("DVC_STAGE")
    before = _read_inputs(root) if name else {}
    yield
    after = _read_inputs(root) if name else {}
    differ = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if name and differ and (edited := _edited_inputs(name, root, differ, before, after)):
        raise MasksrError(
            f"{' and '.join(edited)} changed while {name} ran. Its result belongs to the state before, so it "
            "does not count; run dvc repro again. What was trained is kept, and taken if you take the change back"
        )


def _read_inputs(root: Path) -> dict[Path, bytes]:
    content = {}
    for path in (path for pattern in EDITED for path in root.glob(pattern)):
        with suppress(OSError):  # an editor replaces files: for a moment there is none
            content[path] = path.read_bytes()
    return content


def _edited_inputs(
    name: str, root: Path, differ: set[Path], before: dict[Path, bytes], after: dict[Path, bytes]
) -> list[str]:
    """Those that differ and that the stage ``name`` depends on, in words."""
    from dvc.dependency import ParamsDependency  # slow, and nearly never wanted
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        dependencies = Repo(root).stage.load_one(str(root / "dvc.yaml"), name.rpartition(":")[2]).deps
    except DvcException:  # params.yaml has no such stage any more, or is no longer valid
        return [f"what {name} is (params.yaml)"]
    edited = set()
    for dependency in dependencies:
        path = Path(dependency.fs_path)
        if not isinstance(dependency, ParamsDependency):
            edited |= {_short(one, root) for one in differ if one == path or path in one.parents}
        elif path in differ:
            old, new = (parse_yaml(content.get(path, b"").decode(), path.name) for content in (before, after))
            keys = [key for key in dependency.params if _find(old, key) != _find(new, key)]
            edited |= {f"{key} in {path.name}" for key in keys}
    return sorted(edited)


def _find(content: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
