"""Sections to one page: everything in one file, with one small script of ours that it can do without."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.report import markdown, notebooks
from masksr.report.cells import Rendered, render
from masksr.report.clean import fragment
from masksr.report.links import Links, anchor_of, unique
from masksr.report.notebooks import Section


@dataclass(frozen=True)
class _Entry:
    section: Section
    anchor: str
    level: int  # of its heading
    content: Rendered


def build_report(
    sections: Sequence[Section],
    output: Path,
    *,
    title: str,
    subtitle: str,
    facts: Mapping[str, str],
    abstract: str | None = None,
    notice: str = "",
) -> None:
    """Join executed notebooks to one HTML page at ``output`` that loads nothing and runs nothing but page.js.

    subtitle, notice, abstract: markdown. The notice stands above everything else, such as what a small profile cannot
    show; without an abstract, the first markdown cell of the first section serves as one.
    facts: the footer, such as ``provenance.in_words`` gives.
    The same inputs give the same bytes. Raises MasksrError for a notebook that is missing, was not executed or holds
    an error; nothing is written then.
    """
    if not sections:
        raise ValueError("a report needs at least one section")
    loaded = [(section, notebooks.load(section)) for section in sections]  # every error before the work
    anchors = {"abstract", "notice", "subtitle", "contents", "contents-title", "facts", "main"}
    entries = []
    for number, (section, notebook) in enumerate(loaded):
        anchor = unique(anchor_of(section.anchor or section.notebook.stem), anchors)
        level = 3 if section.group else 2
        take_lead = number == 0 and abstract is None
        try:
            content = render(section, notebook, anchor, level, take_lead=take_lead)
        except Exception as error:  # a notebook may hold anything that JSON can
            raise MasksrError(f"{section.notebook}: cannot be shown ({type(error).__name__}: {error})") from error
        entries.append(_Entry(section, anchor, level, content))
    links = Links()
    for entry in entries:
        links.add_section(entry.anchor, entry.section.notebook.stem, (h.id for h in entry.content.headings))
    lead = entries[0].content.lead if abstract is None else _markdown(abstract, "abstract")
    page = _template().render(
        title=title,
        subtitle=Markup(re.sub(r"^<p>(.*)</p>$", r"\1", _markdown(subtitle, "subtitle"), flags=re.DOTALL)),
        notice=Markup(links.rewrite(_markdown(notice, "notice"), "notice")),
        abstract=Markup(links.rewrite(lead, entries[0].anchor if abstract is None else "abstract")),
        groups=[
            {
                "title": group,
                "anchor": unique(anchor_of(group), anchors) if group else "",
                "sections": [_for_template(entry, links, output.parent) for entry in members],
            }
            for group, members in _grouped(entries)
        ],
        facts=facts,
        style=Markup("\n".join(map(_resource, ("style.css", "moving.css", "print.css")))),
        script=Markup(script := _resource("page.js")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    write_atomic(output, page.encode(errors="replace"))  # JSON knows halves of characters, UTF-8 does not


def _for_template(entry: _Entry, links: Links, folder: Path) -> dict[str, Any]:
    content, notebook = entry.content, entry.section.notebook
    place = "" if entry.section.text else Path(os.path.relpath(notebook, folder)).as_posix()
    return {
        "title": Markup(content.title),
        "plain_title": content.plain_title,
        "anchor": entry.anchor,
        "level": entry.level,
        "open": entry.section.open,
        "summary": entry.section.summary,
        "parameters": {k: v if isinstance(v, str) else repr(v) for k, v in content.parameters.items()},
        "headings": [heading for heading in content.headings if heading.level == entry.level + 1],
        "body": Markup(links.rewrite(content.body, entry.anchor) + entry.section.html),
        "notebook": notebook.name,
        "place": quote(place),
    }


def _grouped(entries: Iterable[_Entry]) -> list[tuple[str, list[_Entry]]]:
    """Neighbours of one group together; a section without a group stands alone."""
    groups: list[tuple[str, list[_Entry]]] = []
    for entry in entries:
        if groups and entry.section.group and groups[-1][0] == entry.section.group:
            groups[-1][1].append(entry)
        else:
            groups.append((entry.section.group, [entry]))
    return groups


def _markdown(source: str, prefix: str) -> str:
    return str(fragment(markdown.to_html(source, folder=Path()), prefix)).strip() if source else ""


def _resource(name: str) -> str:
    return (files("masksr.report") / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.undefined = jinja2.StrictUndefined
    return environment.from_string(_resource("template.html.j2"))
