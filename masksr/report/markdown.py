"""Markdown to HTML, formulas to MathML: what a browser shows without a script.

nbconvert's own renderer leaves ``$...$`` for MathJax, which comes from the net.
"""

from __future__ import annotations

import html
import re
import warnings
from pathlib import Path
from typing import Any, ClassVar

import latex2mathml.converter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath, MathBlockParser, MathInlineParser

_TAG = re.compile(r"\\tag\*?\{([^{}]*)\}")
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(?:align|aligned|alignat|split|eqnarray)\*?\}")
_BAR = re.compile("<mo>(&#x02016;|&#x0007C;|[|‖])</mo>")  # as in TeX, bars grow only after \\left
# Rewritten into what latex2mathml knows.
_REPLACED = {r"\arg": r"\operatorname{arg}", r"\coloneqq": ":=", r"\nonumber": "", r"\notag": ""}


def mathml(latex: str, *, block: bool = False) -> str:
    r"""A formula, without its dollars, as a ``<math>`` element.

    ``\tag{8}`` becomes the number ``(8)`` at the right of a block. Raises ValueError for what cannot be converted.
    """
    source = _ENVIRONMENT.sub(r"\\\1{align*}", latex.strip())
    numbers = _TAG.findall(source)
    if len(numbers) == 1 and block:  # one number for the whole block stands in the margin, several in a column
        source = _TAG.sub("", source)
    else:
        column = "&" if r"\begin{align*}" in source else r"\qquad"
        source, numbers = _TAG.sub(lambda tag: rf"{column}\text{{({tag[1]})}}", source), []
    for old, new in _REPLACED.items():
        source = re.sub(re.escape(old) + r"(?![a-zA-Z])", lambda _, new=new: new, source)
    try:
        converted = latex2mathml.converter.convert(source, display="block" if block else "inline")
    except Exception as error:  # latex2mathml has a dozen kinds and no common base
        raise ValueError(f"{type(error).__name__} in formula: {latex.strip()}") from error
    if re.search(r"<m[io]>(\\|&<)", converted):  # what it does not know it passes on
        raise ValueError(f"unknown command in formula: {latex.strip()}")
    converted = converted.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \sim is a relation
    converted = _BAR.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', converted)
    converted = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r'<mo lspace="0.1em" rspace="0.1em">\1</mo>', converted)
    if not block:
        return converted
    number = f'<span class="number">({html.escape(numbers[0])})</span>' if numbers else ""
    return f'<span class="formula">{converted}{number}</span>'


def _formula(latex: str, *, block: bool) -> str:
    try:
        return mathml(latex, block=block)
    except ValueError as error:
        warnings.warn(f"shown as source: {error}", stacklevel=2)
        return f'<code class="tex">{html.escape(latex.strip())}</code>'


class _Inline(MathInlineParser):
    # Pandoc's rule, so that "$5 and $6" stays money: no space inside the dollars, no digit after them, one paragraph.
    SPECIFICATION: ClassVar[dict[str, str]] = {
        **MathInlineParser.SPECIFICATION,
        "inline_math_tex": r"(?<![$\\])\$(?=[^\s$])(?P<math_inline_tex>(?:[^$\\`]|\\.)*?)(?<=[^\s])\$(?![\d$])",
    }


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return _formula(body, block=True)

    def inline_math(self, body: str) -> str:
        return _formula(body, block=False)

    def latex_environment(self, name: str, body: str) -> str:
        if name in ("equation", "equation*", "displaymath", "math"):
            return _formula(body, block=True)
        return _formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        return f"<h{level}>{text}</h{level}>\n"

    def _src_to_base64(self, src: str) -> str | None:
        folder = Path(self.path).resolve()
        try:
            below = (folder / src).resolve().is_relative_to(folder)
        except (OSError, ValueError):  # too long, a NUL
            return None
        return super()._src_to_base64(src) if below else None  # the page must not take along what lies elsewhere

    def block_mermaidjs(self, code: str) -> str:  # a diagram would need a script
        return f"<pre><code>{html.escape(code)}</code></pre>\n"


def to_html(source: str, *, folder: Path, attachments: dict[str, Any] | None = None) -> str:
    """Markdown with formulas as HTML; images below ``folder`` and attachments are embedded."""
    renderer = _Renderer(escape=False, embed_images=True, path=str(folder), attachments=attachments or {})
    return MarkdownWithMath(renderer, block=MathBlockParser(), inline=_Inline()).render(source)
