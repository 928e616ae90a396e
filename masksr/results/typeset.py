"""Tables as CSV, Markdown and LaTeX, from the frames of ``masksr.results.tables``."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

DIGITS = {"SSIM-Y": 4}  # of a column; 2 where it is not named
TITLES = {f"without_{half.lower()}": f"images without {half}" for half in ("PI", "NIQE", "Ma")}


def to_csv(table: pd.DataFrame) -> str:
    """The whole table as CSV with four decimals; what could not be measured is an empty cell."""
    return table.to_csv(index=False, float_format="%.4f")


def to_markdown(table: pd.DataFrame) -> str:
    """A Markdown table. The metric stands above the variants, spreads follow their mean, the ends are in italics."""
    text, ends, numeric = _as_text(table)
    lines = [
        "| " + " | ".join(map(_markdown, text.columns)) + " |",
        "|" + "|".join("--:" if n else ":--" for n in numeric) + "|",
    ]
    for row, end in zip(text.to_numpy(), ends, strict=True):
        cells = [f"*{_markdown(c)}*" if end and c else _markdown(c) for c in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_latex(table: pd.DataFrame, *, caption: str, label: str) -> str:
    """A LaTeX table for the package booktabs. The ends of the scale stand below a rule of their own."""
    text, ends, numeric = _as_text(table)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{''.join('r' if n else 'l' for n in numeric)}}}",
        r"\toprule",
        " & ".join(map(_latex, text.columns)) + r" \\",
        r"\midrule",
    ]
    before = False
    for row, end in zip(text.to_numpy(), ends, strict=True):
        if end and not before and len(lines) > 8:
            lines.append(r"\midrule")
        lines.append(" & ".join(map(_latex, row)) + r" \\")
        before = end
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _as_text(table: pd.DataFrame) -> tuple[pd.DataFrame, list[bool], list[bool]]:
    """The cells as text, which rows are ends of the scale, and which columns hold numbers."""
    ends = list(table["block"] == "ends") if "block" in table else [False] * len(table)
    text, numeric = {}, []
    for name in table.columns:
        if name in ("block", "metric") or (name.endswith(" sd") and name[:-3] in table):
            continue
        if name in ("seeds", "images") and "metric" in table:  # the CSV has them
            continue
        if name.startswith("without_") and not table[name].any():
            continue
        digits = DIGITS.get(name, 4 if name.endswith(("↓", "↑")) else 2)  # further measures, such as LPIPS: about 0.1
        column = [_number(value, digits) for value in table[name]]
        if name + " sd" in table:
            spread = [_number(value, digits) for value in table[name + " sd"]]
            column = [m if s == "—" else f"{m} ± {s}" for m, s in zip(column, spread, strict=True)]
        title = TITLES.get(name, name)
        if name == "variant" and "metric" in table:
            metric = ", ".join(table["metric"].unique())
            title = f"{metric} {'↑' if metric.startswith('Ma') else '↓'}"
        text[title] = column
        numeric.append(pd.api.types.is_numeric_dtype(table[name]))
    return pd.DataFrame(text), ends, numeric


def _number(value: Any, digits: int) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "—"
        return "∞" if math.isinf(value) else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return "—" if value is None else str(value)


def _markdown(text: str) -> str:
    parts = text.replace("|", r"\|").replace("\n", " ").split("`")
    parts[::2] = [part.replace("*", r"\*").replace("_", r"\_") for part in parts[::2]]  # not what is code
    return "`".join(parts)


_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "∞": r"$\infty$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "—": "---",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)
