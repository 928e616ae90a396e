"""Markdown as HTML that a browser shows without a script: formulas are MathML, links stay in the page."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import latex2mathml.converter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

BARS = re.compile("<mo>(&#x02016;|&#x0007C;|[|‖])</mo>")  # as in TeX, bars grow only after \left


@dataclass
class Outline:
    """Of the section that Markdown belongs to.

    level: of the section's own heading, of which the notebook's is the first.
    anchors: of all sections of the page, which links to notebooks may lead to.
    headings: id to HTML, as far as they were rendered.
    """

    anchor: str
    level: int
    anchors: Collection[str]
    headings: dict[str, str] = field(default_factory=dict)


def markdown_to_html(source: str, outline: Outline) -> str:
    """Render a cell, an output or a caption of a section."""
    return MarkdownWithMath(renderer=Renderer(outline)).render(source)


class Renderer(IPythonRenderer):
    """nbconvert's renderer, but for formulas, headings, links, tables and paragraphs that are a caption."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(escape=False)
        self.outline = outline

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        words = re.sub(r"[\W_]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
        name = f"{self.outline.anchor}--{words}"
        while name in self.outline.headings:
            name += "-again"
        self.outline.headings[name] = text
        level = min(level - 1 + self.outline.level, 6)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        notebook = re.fullmatch(r"(?:.*/)?(?:\d+_)?(\w+)\.ipynb(#.*)?", url)
        if not notebook:
            return super().link(text, url, title)
        return f'<a href="#{notebook[1]}">{text}</a>' if notebook[1] in self.outline.anchors else text

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
