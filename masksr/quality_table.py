"""The long quality table, one row per image: reading it, and the honest name of its PI."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from masksr import labels
from masksr.errors import MasksrError

KEYS = ["model", "mask", "seed", "set", "image"]
MEASURES = ["niqe", "ma", "pi", "psnr", "ssim", "rmse"]
COLUMNS = [*KEYS, *MEASURES, "niqe_weights", "ma_weights", "problem"]


def read_quality(files: Iterable[Path | str]) -> pd.DataFrame:
    """The quality tables of all variants as one: a row per image, with ``COLUMNS``.

    Raises MasksrError when a file is missing, has other columns or repeats an image, and when official and stand-in
    weights are mixed: such PIs cannot be compared.
    """
    parts = [_read(Path(file)) for file in files]
    if not parts:
        raise MasksrError("there are no quality tables to read; run `dvc repro`")
    quality = pd.concat(parts, ignore_index=True)
    if quality.duplicated(KEYS).any():
        twice = quality[quality.duplicated(KEYS)].iloc[0]
        raise MasksrError(f"the quality tables measure this twice: {', '.join(f'{k} {twice[k]}' for k in KEYS)}")
    for half in ("niqe_weights", "ma_weights"):
        if len(kinds := set(quality[half]) - {""}) > 1:
            raise MasksrError(f"{half}: {' and '.join(sorted(kinds))} are mixed; run `dvc repro` to measure all alike")
    return quality


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise MasksrError(f"{file}: there is no such quality table; `dvc repro` makes it")
    text = dict.fromkeys(["model", "mask", "set", "image", "niqe_weights", "ma_weights", "problem"], str)
    empty = {name: ["", "nan", "NaN"] for name in MEASURES}  # elsewhere an empty cell is an empty text
    try:
        table = pd.read_csv(file, dtype=text, keep_default_na=False, na_values=empty)
        if wrong := sorted(set(table.columns) ^ set(COLUMNS)):
            raise ValueError(f"missing or unknown columns: {', '.join(wrong)}")
        return table[COLUMNS].astype(dict.fromkeys(MEASURES, float) | {"seed": int})
    except ValueError as error:  # pandas' parsers raise kinds of it too
        raise MasksrError(f"{file}: not a quality table ({error}); make it again with `dvc repro`") from None


def is_official(quality: pd.DataFrame, half: str) -> bool:
    """Whether every row of ``half``, ``niqe`` or ``ma``, was computed with the official weights."""
    return set(quality[f"{half}_weights"]) - {""} == {"official"}


def pi_label(quality: pd.DataFrame) -> str:
    """``PI`` where all of it rests on official weights; else a name that says that it does not."""
    return labels.pi_label(*("official" if is_official(quality, half) else "stand-in" for half in ("niqe", "ma")))


def label_note(quality: pd.DataFrame) -> str:
    """Two sentences for captions: which way PI is better, and with which weights it was computed."""
    kind = {half: "official" if is_official(quality, half) else "stand-in" for half in ("niqe", "ma")}
    note = f"{pi_label(quality)}: lower is better. NIQE with {kind['niqe']} weights, Ma with {kind['ma']} weights"
    return note + ("." if pi_label(quality) == "PI" else ", so not comparable with published values of PI.")
