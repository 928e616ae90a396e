"""Tables as text: their cells, and Markdown for notebooks and the report."""

import math
import re
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from IPython.display import Markdown

TITLES = {f"without_{half.lower()}": f"images without {half}" for half in ("PI", "NIQE", "Ma")}


def show(table: pd.DataFrame, note: str = "") -> "Markdown":
    """Show a table and a note below it in a notebook, as Markdown; for a table without rows only the note."""
    from IPython.display import Markdown  # here, because scoring on a bare machine does not need it

    text = to_markdown(table) if len(table) or not note else ""
    return Markdown(text + (f"\n*{note}*\n" if note else ""))


def to_markdown(table: pd.DataFrame) -> str:
    """Write a Markdown table: the metric heads the variants, spreads follow means, ends are in italics."""
    text, ends, align = format_cells(table)
    text = text.map(_escape_markdown)
    text[ends] = text[ends].map(lambda cell: f"*{cell}*" if cell else cell)
    text.columns = [_escape_markdown(title) for title in text.columns]
    markdown = text.to_markdown(index=False, colalign=align if len(text) else None, disable_numparse=True)
    return re.sub(" {2,}", " ", markdown) + "\n"  # one long cell would widen every line of its column


def format_cells(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """Write the cells of a table as text, without the columns that a reader does not need.

    Also returns which rows are sanity checks (``block``), and how each column is aligned.
    """
    ends = table["block"].eq("ends") if "block" in table else pd.Series(False, table.index)
    hidden = {"block", "metric"} | ({"seeds", "images"} if "metric" in table else set())  # the CSV has them
    hidden |= {name for name in table if name.startswith("without_") and not table[name].any()}
    hidden |= {f"{name} sd" for name in table}
    text, align = {}, []
    for name in table.columns.difference(hidden, sort=False):
        digits = 4 if name.endswith(("SSIM-Y", "↓", "↑")) else 2  # with an arrow: LPIPS is about 0.1
        cells = [format_value(value, digits) for value in table[name]]
        if f"{name} sd" in table:
            spreads = [format_value(value, digits) for value in table[f"{name} sd"]]
            cells = [m if sd == "—" else f"{m} ± {sd}" for m, sd in zip(cells, spreads, strict=True)]
        title = TITLES.get(name, name)
        if name == "variant" and "metric" in table:
            metric = ", ".join(table["metric"].unique())
            title = f"{metric} {'↑' if metric.startswith('Ma') else '↓'}"
        text[title] = cells
        align.append("right" if pd.api.types.is_numeric_dtype(table[name]) else "left")
    return pd.DataFrame(text, index=table.index), ends, align


def format_value(value: Any, digits: int = 2) -> str:
    """Write a cell, with a dash for what could not be measured and a true minus sign."""
    if not isinstance(value, float):
        return "—" if value is None else str(value)
    if not math.isfinite(value):
        return "—" if math.isnan(value) else "∞"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _escape_markdown(text: str) -> str:
    parts = text.replace("|", r"\|").replace("\n", " ").split("`")
    parts[::2] = [part.replace("*", r"\*").replace("_", r"\_") for part in parts[::2]]  # but not code
    return "`".join(parts)
