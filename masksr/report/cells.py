"""One executed notebook as the HTML of one section."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import Any

from bs4 import Tag
from nbconvert.filters.highlight import Highlight2HTML
from nbformat import NotebookNode

from masksr.report import markdown, notebooks, outputs
from masksr.report.clean import fragment
from masksr.report.links import slug, unique
from masksr.report.notebooks import Section

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_HIDDEN_CELL = {"remove-cell", "remove_cell", "hide-cell"}
_HIDDEN_INPUT = {"hide-input", "hide_input", "remove-input", "remove_input"}
_HIDDEN_OUTPUT = {"hide-output", "hide_output", "remove-output", "remove_output"}


@dataclass(frozen=True)
class Heading:
    id: str
    text: str
    level: int


@dataclass
class Rendered:
    """What the page needs of one notebook. ``title``, ``lead`` and ``body`` are HTML, ``plain_title`` is text."""

    title: str = ""
    plain_title: str = ""
    lead: str = ""  # the first markdown cell without its heading, when the page asked for it as abstract
    body: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    headings: list[Heading] = field(default_factory=list)


def render(section: Section, notebook: NotebookNode, anchor: str, level: int, *, take_lead: bool) -> Rendered:
    """Render a notebook below a heading of ``level``; every id begins with ``anchor`` and two hyphens."""
    writer = _Writer(section, notebook, anchor, level)
    cells = [cell for cell in notebook.cells if not notebooks.tags(cell) & _HIDDEN_CELL]
    for number, cell in enumerate(cells, start=1):
        prefix = f"{anchor}---{number}"
        if cell.cell_type == "markdown" and cell.source.strip():
            prose = writer.prose(cell, prefix)
            if take_lead:
                writer.result.lead, take_lead = prose, False
            elif prose:
                writer.add(f'<div class="prose">{prose}</div>')
        elif cell.cell_type == "code" and not notebooks.tags(cell) & {"parameters", "injected-parameters"}:
            following = cells[number] if number < len(cells) else None
            writer.code(cell, prefix, following)
    return writer.finish()


def _plain(element: Tag) -> str:
    return " ".join(element.get_text().split())


class _Writer:
    """Collects the blocks of one section; code gathers until an output or prose comes, so that it folds as one."""

    def __init__(self, section: Section, notebook: NotebookNode, anchor: str, level: int) -> None:
        self.section, self.anchor, self.level = section, anchor, level
        self.folder = section.notebook.parent
        self.highlight = Highlight2HTML(pygments_lexer=notebook.metadata.get("language_info", {}).get("pygments_lexer"))
        self.result = Rendered(parameters=notebooks.parameters(notebook))
        self.blocks: list[str] = []
        self.pending_code: list[str] = []
        self.pending_open = False
        self.ids: set[str] = set()
        self.first_level = 0  # of the notebook's first heading, which is the title of the section
        self.last_level = level
        self.context = section.title  # the heading we are below

    def add(self, html: str) -> None:
        if self.pending_code:
            state = " open" if self.pending_open else ""
            code = "".join(self.pending_code)
            self.blocks.append(f'<details class="code"{state}><summary>code</summary>\n{code}</details>')
            self.pending_code, self.pending_open = [], False
        if html:
            self.blocks.append(html)

    def prose(self, cell: NotebookNode, prefix: str) -> str:
        html = markdown.to_html(cell.source, folder=self.folder, attachments=cell.get("attachments"))
        soup = fragment(html, prefix)
        for heading in soup.find_all(_HEADINGS):
            text, level = _plain(heading), int(heading.name[1])
            self.context = text
            if not self.first_level:
                self.first_level = level
                self.result.title, self.result.plain_title = heading.decode_contents(), text
                heading.decompose()
                continue
            level = max(self.level + 1, self.level + level - self.first_level)
            level = min(level, self.last_level + 1, 6)  # an outline skips no level
            self.last_level = level
            heading.name, heading["id"] = f"h{level}", unique(f"{self.anchor}--{slug(text)}", self.ids)
            self.result.headings.append(Heading(heading["id"], text, level))
        return str(soup).strip()

    def code(self, cell: NotebookNode, prefix: str, following: NotebookNode | None) -> None:
        """``following`` gives its first paragraph as the caption of this cell's figure, if it is one."""
        marks = notebooks.tags(cell)
        if cell.source.strip() and not marks & _HIDDEN_INPUT:
            self.pending_code.append(self.highlight(cell.source.strip("\n")))
            self.pending_open |= "show-input" in marks
        if marks & _HIDDEN_OUTPUT:
            return
        caption = cell.metadata.get("caption", "")
        wanted = not caption and following is not None and following.cell_type == "markdown"
        if wanted and outputs.holds_image(cell) and outputs.FIGURE_CAPTION.match(following.source):
            caption, _, rest = following.source.strip().partition("\n\n")
            following.source = rest.strip()
        place = f"Figure in the section “{self.context or self.section.notebook.stem}”"
        html = outputs.render(
            cell,
            prefix=prefix,
            folder=self.folder,
            caption=caption,
            alt=cell.metadata.get("alt", ""),
            default_alt=place,
            exact=self.section.open,
        )
        if html:
            self.add(html)

    def finish(self) -> Rendered:
        self.add("")
        self.result.body = "\n".join(self.blocks)
        if self.section.title or not self.result.plain_title:
            name = self.section.title or re.sub(r"[-_]+", " ", self.section.notebook.stem)
            self.result.title, self.result.plain_title = escape(name), name
        return self.result
