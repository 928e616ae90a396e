"""The crops of figure 4 as files: made where the generators run, compared side by side on the page."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from masksr.errors import MasksrError
from masksr.files import write_atomic

if TYPE_CHECKING:
    from masksr.plots import CropRow


class Detail(NamedTuple):
    """One place of one photograph, as every variant shows it."""

    titles: list[str]
    pictures: list[bytes]  # PNG files; LR may be smaller than the others


def save(rows: Sequence[CropRow], titles: Sequence[str], folder: Path) -> None:
    """Write what ``figures.figure4`` draws to ``folder``: ``<row>-<column>.png``, and index.json with the titles."""
    for number, row in enumerate(rows):
        for column, image in enumerate(row.images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG", optimize=True)
            write_atomic(folder / f"{number}-{column}.png", buffer.getvalue())
    index = {"titles": list(titles), "rows": len(rows)}
    write_atomic(folder / "index.json", (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def load(folder: Path) -> list[Detail]:
    """What ``save`` wrote; nothing where there is no such folder. Raises MasksrError where part of it is missing."""
    if not folder.is_dir():
        return []
    try:
        index = json.loads((folder / "index.json").read_bytes())
        titles = [str(title) for title in index["titles"]]
        names = [[f"{row}-{column}.png" for column in range(len(titles))] for row in range(int(index["rows"]))]
        return [Detail(titles, [(folder / name).read_bytes() for name in row]) for row in names]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MasksrError(f"{folder}: not the crops of figure 4 ({error}); `dvc repro figure4` makes them") from None
