"""What was measured, written down at once: a JSON with everything and a table in Markdown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from masksr.io import write_atomic


class Findings:
    """Findings in the order in which they are made, in NAME.json and NAME.md, and printed."""

    def __init__(self, name: Path) -> None:
        self.name, self.begin = name, time.monotonic()
        self.list: list[dict[str, Any]] = []

    def add(self, section: str, what: str, passed: bool | None = None, **numbers: Any) -> None:
        """Write down one finding. passed: None where nothing was promised."""
        seconds = round(time.monotonic() - self.begin, 1)
        self.list.append({"section": section, "what": what, "passed": passed, "at s": seconds, **numbers})
        lines = ["| section | what | passed | numbers |", "|:--|:--|:--|:--|", *map(_row, self.list)]
        for ending, text in ((".json", json.dumps(self.list, indent=1, default=str)), (".md", "\n".join(lines))):
            write_atomic(self.name.with_name(self.name.name + ending), (text + "\n").encode())
        print(_row(self.list[-1]), flush=True)

    @property
    def failed(self) -> list[str]:
        return [found["what"] for found in self.list if found["passed"] is False]


def _row(found: dict[str, Any]) -> str:
    """A line of the table: numbers of three digits; lists and texts of many lines stand in the JSON alone."""
    numbers = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
        if name not in ("section", "what", "passed", "at s")
        and not isinstance(value, list | dict)
        and "\n" not in str(value)
    ]
    passed = {None: "", True: "yes", False: "**no**"}[found["passed"]]
    return f"| {found['section']} | {found['what']} | {passed} | {'; '.join(numbers)} |"
