"""What a code cell put out: figures, tables, text. Progress bars are left out, other messages made small."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from nbconvert.filters.ansi import ansi2html, strip_ansi
from nbformat import NotebookNode

from masksr.report import images, markdown
from masksr.report.clean import fragment

_RASTER = ("image/png", "image/jpeg", "image/webp", "image/gif")
_PROGRESS = re.compile(r"\d+%\|.*\||\d+(\.\d+)?\s*(it/s|s/it|[kMG]?B/s)\b")
_REPR = re.compile(  # of what a plotting call returns
    r"\s*(\[?<(matplotlib|seaborn|Axes|Figure|IPython|pandas\.io)[^\n]*|Text\(.*\)|\[?<[^\n]* at 0x\w+>\]?)\s*"
)
_LONGEST_SVG = 300_000  # characters; a drawing of more is shown as pixels, if it has them
_LONG = 30  # lines of text after which an output scrolls in a box
# A paragraph that begins with "Figure", or one that is in italics as a whole.
FIGURE_CAPTION = re.compile(r"^\s*([*_]{0,3}(Figure|Fig\.)\s|\*(?![*\s])[^*]+\*\s*(\n\s*\n|\Z))")


def holds_image(cell: NotebookNode) -> bool:
    return any(set(output.get("data", {})) & {*_RASTER, "image/svg+xml"} for output in cell.outputs)


def render(
    cell: NotebookNode, *, prefix: str, folder: Path, caption: str, alt: str, default_alt: str, exact: bool = True
) -> str:
    """The outputs of one cell. ``caption`` (markdown) goes below the last image. exact: keep every pixel of images.

    What describes an image to who cannot see it: its own alt, the cell's, the caption, ``default_alt``.
    """
    outputs = list(cell.outputs)
    last_image = max((n for n, output in enumerate(outputs) if _is_image(output)), default=None)
    if last_image is not None and not caption and last_image + 1 < len(outputs):
        text = outputs[last_image + 1].get("data", {}).get("text/markdown", "")
        if FIGURE_CAPTION.match(text):
            caption = text
            del outputs[last_image + 1]
    caption_html, caption_text = "", ""
    if caption:
        soup = fragment(markdown.to_html(caption, folder=folder), f"{prefix}-caption")
        caption_html, caption_text = str(soup).strip(), _shortened(soup.get_text())
    blocks = []
    for number, output in enumerate(outputs):
        if output.output_type == "stream":
            blocks.append(_stream(output))
        elif _is_image(output):
            description = _own_alt(output) or alt or caption_text or default_alt
            blocks.append(_figure(output, description, caption_html if number == last_image else "", exact))
        elif output.output_type in ("display_data", "execute_result"):
            blocks.append(_data(output.data, prefix=f"{prefix}-{number + 1}", folder=folder))
    return "\n".join(block for block in blocks if block)


def _is_image(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return "text/html" not in data and bool(set(data) & {*_RASTER, "image/svg+xml"})


def _own_alt(output: NotebookNode) -> str:
    values = [value for value in output.metadata.values() if isinstance(value, dict)]
    return next((str(value["alt"]) for value in values if value.get("alt")), "")


def _figure(output: NotebookNode, alt: str, caption: str, exact: bool) -> str:
    data = output.data
    mime = next((mime for mime in _RASTER if mime in data), None)
    drawing = str(data.get("image/svg+xml", ""))
    if drawing and (not mime or len(drawing) <= _LONGEST_SVG):
        address, width, height = images.embed_svg(drawing)
        if mime and (size := images.size_of(data[mime])):  # so that letters are as large as in figures of pixels
            width, height = size
    else:
        address, width, height = images.embed(data[mime], mime, exact)
        asked = _numbers(output.metadata.get(mime))  # of high-resolution figures: the size on the page
        if width and height and asked.get("width"):
            width, height = asked["width"], asked.get("height") or round(height * asked["width"] / width)
    size = f' width="{int(width)}" height="{int(height)}"' if width and height else ""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure><img src="{escape(address)}" alt="{escape(alt)}"{size}>{below}</figure>'


def _numbers(metadata: Any) -> dict[str, float]:
    """The numbers in metadata, which a notebook may fill with anything."""
    items = metadata.items() if isinstance(metadata, dict) else ()
    return {name: value for name, value in items if isinstance(value, int | float) and 0 < value < 1e5}


def _data(data: NotebookNode, *, prefix: str, folder: Path) -> str:
    if "application/vnd.jupyter.widget-view+json" in data:  # a live progress bar; nothing of it is left
        return ""
    if "text/html" in data:
        soup = fragment(data["text/html"], prefix)
        html = str(soup).strip()
        return f'<div class="html">{html}</div>' if html else ""
    for mime in ("text/markdown", "text/latex"):
        if mime in data:
            soup = fragment(markdown.to_html(data[mime], folder=folder), prefix)
            _demote_headings(soup)
            return f'<div class="prose">{str(soup).strip()}</div>'
    if "application/json" in data and "text/plain" not in data:
        return _text(json.dumps(data["application/json"], indent=1))
    text = data.get("text/plain", "")
    return "" if _REPR.fullmatch(text) else _text(text)


def _demote_headings(soup: BeautifulSoup) -> None:
    """Headings in outputs are labels: they take no part in the outline of the page."""
    for heading in soup.find_all(re.compile(r"^h[1-6]$")):
        heading.name, heading["class"] = "p", ["label"]


def _stream(output: NotebookNode) -> str:
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in output.text.split("\n")]
    lines = [line for line in lines if not _PROGRESS.search(strip_ansi(line))]
    text = "\n".join(lines).strip("\n")
    if not text.strip():
        return ""
    if output.name == "stderr":
        return f'<details class="messages"><summary>messages</summary>{_text(text)}</details>'
    return _text(text)


def _text(text: str) -> str:
    if not text.strip():
        return ""
    long = ' class="output long" tabindex="0"' if text.count("\n") >= _LONG else ' class="output"'
    return f"<pre{long}>{ansi2html(text)}</pre>"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 250 else text[:250].rsplit(" ", 1)[0] + " …"
