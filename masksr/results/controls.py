"""One change at a time: masks that differ in a single setting, held against each other.

Against the plain model a mask changes two things at once: how much of the images the discriminator sees, and where. A
control keeps the one and takes away the other, so the difference between a mask and its control is what the paper's
argument speaks of.
"""

from __future__ import annotations

import pandas as pd

from masksr.params import Mask, Params
from masksr.results import evidence


def one_change(params: Params) -> dict[tuple[str, str], str]:
    """Pairs of masks of Table 1, the first an error mask, that differ in one setting: {(mask, other): "k: 2.0"}."""
    pairs: dict[tuple[str, str], str] = {}
    masks = [name for name in params.table1.masks if params.masks[name].kind != "none"]
    for mask in masks:
        if params.masks[mask].kind != "error":
            continue
        for other in masks:
            changed = _changed(params.masks[mask], params.masks[other])
            if len(changed) == 1 and (other, mask) not in pairs:
                pairs[mask, other] = changed[0]
    return pairs


def compare(quality: pd.DataFrame, params: Params, measure: str = "pi") -> pd.DataFrame:
    """``evidence.compare`` of these pairs, with a column ``other is`` that says what the other mask has in its place.

    A family of intervals of its own: all its rows hold together with 95 %.
    """
    pairs = one_change(params)
    table = evidence.compare(quality, params, measure, pairs=list(pairs))
    # Rows run over models, then pairs, then sets.
    named = [change for _ in params.table1.models for change in pairs.values() for _ in params.data.test]
    table.insert(3, "other is", named)
    return table


def note(table: pd.DataFrame) -> str:
    """What stands below the table where it is empty."""
    return "" if len(table) else "No two masks of this profile's Table 1 differ in one setting; `masks_cpu` has such."


def _changed(mask: Mask, other: Mask) -> list[str]:
    """The settings in which ``other`` is another mask, as ``name: value``."""
    mine, theirs = mask.model_dump(), other.model_dump()
    return [f"{key}: {theirs[key]}" for key in mine if mine[key] != theirs[key]]
