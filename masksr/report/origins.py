"""The section on provenance: from which bytes, with which versions, on what, in what time. Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from masksr import provenance
from masksr.files import file_digest
from masksr.paths import Paths
from masksr.report import effort


def section(paths: Paths, joined: bytes, digest: str, made: dict[str, Any], efforts: Sequence[effort.Effort]) -> str:
    """joined, digest: provenance.json and its sha256. made: of ``provenance.made_with``."""
    steps = json.loads(joined)["steps"].values()
    files = {name: sha256 for step in steps for name, sha256 in step["inputs"].items() if name.startswith("data/")}
    trained = {
        name: sha256 for step in steps for name, sha256 in step["outputs"].items() if name.endswith(".safetensors")
    }
    facts = provenance.in_words(made) | {
        "params.yaml, SHA-256": f"`{file_digest(paths.root / 'params.yaml')}`",
        "provenance.json, SHA-256": f"`{digest}`",
    }
    return f"""# Provenance

Every number above can be followed to the bytes it came from: `results/{paths.profile}/provenance.json` names the
inputs and outputs of each step by their SHA-256, and `python -m masksr verify` compares them with the files.

{_table(("what", "value"), facts.items())}
## Data and weights

Of a data set the digest of its pack, of which HR and LR images are part; of weights that of the file.

{_table(("file", "SHA-256"), _short(files))}
The {len(set(trained.values()))} different generators that were trained:

{_table(("file", "SHA-256"), _short(trained))}
## Time and energy

{effort.as_markdown(efforts)}"""


def _short(files: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f"`{sha256[:16]}…`") for name, sha256 in sorted(files.items())]


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|:--|:--|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)]) + "\n"
