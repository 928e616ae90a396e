"""The long quality table, one row per image: reading it, and the honest name of its PI."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from masksr.errors import MasksrError
from masksr.quality import labels, measures
from masksr.quality.measures import MEASURES

KEYS = ["model", "mask", "seed", "set", "image"]
COLUMNS = [*KEYS, *MEASURES, "niqe_weights", "ma_weights", "problem"]


def read_quality(files: Iterable[Path | str]) -> pd.DataFrame:
    """The quality tables of all variants as one: a row per image, with ``COLUMNS`` and the further measures of any.

    A table without one of these has NaN there. Raises MasksrError when a file is missing, has other columns or repeats
    an image, and when official and stand-in weights are mixed: such PIs cannot be compared.
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
    try:
        more = [name for name in pd.read_csv(file, nrows=0).columns if name not in COLUMNS]
        more = [name for name in more if name in measures.known()]
        empty = {name: ["", "nan", "NaN"] for name in [*MEASURES, *more]}  # elsewhere an empty cell is an empty text
        table = pd.read_csv(file, dtype=text, keep_default_na=False, na_values=empty)
        if wrong := sorted(set(table.columns) ^ {*COLUMNS, *more}):
            raise ValueError(f"missing or unknown columns: {', '.join(wrong)}")
        return table[[*COLUMNS, *more]].astype(dict.fromkeys([*MEASURES, *more], float) | {"seed": int})
    except ValueError as error:  # pandas' parsers raise kinds of it too
        raise MasksrError(f"{file}: not a quality table ({error}); make it again with `dvc repro`") from None


def check_output(file: Path | None) -> None:
    """Raises MasksrError where a quality table cannot be called that: before the work, not after it."""
    if file is not None and file.is_dir():
        raise MasksrError(f"{file} is a folder; name a file for the table, such as {file / 'quality.csv'}")


def further_measures(quality: pd.DataFrame) -> list[str]:
    """The columns of measures that pyiqa took, in their order."""
    return [name for name in quality.columns if name not in COLUMNS and name in measures.known()]


def weights_used(quality: pd.DataFrame) -> dict[str, str]:
    """``official`` or ``stand-in`` for each half, ``niqe`` and ``ma``: official only where every row is."""
    return {
        half: "official" if set(quality[f"{half}_weights"]) - {""} == {"official"} else "stand-in"
        for half in ("niqe", "ma")
    }


def pi_label(quality: pd.DataFrame) -> str:
    """``PI`` where all of it rests on official weights; else a name that says that it does not."""
    return labels.pi_label(*weights_used(quality).values())


def measure_titles(quality: pd.DataFrame) -> dict[str, str]:
    """The measures and the titles of their columns, which name a stand-in as one, and say of further ones which way is
    better.
    """
    used = weights_used(quality)
    fidelity = {"psnr": "PSNR-Y", "ssim": "SSIM-Y", "rmse": "RMSE"}
    halves = {"niqe": labels.half_label("NIQE", used["niqe"]), "ma": labels.half_label("Ma", used["ma"])}
    further = {name: measures.further_title(name) for name in further_measures(quality)}
    return fidelity | halves | {"pi": pi_label(quality)} | further


def label_note(quality: pd.DataFrame) -> str:
    """Two sentences for captions: which way PI is better, and with which weights it was computed."""
    used = weights_used(quality)
    note = f"{pi_label(quality)}: lower is better. NIQE with {used['niqe']} weights, Ma with {used['ma']} weights"
    return note + ("." if pi_label(quality) == "PI" else ", so not comparable with published values of PI.")
