"""From the files of the runs to the files of ``results/<profile>``: what Table 1 and Figure 5 read and write."""

from __future__ import annotations

import json
from itertools import zip_longest

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pydantic import BaseModel

from masksr import tables
from masksr.files import write_atomic
from masksr.params import Params, Section
from masksr.paths import Paths
from masksr.quality_table import measure_titles, weights_used

_SECTION_NAMES = {"RRDB": "generator", "EDSRSize": "generator", "PESRSize": "generator", "Schedule": "gan"}


def collect_quality(params: Params, paths: Paths) -> pd.DataFrame:
    """The quality tables of every variant of Table 1 and of the ends of the scale, as one."""
    variants = [
        paths.variant(model, mask, seed) / "quality.csv"
        for model in params.table1.models
        for mask in params.table1.masks
        for seed in params.table1.seeds
    ]
    return tables.read_quality([*variants, paths.ends / "quality.csv"])


def collect_sweep(params: Params, paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Figure 5's points (k, b, seed, set, pi), its plain model (seed, set, pi) and what its PI may be called.

    pi is the mean over the images of a set that have one; without_pi counts the others.
    """
    sweep, points = params.sweep, []
    for k, b, seed in ((k, b, seed) for k in sweep.k for b in sweep.b for seed in sweep.seeds):
        quality = tables.read_quality([paths.sweep_point(k, b, seed) / "quality.csv"])
        points.append(_by_set(quality).assign(k=float(k), b=float(b)))
    plain = tables.read_quality([paths.variant(sweep.model, "none", seed) / "quality.csv" for seed in sweep.seeds])
    return pd.concat(points, ignore_index=True), _by_set(plain), tables.pi_label(plain)


def sweep_table(points: pd.DataFrame, plain: pd.DataFrame) -> pd.DataFrame:
    """Figure 5 as a table: the mean PI over sets and seeds of every pair of k and b, and how far it is from plain."""
    by_pair = points.groupby(["k", "b"])
    table = pd.DataFrame({"mean over sets": by_pair["pi"].mean()})
    table["minus plain"] = table["mean over sets"] - plain["pi"].mean()
    return table.assign(without_pi=by_pair["without_pi"].sum()).reset_index()


def shown(table: pd.DataFrame, note: str = "") -> Markdown:
    """A table for a notebook: Markdown, which reads well in Jupyter, on a code host and in the report."""
    return Markdown(tables.to_markdown(table) + (f"\n*{note}*\n" if note else ""))


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
    table = tables.table1(quality, params)
    caption = f"Mean over each test set; profile {params.profile}. {tables.label_note(quality)}"
    _write(
        paths,
        {
            "quality.csv": quality.to_csv(index=False),
            "table1.csv": tables.to_csv(table),
            "table1.md": f"{tables.to_markdown(table)}\n{caption}\n",
            "table1.tex": tables.to_latex(table, caption=caption, label="tab:table1"),
            "metrics.json": json.dumps(tables.metrics(quality, params), indent=2) + "\n",
        },
    )


def write_figure5(points: pd.DataFrame, plain: pd.DataFrame, label: str, figure: Figure, paths: Paths) -> None:
    """Write figure5.csv (the plain model has no k and b) and figure5.png, and say where."""
    table = pd.concat([plain.assign(k=None, b=None), points]).assign(metric=label)
    _write(paths, {"figure5.csv": table[["k", "b", "seed", "set", "metric", "pi", "without_pi"]].to_csv(index=False)})
    write_figure(figure, "figure5.png", paths)


def write_figure(figure: Figure, name: str, paths: Paths) -> None:
    """Write a figure to the results and say where. The same figure gives the same bytes."""
    path = paths.results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    print("wrote", path.relative_to(paths.root).as_posix())


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
