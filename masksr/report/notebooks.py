"""The notebooks a report is made of: which they are, and whether they may stand in it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from masksr.errors import MasksrError


@dataclass(frozen=True)
class Section:
    """One executed notebook of the report.

    title: in place of the notebook's first heading, where many notebooks share one: ``ESRGAN + mask, seed 0``.
    group: the heading over this section and its neighbours of the same group; empty: the section stands alone.
    anchor: its id in the page; empty: made from the file's name. Links to ``NAME.ipynb`` lead to it.
    summary: one line shown beside the title while the section is collapsed.
    stage: the stage that makes the notebook, for the error when it is missing.
    text: markdown in place of a notebook, whose name then only serves for the anchor.
    html: what follows the section; ours, and not looked through as the contents of notebooks are.
    """

    notebook: Path
    title: str = ""
    group: str = ""
    anchor: str = ""
    summary: str = ""
    open: bool = True
    stage: str = ""
    text: str = ""
    html: str = ""


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def load(section: Section) -> NotebookNode:
    """Read a notebook that was executed to its end without an error, or make one of ``section.text``.

    Raises MasksrError when it is missing, unreadable, not executed, stopped half-way, or holds an error.
    """
    if section.text:
        return new_notebook(cells=[new_markdown_cell(section.text)])
    path, again = section.notebook, f"run `dvc repro{' ' + section.stage if section.stage else ''}`"
    if not path.is_file():
        raise MasksrError(f"{path}: this notebook of the report does not exist yet; {again} to make it")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)  # read() only logs what does not fit
    except Exception as error:  # nbformat raises its own, json's and unicode's errors
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise MasksrError(f"{path}: not a readable notebook ({first_line}); {again} to make it anew") from None
    cells = [
        (number, cell)
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "code" and cell.source.strip() and "skip-execution" not in tags(cell)
    ]
    for number, cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                what = f"{output.ename}: {output.evalue}"
                raise MasksrError(f"{path}: cell {number} ended in {what}; mend it and {again}")
    done = [cell.get("execution_count") is not None or bool(cell.outputs) for _, cell in cells]
    if cells and not any(done):
        raise MasksrError(f"{path}: this notebook has not been executed (it has no outputs); {again}")
    counted = [cell.get("execution_count") is not None for _, cell in cells]
    if any(counted) and not all(counted):
        stopped = cells[counted.index(False)][0]
        raise MasksrError(f"{path}: this notebook was not executed to its end (cell {stopped} was not run); {again}")
    return notebook


def parameters(notebook: NotebookNode) -> dict[str, Any]:
    """The values of the cells tagged ``parameters`` and ``injected-parameters``, later ones winning.

    The cells are read, never run; a value that is not a literal appears as its source.
    """
    values: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type != "code" or not tags(cell) & {"parameters", "injected-parameters"}:
            continue
        try:
            statements = ast.parse(cell.source).body
        except SyntaxError:
            continue
        for statement in statements:
            targets = {ast.Assign: "targets", ast.AnnAssign: "target"}.get(type(statement))
            if targets is None or getattr(statement, "value", None) is None:
                continue
            value = statement.value  # type: ignore[attr-defined]
            found = getattr(statement, targets)
            for target in found if isinstance(found, list) else [found]:
                if isinstance(target, ast.Name):
                    values[target.id] = _literal(value)
    return values


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
