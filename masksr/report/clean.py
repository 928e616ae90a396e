"""HTML that came out of a notebook, made fit for the page: nothing runs, nothing loads, no id appears twice."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString

from masksr.report.harmless import ATTRIBUTES, ELEMENTS, GONE
from masksr.report.images import embed

_NUMBER = re.compile(
    r"[(\[]?[-+−±]?(\d[\d,_ ]*\.?\d*|\.\d+)([eE][-+]?\d+)?"  # noqa: RUF001
    r"\s*(%|ms|s|dB|kB|MB|GB|×|x)?[)\]]?(\s*[±(].*)?"  # noqa: RUF001
)
_EMPTY = {"", "-", "–", "—", "nan", "NaN", "None", "<NA>", "inf", "-inf"}  # noqa: RUF001
# A style that would load something, hide it behind an escape, leave its place on the page, or end its element.
_BAD_STYLE = re.compile(r"url\s*\(|@|expression\s*\(|image-set|[\\<]|/\*|position\s*:|\bsrc\s*\(", re.IGNORECASE)


def fragment(html: str, prefix: str) -> BeautifulSoup:
    """Parse HTML and drop scripts, handlers and whatever would be loaded; ids get ``prefix`` in front.

    Of what is not known to be harmless only the text stays, if that.
    """
    soup = BeautifulSoup(html, "html.parser")
    for text in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        text.extract()  # comments, CDATA, declarations: to a browser some of them end earlier than here
    for element in soup.find_all(GONE):
        element.decompose()
    for style in soup.find_all("style"):
        _keep_style_of_one_table(style, prefix)
    for element in soup.find_all(True):
        if element.name not in ELEMENTS:
            element.unwrap()
            continue
        for name in list(element.attrs):
            value = str(element.attrs[name])
            if name in ("id", "headers", "aria-labelledby", "aria-describedby"):
                element[name] = " ".join(f"{prefix}-{part}" for part in value.split())
            elif not _is_harmless(element, name, value):
                del element[name]
                if (element.name, name) == ("img", "src"):
                    _replace_image(soup, element, value)
                elif (element.name, name) == ("a", "href"):
                    element.unwrap()
                    break
    for image in soup.find_all("img", src=True):
        _shrink(image)
    for table in soup.find_all("table"):
        _table(soup, table)
    return soup


def _is_harmless(element: Tag, name: str, value: str) -> bool:
    if name == "style":
        return not _BAD_STYLE.search(value)
    if name == "href":
        return element.name == "a" and _leads_somewhere(value)
    if name == "src":
        return element.name == "img" and value.startswith("data:image/")
    return name in ATTRIBUTES or bool(re.fullmatch("aria-[a-z]+", name))


def _leads_somewhere(address: str) -> bool:
    """Whether it is a place on the page, another notebook, the web or a mailbox; never a script."""
    address = re.sub(r"[\x00-\x20]+", "", address)
    scheme = re.match(r"([^/?#]*?):", address)
    return scheme is None or scheme[1].lower() in ("http", "https", "mailto")


def _keep_style_of_one_table(style: Tag, prefix: str) -> None:
    """Styles of a pandas Styler name their table's id; any other style would leak into the page."""
    text = style.string or ""
    *rules, rest = (rule.partition("{") for rule in text.split("}"))
    selectors = [part.strip() for selector, _, _ in rules for part in selector.split(",")]
    sound = all(brace and "{" not in body for _, brace, body in rules) and not "".join(rest).strip()
    if not selectors or not sound or _BAD_STYLE.search(text) or not all(name.startswith("#") for name in selectors):
        style.decompose()
        return
    style.string = re.sub(r"#(?=[A-Za-z_][\w-]*(?:[\s,.:{>]))(?=[^{}]*\{)", f"#{prefix}-", text)
    table = style.find_next("table")
    if table is not None and re.search(r"background|(?<![\w-])color\s*:", text):
        table["class"] = [*table.get("class", []), "coloured"]  # its colours were chosen for a white page


def _replace_image(soup: BeautifulSoup, image: Tag, address: str) -> None:
    """An image that is not in the page would be a request: what remains is its description, as a link if it can be."""
    text = image.get("alt") or "image"
    if re.match(r"https?://", address):
        link = soup.new_tag("a", href=address)
        link.string = str(text)
        image.replace_with(link)
    else:
        image.replace_with(f"[{text}]")


def _shrink(image: Tag) -> None:
    address = str(image["src"])
    head, _, encoded = address.partition(";base64,")
    if encoded:
        image["src"], width, height = embed(encoded, head.removeprefix("data:"))
        if width and not image.get("width") and not image.get("height"):
            image["width"], image["height"] = str(width), str(height)
    image["alt"] = image.get("alt", "")


def is_number(text: str) -> bool:
    return len(text) < 100 and bool(_NUMBER.fullmatch(text.strip()))  # its time grows with the square of the length


def _table(soup: BeautifulSoup, table: Tag) -> None:
    """Numbers to the right, and a frame that scrolls sideways on a narrow screen."""
    for name in ("border", "cellpadding", "cellspacing"):
        table.attrs.pop(name, None)
    body = [row.find_all(["td", "th"], recursive=False) for row in table.find_all("tr") if row.find("td")]
    head = [row.find_all("th", recursive=False) for row in table.find_all("tr") if not row.find("td")]
    for row in table.find_all("tr"):
        row.attrs.pop("style", None)
    columns: dict[int, list[str]] = {}  # counted from the right: a sparse row header drops cells on the left
    for cells in body:
        for column, cell in enumerate(reversed(cells)):
            if cell.name == "td":
                columns.setdefault(column, []).append(cell.get_text(strip=True))
    numeric = {
        column
        for column, texts in columns.items()
        if any(map(is_number, texts)) and all(is_number(text) or text in _EMPTY for text in texts)
    }
    for cells in body:
        for column, cell in enumerate(reversed(cells)):
            if cell.name == "td" and column in numeric:
                _add_class(cell, "number")
    for cells in head:
        column = 0
        for cell in reversed(cells):
            width = int(found) if re.fullmatch("[0-9]{1,3}", found := str(cell.get("colspan", ""))) else 1
            if width > 1:
                _add_class(cell, "span")
            elif column in numeric:
                _add_class(cell, "number")
            column += width
    frame = soup.new_tag("div", attrs={"class": "table", "tabindex": "0", "role": "group", "aria-label": "table"})
    table.wrap(frame)


def _add_class(element: Tag, name: str) -> None:
    element["class"] = [*element.get("class", []), name]
