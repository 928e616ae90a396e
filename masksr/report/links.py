"""Links between notebooks, made to lead to the same place of the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote

from bs4 import BeautifulSoup

_NUMBER = re.compile(r"^\d+[-_]")  # of the reading order: 10_table1.ipynb


def slug(text: str) -> str:
    """``What to see`` as ``what-to-see``; never two hyphens in a row, which separate a section from what it holds."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-") or "section"


def anchor_of(name: str) -> str:
    """``10_table1`` as ``table1``; never a digit first, which a style sheet could not name."""
    anchor = slug(_NUMBER.sub("", name))
    return f"section-{anchor}" if anchor[0].isdigit() else anchor


def unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name


class Links:
    """Which address of a notebook means which id of the page: file names, sections, headings."""

    def __init__(self) -> None:
        self._targets: dict[str, str] = {}

    def add_section(self, anchor: str, stem: str, heading_ids: Iterable[str]) -> None:
        for file in (stem, anchor):
            self._targets.setdefault(f"{_NUMBER.sub('', file)}.ipynb", anchor)
        self._targets.setdefault(f"#{anchor}", anchor)
        for identity in heading_ids:
            heading = identity.removeprefix(f"{anchor}--")
            self._targets[f"{anchor}#{heading}"] = identity
            self._targets.setdefault(f"#{heading}", identity)

    def rewrite(self, html: str, anchor: str) -> str:
        """Point the links of section ``anchor`` into the page; one that leads nowhere becomes plain text."""
        if "<a " not in html:
            return html
        soup = BeautifulSoup(html, "html.parser")
        ids = {str(element["id"]) for element in soup.find_all(id=True)}
        for link in soup.find_all("a", href=True):
            address = unquote(str(link["href"]))
            if re.match(r"(https?://|mailto:)", address):
                link["rel"] = "noopener noreferrer"
            elif target := self._find(address, anchor, ids):
                link["href"] = f"#{target}"
            else:
                link.unwrap()
        return str(soup)

    def _find(self, address: str, anchor: str, ids: set[str]) -> str | None:
        file, _, place = address.partition("#")
        if file:
            return self._targets.get(_NUMBER.sub("", PurePosixPath(file).name))
        own = re.compile(rf"{re.escape(anchor)}---\d+(-\d+)?-{re.escape(place)}")  # an id that the notebook gave itself
        return (
            next((name for name in sorted(ids) if own.fullmatch(name)), None)
            or self._targets.get(f"{anchor}#{slug(place)}")
            or self._targets.get(f"#{slug(place)}")
        )
