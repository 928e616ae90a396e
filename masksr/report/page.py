"""Executed notebooks as one HTML page, by nbconvert's exporter and the templates beside this file.

The page loads nothing: formulas are MathML, pictures and style stand in it, and its Content-Security-Policy allows one
script, ``template/page.js``, by its hash. The notebooks are ours, so their HTML is taken as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

from masksr.errors import MasksrError
from masksr.files import write_atomic

FOLDER = Path(__file__).parent
LONGEST_SVG = 300_000  # characters; a drawing of more is shown as pixels
LONGEST_WEBP = 16_383  # pixels a side
CAPTION = re.compile(r"\*(?!\*).+?\*(\n\n|\Z)", re.DOTALL)  # a first paragraph in italics, below a figure
BARS = re.compile("<mo>(&#x02016;|&#x0007C;|[|‖])</mo>")  # as in TeX, bars grow only after \left


@dataclass(frozen=True)
class Section:
    """One executed notebook of the page.

    anchor: its id; a link to ``10_NAME.ipynb`` leads to the section NAME.
    title: in place of the notebook's own, where many share one: ``ESRGAN+Mask, seed 0``.
    group: the heading over this section and its neighbours; sections of a group are folded.
    stage: the stage of dvc.yaml that makes the notebook, for the error where it is missing.
    crops: titles and PNG files (one list a place), to be compared with a handle below the notebook.
    """

    notebook: Path
    anchor: str
    stage: str
    title: str = ""
    group: str = ""
    crops: tuple[list[tuple[str, bytes]], ...] = ()


def build_report(sections: Sequence[Section], output: Path, **page: Any) -> None:
    """Write the notebooks of ``sections``, in their order, as one page to ``output``.

    page: title, subtitle (HTML), facts, digests and times, see ``template/page.html.j2``.
    Raises MasksrError for a notebook that is missing or unreadable; nothing is written then.
    """
    notebooks = [_read(section) for section in sections]
    exporter = Exporter({section.anchor for section in sections})
    parts = [exporter.render(*pair) for pair in zip(sections, notebooks, strict=True)]
    style, script = ((FOLDER / "template" / name).read_text("utf-8") for name in ("style.css", "page.js"))
    template = exporter.environment.get_template("page.html.j2")
    text = template.render(
        page,
        groups=[(name, list(members)) for name, members in groupby(parts, key=lambda part: part["group"])],
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomic(output, text.encode())


class Exporter(HTMLExporter):
    """One notebook as the HTML of a section."""

    template_name = "template"

    def __init__(self, anchors: set[str]) -> None:
        """anchors: of all sections, which links between notebooks may lead to."""
        config = Config()
        config.TagRemovePreprocessor.enabled = True
        config.TagRemovePreprocessor.remove_cell_tags = {"remove-cell", "parameters"}
        config.TagRemovePreprocessor.remove_input_tags = {"hide-input"}
        super().__init__(config=config, extra_template_basedirs=[str(FOLDER)])
        self.environment.globals["data_url"] = data_url
        self.environment.filters["mark_numbers"] = mark_numbers
        self.anchors = anchors
        self.headings: list[tuple[str, str]] = []  # id and HTML of each, of the notebook at work

    def render(self, section: Section, notebook: NotebookNode) -> dict[str, Any]:
        """What ``template/page.html.j2`` needs of a section."""
        title, self.headings = _take_title(notebook), []
        for cell, following in pairwise([*notebook.cells, nbformat.v4.new_markdown_cell()]):
            cell.metadata["section"] = section.anchor
            cell.metadata["depth"] = 2 if section.group else 1
            if cell.cell_type == "code":
                cell.outputs = [_as_display(output) for output in cell.outputs]
                _draw_figures(cell, following, exact=not section.group)
        body, _ = self.from_notebook_node(notebook)
        found = vars(section) | {"title": section.title or title, "body": body, "headings": self.headings}
        return found | {"name": section.notebook.name}

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Overrides nbconvert's filter, which leaves formulas to a script from the network."""
        renderer = Renderer(self, context["cell"].metadata)
        return MarkdownWithMath(renderer=renderer).render(source)


