"""Markdown as HTML that a browser shows without a script: formulas are MathML, links stay in the page."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from typing import Any

import latex2mathml.converter
from nbconvert.filters.markdown_mistune import IPythonRenderer

BARS = re.compile("<mo>(&#x02016;|&#x0007C;|[|‖])</mo>")  # as in TeX, bars grow only after \left


class Renderer(IPythonRenderer):
    """nbconvert's renderer, but for formulas, headings, links, tables and paragraphs that are a caption.

    One for a section, whose headings it keeps: id to HTML, as far as they were rendered.
    """

    def __init__(self, anchor: str, level: int, anchors: Collection[str]) -> None:
        """anchor, level: of the section's own heading. anchors: of all sections, for links to notebooks."""
        super().__init__(escape=False)
        self.anchor, self.level, self.anchors = anchor, level, anchors
        self.headings: dict[str, str] = {}

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        words = re.sub(r"[\W_]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
        name = f"{self.anchor}--{words}"
        while name in self.headings:
            name += "-again"
        self.headings[name] = text
        level = min(level - 1 + self.level, 6)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        notebook = re.fullmatch(r"(?:.*/)?(?:\d+_)?(\w+)\.ipynb(#.*)?", url)
        if not notebook:
            return super().link(text, url, title)
        return f'<a href="#{notebook[1]}">{text}</a>' if notebook[1] in self.anchors else text

    def paragraph(self, text: str) -> str:
        note = re.fullmatch("<em>(?:(?!<em>).)*</em>", text, re.DOTALL)
        return f'<p class="note">{text}</p>\n' if note else f"<p>{text}</p>\n"

    def table(self, text: str) -> str:
        return f'<div class="table"><table>{text}</table></div>\n'


def formula(latex: str, display: str) -> str:
    r"""Convert a formula, without its dollars, to MathML.

    ``\tag{8}`` becomes the number at the right of a block. What cannot be converted is shown as its source.
    """
    number = re.search(r"\\tag\{(\w+)\}", latex)
    try:
        mathml = latex2mathml.converter.convert(re.sub(r"\\tag\{\w+\}", "", latex), display=display)
    except Exception:  # latex2mathml has a dozen kinds and no common base
        mathml = "<mi>\\"
    if re.search(r"<m[io]>\\", mathml):  # a command that it does not know it passes on
        return f"<code>{html.escape(latex.strip())}</code>"
    mathml = mathml.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \sim is a relation
    mathml = BARS.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', mathml)
    mathml = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r'<mo lspace="0.1em" rspace="0.1em">\1</mo>', mathml)
    if display == "inline":
        return mathml
    right = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<span class="formula">{mathml}{right}</span>'
