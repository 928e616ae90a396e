"""From the files of the runs to the files of ``results/<profile>``: what Table 1 and Figure 5 read and write."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import product, zip_longest
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from pydantic import BaseModel

from masksr.files import write_atomic
from masksr.params import Params, Section
from masksr.paths import Paths
from masksr.quality.measures import known, lower_is_better
from masksr.results import evidence, records, tables
from masksr.results.quality_table import further_measures, measure_titles, weights_used

_SECTION_NAMES = {"RRDB": "generator", "EDSRSize": "generator", "PESRSize": "generator", "Schedule": "gan"}


def collect_quality(params: Params, paths: Paths) -> pd.DataFrame:
    """The quality tables of every variant of Table 1 and of the ends of the scale, as one."""
    return tables.read_quality(_of_table1(params, paths))


def collect_sweep(params: Params, paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Figure 5's points (k, b, seed, set, pi), its plain model (seed, set, pi) and what its PI may be called.

    pi is the mean over the images of a set that have one; without_pi counts the others.
    """
    points = []
    for k, b, seed in _pairs(params):
        quality = tables.read_quality([paths.sweep_point(k, b, seed) / "quality.csv"])
        points.append(_by_set(quality).assign(k=float(k), b=float(b)))
    plain = tables.read_quality(_of_plain(params, paths))
    return pd.concat(points, ignore_index=True), _by_set(plain), tables.pi_label(plain)


def sweep_differences(params: Params, paths: Paths) -> dict[tuple[float, float], pd.DataFrame]:
    """(k, b) -> PI of that point minus PI of the plain model, image by image: (seeds, images of all test sets).

    NaN where an image has no PI on either side.
    """
    sweep = params.sweep

    def grid(files: list[Path]) -> pd.DataFrame:
        quality = tables.read_quality(files)
        quality = quality[quality["set"].isin(params.data.test)]
        return quality.pivot(index="seed", columns=["set", "image"], values="pi").loc[sweep.seeds]

    plain = grid([paths.variant(sweep.model, "none", seed) / "quality.csv" for seed in sweep.seeds])
    return {
        (float(k), float(b)): grid([paths.sweep_point(k, b, seed) / "quality.csv" for seed in sweep.seeds]) - plain
        for k in sweep.k
        for b in sweep.b
    }


def sweep_table(points: pd.DataFrame, differences: dict[tuple[float, float], pd.DataFrame]) -> pd.DataFrame:
    """Figure 5 as a table: the mean PI over sets and seeds of every pair of k and b, and how far it is from plain.

    differences: of ``sweep_differences``. An image without PI on one side counts on neither: where a mask fails on the
    hard images, their loss is no gain.
    """
    by_pair = points.groupby(["k", "b"])
    table = pd.DataFrame({"mean over sets": by_pair["pi"].mean()})
    means = {pair: d.T.groupby(level="set").mean().mean().mean() for pair, d in differences.items()}
    table["minus plain"] = pd.Series(means)  # by k and b
    return table.assign(without_pi=by_pair["without_pi"].sum()).reset_index()


def read_table1_quality(paths: Paths) -> pd.DataFrame:
    """What Table 1 was made from, as it wrote it: a row per variant, seed and image."""
    return tables.read_quality([paths.results / "quality.csv"])


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """``evidence.compare`` for reading: the interval and the bootstrap's in a cell each."""
    if effects.empty:
        return effects

    bounds = effects[["low", "high", "bootstrap_low", "bootstrap_high"]].abs().max(axis=None)
    digits = 4 if bounds < 0.1 else 2  # of LPIPS a hundredth is much

    def between(low: str, high: str) -> list[str]:
        pairs = zip(effects[low], effects[high], strict=True)  # with spaces that do not break
        texts = (f"{a:+.{digits}f}\u00a0…\u00a0{b:+.{digits}f}".replace("-", "−") for a, b in pairs)  # noqa: RUF001
        return ["—" if math.isnan(a) else text for a, text in zip(effects[low], texts, strict=True)]

    columns = {key: effects[key] for key in ("variant", "other is", "set") if key in effects}
    columns |= {effects["metric"].iloc[0]: effects["difference"]}
    columns |= {"interval": between("low", "high"), "bootstrap": between("bootstrap_low", "bootstrap_high")}
    columns |= {"seeds": effects["seeds"], "images": effects["images"]}
    if effects["without"].any():
        columns |= {"left out": effects["without"]}
    if (effects["trainings"] != effects["verdict"]).any():
        columns |= {"these trainings": effects["trainings"]}
    return pd.DataFrame(columns | {"verdict": effects["verdict"]})


