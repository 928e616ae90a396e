"""The manifest of a pack, read: nothing in it may lead out of the pack's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masksr.documents import read_json
from masksr.errors import MasksrError

FORMAT = 2  # raise it when older packs can no longer be read
SCALE = 4  # sides of HR are multiples of it

Side = Annotated[int, Field(gt=0, lt=1 << 20, multiple_of=SCALE)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Image(BaseModel):
    model_config = ConfigDict(strict=True)

    name: Annotated[str, Field(min_length=1)]
    height: Side
    width: Side
    offset: Annotated[int, Field(ge=0)]
    lr: dict[str, int | Literal["masksr"]]
    sha256: dict[str, Sha256]


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True)

    set: str
    title: str
    scales: Annotated[list[Literal[2, 4]], Field(min_length=1, max_length=2)]
    images: Annotated[list[_Image], Field(min_length=1)]


def read_manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json`` of a pack. The images lie one after the other, from 0, and have a checksum for every scale.

    Raises MasksrError for anything else.
    """
    path = folder / "manifest.json"
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise MasksrError(f"{folder}: no pack is here (manifest.json is missing); build it first") from None
    except MasksrError as error:
        raise MasksrError(f"{error}; build the pack again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise MasksrError(f"{path}: not a manifest of format {FORMAT}; build the pack again")
    try:
        checked = _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        raise MasksrError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; build the pack again") from None
    offset, keys = 0, {"hr", *(f"lr_x{scale}" for scale in checked.scales)}
    for image in checked.images:
        if image.offset != offset or image.sha256.keys() != keys or image.lr.keys() != keys - {"hr"}:
            raise MasksrError(f"{path}: {image.name!a} does not fit the others; build the pack again")
        offset += 3 * image.height * image.width
    return manifest
