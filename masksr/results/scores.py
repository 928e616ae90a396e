"""The long table of scores, one row per image: reading it, the honest name of its PI, and its means."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from masksr.io import MasksrError, write_atomic
from masksr.quality import measures
from masksr.quality.measures import MEASURES
from masksr.results.typeset import to_markdown

KEYS = ["model", "mask", "seed", "set", "image"]
COLUMNS = [*KEYS, *MEASURES, "niqe_weights", "ma_weights", "problem"]
TEXTS = ["model", "mask", "set", "image", "niqe_weights", "ma_weights", "problem"]
ENDS = ("bicubic", "HR")  # models that are not trained: they differ only where the pictures or the weights do


def read_quality(files: Iterable[Path | str]) -> pd.DataFrame:
    """Read quality tables as one: a row per image, with ``COLUMNS`` and every further measure of any table.

    Tables that lack one have NaN there. Raises MasksrError when a file is missing, has other columns or
    repeats an image, and when official and stand-in weights are mixed: such PIs cannot be compared.
    """
    quality = pd.concat([_read(Path(file)) for file in files], ignore_index=True)
    twice = quality[quality.duplicated(KEYS)]
    if len(twice):
        raise MasksrError(f"the quality tables measure this twice: {dict(twice.iloc[0][KEYS])}")
    for half in ("niqe_weights", "ma_weights"):
        kinds = sorted(set(quality[half]) - {""})
        if len(kinds) > 1:
            raise MasksrError(f"{half}: {' and '.join(kinds)} are mixed; `dvc repro` measures all alike")
    return quality


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise MasksrError(f"{file}: there is no such quality table; `dvc repro` makes it")
    try:
        if not file.read_bytes().endswith(b"\n"):
            raise ValueError("its last line is cut short")
        more = further_measures(pd.read_csv(file, nrows=0))
        numbers = [*MEASURES, *more]
        empty = {name: ["", "nan", "NaN"] for name in numbers}  # elsewhere an empty cell is an empty string
        table = pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=empty)
        if wrong := sorted(set(table.columns) ^ {*COLUMNS, *more}):
            raise ValueError(f"missing or unknown columns: {', '.join(wrong)}")
        return table[[*COLUMNS, *more]].astype(dict.fromkeys(numbers, float) | {"seed": int})
    except (ValueError, OverflowError) as error:  # pandas' parsers raise subclasses of them
        raise MasksrError(f"{file}: not a quality table ({error}); make it again with `dvc repro`") from None


def write_quality(table: pd.DataFrame, path: Path) -> None:
    """Write a quality table as CSV, with ten digits."""
    write_atomic(path, table.to_csv(index=False, float_format="%.10g").encode())


def further_measures(quality: pd.DataFrame) -> list[str]:
    """List the columns of pyiqa's further measures, in their order."""
    return [name for name in quality.columns if name not in COLUMNS and name in measures.known()]


def weights_used(quality: pd.DataFrame) -> dict[str, str]:
    """Return ``official`` or ``stand-in`` for each half, ``niqe`` and ``ma``: official if every row is."""
    kinds = {half: set(quality[f"{half}_weights"]) - {""} for half in ("niqe", "ma")}
    return {half: "official" if kind == {"official"} else "stand-in" for half, kind in kinds.items()}


def pi_label(quality: pd.DataFrame) -> str:
    """Return ``PI`` where all of it rests on official weights, else a name that says that it does not."""
    return measures.pi_label(*weights_used(quality).values())


def measure_titles(quality: pd.DataFrame) -> dict[str, str]:
    """Return the title of each measure, which labels stand-ins and says which way a further one is better."""
    used = weights_used(quality)
    titles = {"psnr": "PSNR-Y", "ssim": "SSIM-Y", "rmse": "RMSE"}
    titles |= {"niqe": measures.half_label("NIQE", used["niqe"]), "ma": measures.half_label("Ma", used["ma"])}
    titles["pi"] = pi_label(quality)
    return titles | {name: measures.further_title(name) for name in further_measures(quality)}


def label_note(quality: pd.DataFrame) -> str:
    """Return two sentences for captions: which way PI is better, and with which weights it was computed."""
    used, label = weights_used(quality), pi_label(quality)
    note = f"{label}: lower is better. NIQE with {used['niqe']} weights, Ma with {used['ma']} weights"
    return note + ("." if label == "PI" else ", so not comparable with published values of PI.")


def summarize(quality: pd.DataFrame, model_title: str = "model") -> str:
    """Return means over each set, and over several sets, as a Markdown table with a note on its PI.

    quality: with ``COLUMNS``; a measure that was never taken gets no column. model_title: heads the models.
    """
    fidelity = ["psnr", "ssim", "rmse", *further_measures(quality)]
    names = ["pi", "niqe", "ma", *(name for name in fidelity if quality[name].notna().any())]
    groups = quality.groupby(["model", "set"], sort=False)
    means = groups[names].mean().assign(images=groups.size(), without_pi=groups.size() - groups["pi"].count())
    rows = []
    for model, by_set in means.groupby("model", sort=False):
        title = model if model in ENDS else f"`{model}`"  # file names have underscores
        rows += by_set.reset_index().assign(model=title).to_dict("records")
        if len(by_set) > 1:  # sets count equally; one without any PI leaves no mean
            mean, total = by_set[names].mean(skipna=False), by_set[["images", "without_pi"]].sum()
            rows.append({"model": title, "set": "mean of sets", **mean, **total})
    table = pd.DataFrame(rows)[["model", "set", "images", *names, "without_pi"]]
    titles = measure_titles(quality) | {"model": model_title}
    return f"{to_markdown(table.rename(columns=titles))}\n{label_note(quality)}"