def further_effects(quality: pd.DataFrame, params: Params) -> Markdown:
    """Mask minus plain by each further measure: a table for each, or a sentence where none was taken."""
    parts = []
    for name in further_measures(quality):
        title, sign = measure_titles(quality)[name], "negative" if lower_is_better(name) else "positive"
        how = "compared with HR" if known()[name].compares else "without a look at HR"
        note = f"{title} ({how}): {sign} is better. A family of intervals of its own."
        parts.append(shown(effects_table(evidence.compare(quality, params, name)), note).data)
    return Markdown("\n".join(parts) or "No further measures were taken: `measures.also` in params.yaml is empty.")


def shown(table: pd.DataFrame, note: str = "") -> Markdown:
    """A table for a notebook: Markdown, which reads well in Jupyter, on a code host and in the report.

    Of a table without rows only the note is shown, which says why there are none.
    """
    return Markdown((tables.to_markdown(table) if len(table) or not note else "") + (f"\n*{note}*\n" if note else ""))


def official_half(quality: pd.DataFrame, params: Params) -> Markdown:
    """Where one half of PI is official and the other a stand-in: the table of the half that can be compared."""
    official = [half for half, kind in weights_used(quality).items() if kind == "official"]
    if len(official) != 1:
        which = "Both halves of PI were" if official else "Neither half of PI was"
        return Markdown(f"{which} computed with official weights: there is no half to tell apart.")
    (half,) = official
    better = {"niqe": "lower", "ma": "higher"}[half]
    note = f"{measure_titles(quality)[half]} alone, with its official weights: {better} is better."
    return shown(tables.table1(quality, params, half), note)


def settings_table(*sections: Section) -> Markdown:
    """What stands in ``params.yaml`` for a training, one column for each section."""
    columns = [[f"`{name}` {_value(value)}" for name, value in section] for section in sections]
    names = [_SECTION_NAMES.get(type(section).__name__, type(section).__name__.lower()) for section in sections]
    rows = zip_longest(*columns, fillvalue="")
    return Markdown("\n".join(["| " + " | ".join(row) + " |" for row in [names, [":--"] * len(names), *rows]]))


def by_set(quality: pd.DataFrame) -> Markdown:
    """The mean of every measure over the images of each set, for whoever stands in ``quality``."""
    titles = measure_titles(quality)
    keys = ["model", "mask", "set"] if quality["model"].nunique() > 1 else ["set"]
    means = quality.groupby(keys, sort=False)[list(titles)].mean().reset_index()
    failed = quality["pi"].isna().sum()
    text = tables.to_markdown(means.rename(columns=titles))
    return Markdown(f"{text}\n{tables.label_note(quality)}" + (f" {failed} images have no PI." if failed else ""))


def write_table1(quality: pd.DataFrame, params: Params, paths: Paths) -> None:
    """Write quality.csv, Table 1 as CSV, Markdown and LaTeX, and metrics.json, and say where."""
    files = table1_files(quality, params)
    _write(paths, files)
    records.write_result("table1", paths, _of_table1(params, paths), files)


