"""The section on provenance: from which bytes, with which versions, on what, in what time. Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from masksr.files import file_digest
from masksr.paths import Paths
from masksr.report import effort


def section(paths: Paths, recorded: dict[str, Any], efforts: Sequence[effort.Effort]) -> str:
    """recorded: what ``provenance.write_provenance`` wrote."""
    made = {name: md5 for stage in recorded["stages"].values() for name, md5 in stage["outs"].items()}
    files = {name: md5 for name, md5 in made.items() if name.startswith("data/")}
    trained = {name: md5 for name, md5 in made.items() if name.startswith("runs/") and name.endswith(".safetensors")}
    facts = recorded["made_with"] | {
        "params.yaml, SHA-256": f"`{file_digest(paths.root / 'params.yaml')}`",
        "provenance.json, SHA-256": f"`{file_digest(paths.results / 'provenance.json')}`",
    }
    return f"""# Provenance

Every number above can be followed to the bytes it came from: `results/{paths.profile}/provenance.json` names the
inputs and outputs of each stage by their MD5, as DVC does, and `python -m masksr verify` compares them with the files.

{_table(("what", "value"), facts.items())}
## Data and weights

Of a folder, which data sets and weights are, the digest that DVC gives it.

{_table(("file", "MD5"), _short(files))}
The {len(set(trained.values()))} different generators that were trained:

{_table(("file", "MD5"), _short(trained))}
## Time and energy

{effort.as_markdown(efforts)}"""


def _short(files: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f"`{md5}`") for name, md5 in sorted(files.items())]


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|:--|:--|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)]) + "\n"