class Renderer(IPythonRenderer):
    """nbconvert's Markdown with formulas as MathML and links between notebooks as links into the page."""

    def __init__(self, page: Exporter, metadata: Mapping[str, Any]) -> None:
        super().__init__(escape=False)
        self.page, self.section, self.depth = page, metadata["section"], metadata["depth"]

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        slug = re.sub(r"[\W_]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
        names, name, level = (
            {name for name, _ in self.page.headings},
            f"{self.section}--{slug}",
            level + self.depth,
        )
        while name in names:
            name += "-again"
        self.page.headings.append((name, text))
        return f'<h{min(level, 6)} id="{name}">{text}</h{min(level, 6)}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        notebook = re.fullmatch(r"(?:.*/)?(?:\d+_)?(\w+)\.ipynb(#.*)?", url)
        if not notebook:
            return super().link(text, url, title)
        return f'<a href="#{notebook[1]}">{text}</a>' if notebook[1] in self.page.anchors else text

    def paragraph(self, text: str) -> str:
        note = re.fullmatch("<em>(?:(?!<em>).)*</em>", text, re.DOTALL)
        return f'<p class="note">{text}</p>\n' if note else f"<p>{text}</p>\n"

    def table(self, text: str) -> str:
        return f'<div class="table"><table>{text}</table></div>\n'


def formula(latex: str, display: str) -> str:
    r"""A formula, without its dollars, as MathML; ``\tag{8}`` becomes the number at the right of a block.

    What latex2mathml cannot convert is shown as its source.
    """
    number = re.search(r"\\tag\{(\w+)\}", latex)
    try:
        converted = latex2mathml.converter.convert(re.sub(r"\\tag\{\w+\}", "", latex), display=display)
    except Exception:  # latex2mathml has a dozen kinds and no common base
        converted = "\\"
    if re.search(r"(<m[io]>|^)\\", converted):  # a command that it does not know it passes on
        return f"<code>{html.escape(latex.strip())}</code>"
    converted = converted.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \sim is a relation
    converted = BARS.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', converted)
    converted = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r'<mo lspace="0.1em" rspace="0.1em">\1</mo>', converted)
    if display == "inline":
        return converted
    right = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<span class="formula">{converted}{right}</span>'


def mark_numbers(table: str) -> str:
    """Give the cells of a pandas table that hold a number a class, by which they stand to the right."""
    return re.sub(r"<td>(?=[-+\N{MINUS SIGN}]?\d[\d.e+-]*</td>)", '<td class="number">', table)


def data_url(content: bytes, kind: str) -> str:
    """Bytes as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def small_picture(png: bytes, *, exact: bool) -> tuple[str, int, int]:
    """A PNG as a data address in few bytes, and its width and height.

    exact: keep every pixel. The page compares super-resolved pictures, and the artefacts of a codec would pass for
    those of a network; only in folded sections a tenth of the bytes counts more.
    """
    with Image.open(io.BytesIO(png)) as image:
        buffer = io.BytesIO()
        if max(image.size) <= LONGEST_WEBP:
            image.convert("RGBA").save(buffer, "WEBP", lossless=exact, quality=80, method=3)
        webp = buffer.getvalue()
        address = data_url(webp, "image/webp") if 0 < len(webp) < len(png) else data_url(png, "image/png")
        return (address, *image.size)


def _read(section: Section) -> NotebookNode:
    again = f"`dvc repro {section.stage}` makes it"
    try:
        return nbformat.read(section.notebook, as_version=4)
    except FileNotFoundError:
        raise MasksrError(
            f"{section.notebook}: this notebook of the report does not exist; {again}"
        ) from None
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise MasksrError(f"{section.notebook}: not a readable notebook ({error}); {again}") from None


def _take_title(notebook: NotebookNode) -> str:
    """Take the first line, ``# Title``, out of a notebook."""
    first = notebook.cells[0]
    title, _, first.source = first.source.partition("\n")
    return title.lstrip("# ")


def _as_display(output: NotebookNode) -> NotebookNode:
    """The last value of a cell is shown like what it displays."""
    if output.output_type == "execute_result":
        return nbformat.v4.new_output("display_data", data=output.data, metadata=output.metadata)
    return output


def _draw_figures(cell: NotebookNode, following: NotebookNode, *, exact: bool) -> None:
    """Leave of each picture of ``cell`` one form, with an address, a size, an alt text and, below the last, a caption.

    The caption is a first paragraph in italics of the next output or the next cell, and is taken from there.
    """
    figures = [
        output for output in cell.outputs if {"image/png", "image/svg+xml"} & set(output.get("data", {}))
    ]
    for output in figures:
        png, svg = (output.data.get(kind) for kind in ("image/png", "image/svg+xml"))
        address, width, height = (
            small_picture(base64.b64decode(png), exact=exact) if png else ("", None, None)
        )
        if svg and (not png or (exact and len(svg) < LONGEST_SVG)):
            address = data_url(svg.encode(), "image/svg+xml")
        alt = next((kind["alt"] for kind in output.metadata.values() if "alt" in kind), "")
        output.metadata["figure"] = {"address": address, "width": width, "height": height, "alt": alt}
        output.data = {"image/png": ""}
    if not figures:
        return
    caption = ""
    after = cell.outputs[cell.outputs.index(figures[-1]) + 1 :]
    if after and CAPTION.match(after[0].get("data", {}).get("text/markdown", "")):
        caption = cell.outputs.pop(cell.outputs.index(after[0])).data["text/markdown"]
    elif following.cell_type == "markdown" and (found := CAPTION.match(following.source)):
        caption = found[0]
        following.source = following.source[found.end() :]
    figures[-1].metadata["figure"]["caption"] = caption.strip()
    for output in figures:
        output.metadata["figure"]["alt"] = output.metadata["figure"]["alt"] or caption.strip("*\n ")