def table1_files(quality: pd.DataFrame, params: Params) -> dict[str, str]:
    """The names and contents of what ``write_table1`` writes. The same scores give the same bytes."""
    table = tables.table1(quality, params)
    caption = f"Mean over each test set; profile {params.profile}. {tables.label_note(quality)}"
    return {
        "quality.csv": quality.to_csv(index=False),
        "table1.csv": tables.to_csv(table),
        "table1.md": f"{tables.to_markdown(table)}\n{caption}\n",
        "table1.tex": tables.to_latex(table, caption=caption, label="tab:table1"),
        "metrics.json": json.dumps(tables.metrics(quality, params), indent=2) + "\n",
    }


def record_figure4(params: Params, paths: Paths) -> None:
    """Record what figure4 and figure4_maps were made from."""
    variants = product(params.table1.models, params.table1.masks, params.table1.seeds[:1])
    generators = [paths.variant(*names) / "generator.safetensors" for names in variants]
    packs = [paths.set(name) for name in params.data.test]  # all of them: the rules look at all
    files = [f"{name}.{kind}" for name in ("figure4", "figure4_maps") for kind in ("png", "svg")]
    records.write_result("figure4", paths, generators + packs, files)


def write_evidence(
    effects: pd.DataFrame, changes: pd.DataFrame, verdicts: pd.DataFrame, params: Params, paths: Paths
) -> None:
    """Write evidence.csv (every cell of Table 1, mask minus plain), controls.csv and claims.csv, and say where."""
    text, controls = (table.to_csv(index=False, float_format="%.6g") for table in (effects, changes))
    made = {"evidence.csv": text, "controls.csv": controls, "claims.csv": verdicts.to_csv(index=False)}
    _write(paths, made)
    read = [paths.results / "quality.csv", paths.results / "argument.json", *_of_figure5(params, paths)]
    records.write_result("evidence", paths, read, made)


def write_figure5(
    points: pd.DataFrame,
    plain: pd.DataFrame,
    label: str,
    intervals: pd.DataFrame,
    params: Params,
    paths: Paths,
) -> None:
    """Write figure5.csv (the plain model has no k and b) and its bands, and say where; record them and figure5."""
    table = pd.concat([plain.assign(k=None, b=None), points]).assign(metric=label)
    made = {
        "figure5.csv": table[["k", "b", "seed", "set", "metric", "pi", "without_pi"]].to_csv(index=False),
        "figure5_intervals.csv": intervals.assign(metric=label).to_csv(index=False, float_format="%.6g"),
    }
    _write(paths, made)
    figures = ["figure5.png", "figure5.svg", "figure5_map.png", "figure5_map.svg"]
    records.write_result("figure5", paths, _of_figure5(params, paths), [*made, *figures])


def _of_table1(params: Params, paths: Paths) -> list[Path]:
    variants = product(params.table1.models, params.table1.masks, params.table1.seeds)
    return [*(paths.variant(*names) / "quality.csv" for names in variants), paths.ends / "quality.csv"]


def _of_plain(params: Params, paths: Paths) -> list[Path]:
    return [paths.variant(params.sweep.model, "none", seed) / "quality.csv" for seed in params.sweep.seeds]


def _of_figure5(params: Params, paths: Paths) -> list[Path]:
    return [paths.sweep_point(*pair) / "quality.csv" for pair in _pairs(params)] + _of_plain(params, paths)


def _pairs(params: Params) -> Iterator[tuple[float, float, int]]:
    return product(params.sweep.k, params.sweep.b, params.sweep.seeds)


def _value(value: object) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_set(quality: pd.DataFrame) -> pd.DataFrame:
    pi = quality.groupby(["seed", "set"], sort=False)["pi"]
    return pd.DataFrame({"pi": pi.mean(), "without_pi": pi.size() - pi.count()}).reset_index()


def _write(paths: Paths, files: dict[str, str]) -> None:
    for name, text in files.items():
        write_atomic(paths.results / name, text.encode())
        print("wrote", (paths.results / name).relative_to(paths.root).as_posix())
