"""One notebook, run with typed parameters: what a stage of the pipeline does.

Papermill does the work. Around it stands what a pipeline needs and papermill leaves open: a wrong parameter is an
error, the kernel is this very interpreter, reruns are byte-identical, and a failure is one message.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from masksr import durations
from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.locks import alone, private_folder
from masksr.notebook_parameters import checked
from masksr.terminal import Terminal

if TYPE_CHECKING:
    from nbformat import NotebookNode

_CODE_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")  # of a cell, in warnings; holds the process id


def run_notebook(source: Path, output: Path, parameters: Mapping[str, Any], *, root: Path) -> None:
    """Execute ``source`` in the folder ``root`` and write the executed notebook to ``output``, whole or not at all.

    ``parameters`` replace defaults of the cell tagged ``parameters`` and must have their types. What the cells print
    appears in the terminal at once; progress bars and absolute paths below ``root`` do not enter the output. While it
    runs and after a failure, the notebook as far as it got lies beside the output as ``<name>.partial.ipynb``. Where
    another process is at the same output, this one waits for it to finish.

    Raises MasksrError: wrong source or parameters, a cell that failed, a kernel that died, a disk that refuses.
    """
    parameters = checked(source, parameters)
    source, output = source.resolve(), output.resolve()
    if output == source:
        raise MasksrError(f"{_short(source, root)}: the output would overwrite the source; choose another output")
    partial = output.with_suffix(".partial.ipynb")
    lock = root / ".cache/locks" / (_short(output, root).replace(os.sep, "-")[-200:] + ".lock")
    with alone(lock, f"{_short(output, root)}, which this was to make"), durations.timed(output, root):
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with _kernel(root) as kernel:
                notebook = _execute(source, partial, parameters, kernel, root)
        except MasksrError as error:
            raise MasksrError(f"{error}\n  as far as it got: {_short(partial, root)}") from None
        except OSError as error:
            raise MasksrError(
                f"{_short(source, root)}: what runs it cannot write {error.filename or _short(partial, root)} "
                f"({error.strerror or error}); free some space or fix the rights, then run the same command again"
            ) from None
        _tidy(notebook, root)
        _write(notebook, output)
        partial.unlink(missing_ok=True)


class _ThisInterpreter(KernelSpecManager):
    """Whatever kernels the machine has installed, also under the name python3: the one that runs this line."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
            env={"PYTHONSTARTUP": "", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        )


@contextmanager
def _kernel(root: Path) -> Iterator[AsyncKernelManager]:
    """A kernel whose sockets and profile lie in a folder of its own, so that runs and users cannot meet in it."""
    with private_folder("masksr-kernel-") as private:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_ThisInterpreter(),
            connection_file=f"{private}/kernel.json",
            transport="ipc" if os.name == "posix" and len(private) < 80 else "tcp",  # a socket's path: 103 characters
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
    import papermill  # slow, and here it is imported while the kernel starts
    from nbclient.exceptions import DeadKernelError

    papermill.log.logger.disabled = True  # one message is enough
    started = []
    with Terminal(sys.stdout) as stdout, Terminal(sys.stderr) as stderr:
        try:
            notebook = papermill.execute_notebook(
                _literal(source),
                _literal(partial),
                parameters,
                kernel_name="python3",
                language="python",
                cwd=root,
                progress_bar=False,
                stdout_file=stdout,
                stderr_file=stderr,
                km=kernel,
                on_cell_execute=lambda **_: started.append(1),
                record_timing=False,
                store_widget_state=False,
            )
        except papermill.PapermillExecutionError as error:
            reason = str(error.evalue).strip()
            if error.ename != "MasksrError":
                reason = f"{error.ename}: {reason.partition(chr(10))[0]}"
            raise _failed(source, root, error.exec_count, reason) from None
        except DeadKernelError:
            reason = "the kernel died; most often memory ran out"
            raise _failed(source, root, len(started), reason) from None
        except RuntimeError as error:  # why, the kernel printed itself
            raise MasksrError(f"{_short(source, root)}: the kernel did not start ({error})") from None
    if len(started) < sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells):
        raise _failed(source, root, len(started), "the cell ended the notebook early (sys.exit)")
    return notebook


def _tidy(notebook: NotebookNode, root: Path) -> None:
    """Take out what differs between two runs of the same thing."""
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
            cell.outputs = _steady(cell.outputs, root)


def _steady(outputs: list[NotebookNode], root: Path) -> list[NotebookNode]:
    """One output per run of printed text: its pieces and the order of the two streams depend on timing."""
    from nbformat.v4 import new_output

    steady = []
    for printed, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        if not printed:
            steady += group
            continue
        texts = {"stdout": "", "stderr": ""}
        for output in group:
            texts[output.name] += output.text
        for name, text in texts.items():
            text = re.sub(r"\r +\r", "\r\n", text.replace("\r\n", "\n"))  # a progress bar that wipes itself out
            # Line by line, because a pattern on the whole text would take hours for a line of a megabyte.
            lines = (line for line in re.split(r"(?<=\n)", text) if "\r" not in line)  # progress bars hold times
            text = "".join(_CODE_FILE.sub("<cell>", line) if "ipykernel_" in line else line for line in lines)
            if text := text.replace(f"{root}{os.sep}", ""):
                steady.append(new_output("stream", name=name, text=text))
    return steady


def _write(notebook: NotebookNode, output: Path) -> None:
    import nbformat

    write_atomic(output, nbformat.writes(notebook).rstrip("\n").encode() + b"\n")


def _failed(source: Path, root: Path, cell: int, reason: str) -> MasksrError:
    return MasksrError(f"{_short(source, root)} failed in cell [{cell}]: {reason}")


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")  # papermill fills in {names}
