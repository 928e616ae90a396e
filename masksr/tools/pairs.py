"""Which HR picture belongs to which SR picture, and how both are cut to one size."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masksr.data.images import modcrop
from masksr.errors import MasksrError

Image = NDArray[np.uint8]
_MOST = 5  # names in an error


def pair(pictures: Sequence[Path], references: Sequence[Path], scale: int) -> dict[Path, Path]:
    """The HR picture of each SR picture, by their names without what stands after the last dot.

    The same name goes first (``cat.jpg`` and ``cat.png``), then the same :func:`plain_name` (``cat_x4`` or ``catSR``
    and ``cat``). A single SR picture and a single HR picture belong together, whatever they are called. Raises
    MasksrError where a picture has no partner, or more than one, and where two of one folder share one.
    """
    if len(pictures) == len(references) == 1:
        return {pictures[0]: references[0]}
    exact, plain = defaultdict(list), defaultdict(list)
    for reference in references:
        exact[reference.stem].append(reference)
        plain[plain_name(reference.stem, scale)].append(reference)
    found, missing, ambiguous = {}, [], []
    for picture in pictures:
        partners = exact.get(picture.stem) or plain.get(plain_name(picture.stem, scale), [])
        if len(partners) == 1:
            found[picture] = partners[0]
        elif partners:
            ambiguous.append(f"{picture} ({', '.join(partner.name for partner in partners)})")
        else:
            missing.append(str(picture))
    if missing:
        known = ", ".join(reference.name for reference in references[:3])
        raise MasksrError(
            f"{_some(missing)}: no HR picture of that name (there are {len(references)}: {known}, …); give both the "
            f"same name, or the SR picture an ending such as _x{scale} or SR"
        )
    if ambiguous:
        raise MasksrError(f"{_some(ambiguous)}: more than one HR picture could be meant; rename or move the others")
    taken: dict[tuple[Path, Path], Path] = {}
    for picture, reference in found.items():
        other = taken.setdefault((picture.parent, reference), picture)
        if other != picture:
            raise MasksrError(f"{other} and {picture} would both be held against {reference.name}; score them apart")
    return found


def plain_name(stem: str, scale: int) -> str:
    """A name without what tells SR, HR and the factor: ``img_001_SRF_4_HR``, ``img_001x4`` and ``img_001-SR`` are
    ``img_001``. In small letters, for some file systems know no others.
    """
    endings = rf"([ _.-](x{scale}|{scale}x|srf[_-]?{scale}|sr|hr|gt|out)|x{scale})$"
    glued = r"(?<=[a-z0-9])(SR|HR|GT)$"  # babySR, but not a word that happens to end so
    before = ""
    while before != stem:
        before = stem
        shorter = re.sub(glued, "", re.sub(endings, "", stem, flags=re.IGNORECASE))
        stem = shorter or stem
    return stem.casefold()


def cut_alike(image: Image, reference: Image, scale: int) -> tuple[Image, Image]:
    """An SR picture and its HR picture, (H, W, 3) uint8 each, in the size in which they are compared.

    HR is cut at the bottom and the right to multiples of ``scale``, as the test sets are; an SR picture of the size
    that HR had before is cut likewise. Raises MasksrError for any other size: nothing is resized or shifted here.
    """
    if min(reference.shape[:2]) < scale:
        raise MasksrError(f"its HR picture has only {_sides(reference)} pixels")
    whole, reference = reference, modcrop(reference, scale)
    if image.shape == whole.shape:
        image = modcrop(image, scale)
    if image.shape == reference.shape:
        return image, reference
    wanted = f"{_sides(reference)}, its HR picture cut to multiples of {scale}"
    lr = tuple(side * scale for side in image.shape[:2]) == reference.shape[:2]
    hint = "; this is the size of the LR picture" if lr else ""
    raise MasksrError(f"has {_sides(image)} pixels and not {wanted}{hint}")


def _sides(image: Image) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
