"""The Chinese README keeps in step with the English one: sections, commands, tables, links and numbers."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
HEADINGS = re.compile(r"^#+(?= )", re.MULTILINE)


def sections(text: str) -> list[tuple[str, str]]:
    """(heading, what stands under it), without code of languages, whose # are no headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(#+ .*)$", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def commands(text: str) -> list[str]:
    """The lines of code up to a comment, which two spaces precede; of the drawing with arrows the names of files."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    +(\S.*)$", text, flags=re.MULTILINE)
    code = [re.split(r" {2,}", line)[0] for line in lines if line]
    return [" ".join(re.findall(r"[\w<>…/.]*[_…/.►]\S*", line)) if "►" in line else line for line in code]


def links(text: str) -> list[str]:
    return sorted(
        target for target in re.findall(r"\]\(([^)]+)\)", text) if target not in ("README.md", "README.zh.md")
    )


def both(heading: str, other: str) -> str:
    return f"README.md {heading!r} and README.zh.md {other!r} differ; change both"


def test_each_names_the_other_at_its_top() -> None:
    assert "](README.zh.md)" in "".join(ENGLISH.splitlines()[:4])
    assert "](README.md)" in "".join(CHINESE.splitlines()[:4])


def test_they_have_the_same_sections() -> None:
    levels = [HEADINGS.findall("\n".join(heading for heading, _ in sections(text))) for text in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]


def test_each_section_has_the_same_commands_links_tables_and_lists() -> None:
    for (heading, english), (other, chinese) in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        assert commands(english) == commands(chinese), both(heading, other)
        assert links(english) == links(chinese), both(heading, other)
        for mark in (r"^\|", r"^- ", r"^\d+\. "):
            rows = [len(re.findall(mark, text, flags=re.MULTILINE)) for text in (english, chinese)]
            assert rows[0] == rows[1], both(heading, other)


def test_the_code_from_python_is_the_same() -> None:
    assert commands(ENGLISH) == commands(CHINESE)


def test_no_number_and_no_name_of_code_stands_in_one_alone() -> None:
    """Numbers in digits, and what is set as code: a value that changed in one of them shows here."""
    for (heading, english), (other, chinese) in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        numbers, translated = (set(re.findall(r"\d+(?:[.,]\d+)*", text)) for text in (english, chinese))
        assert numbers == translated, f"{both(heading, other)}: {numbers ^ translated}"
        code, translated = (set(re.findall(r"`([^`\n]+)`", text)) for text in (english, chinese))
        assert code == translated, f"{both(heading, other)}: {code ^ translated}"
