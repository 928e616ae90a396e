"""The stages that are killed, each as small as it can be while all its parts are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
import torch

from masksr import files
from masksr.fetch.sets import build_pack
from masksr.models.build import build_generator, save_generator
from masksr.params import Params
from masksr.paths import Paths
from masksr.quality.forest import one_leaf
from masksr.quality.ma import MaModel
from masksr.quality.matfiles import write_ma, write_niqe
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import MA, NIQE, RECORD
from masksr.report.notebooks import Section
from masksr.report.page import build_report
from masksr.results.evaluate import evaluate_generator
from masksr.tools.weights import prepare_vgg19
from masksr.training import checkpoints
from masksr.training import train as training
from tests.test_training import small

CPU = torch.device("cpu")


class Work(NamedTuple):
    """Something to be killed: what it needs, what it does, and what must be there, bit by bit, when it is done."""

    name: str
    prepare: Callable[[Path], object]
    do: Callable[[Path], object]
    results: Callable[[Path], dict[str, bytes]]


def params(**train) -> Params:
    return small(**{"steps_per_epoch": 10, "validate_every": 10, "ema": 0.9} | train)


def prepare_training(folder: Path) -> None:
    """Packs, VGG19 and the starts of all models."""
    paths = Paths(folder, "mini")
    for name in (params().data.train, params().data.validation):
        build_pack(name, paths.set(name))
    prepare_vgg19(params(), paths)
    training.train_start(params(), "esrgan", 0, paths)
    (folder / "out").mkdir()


def train_gan(folder: Path) -> None:
    """An adversarial training with everything a checkpoint can hold: two networks, EMA, random mask."""
    settings = params()
    training.train_gan(settings, "esrgan", settings.masks["shuffled"], 0, Paths(folder, "mini"), folder / "out")


def train_start(folder: Path) -> None:
    """A training of two phases, at x2 and x4, of which the second takes over the network of the first."""
    training.train_start(params(), "edsr", 0, Paths(folder, "mini"))


def trained(folder: Path) -> dict[str, bytes]:
    """Weights, and history and record without what is measured with a clock."""
    found = {}
    for out in (folder / "out", Paths(folder, "mini").start("edsr", 0)):
        if (path := out / "generator.safetensors").exists():
            found[f"{out.name}/weights"] = path.read_bytes()
        if (out / "history.csv").exists():
            table = training.read_history(out).drop(columns="images_per_s")
            found[f"{out.name}/history"] = table.to_csv().encode()
        if (out / "training.json").exists():
            record = json.loads((out / "training.json").read_text())
            clocked = ("seconds_since_last_start", "history")
            found[f"{out.name}/record"] = json.dumps({k: v for k, v in record.items() if k not in clocked}).encode()
    return found


def checkpointing(folder: Path) -> None:
    """Nothing but steps and checkpoints of a megabyte. It notes each one that was finished."""
    state = checkpoints.load_last(folder / "out", CPU) or {"step": 0, "x": torch.arange(250_000.0)}
    noted = folder / "finished.txt"
    promised = int(noted.read_text().split()[-1]) if noted.exists() else 0
    assert state["step"] >= promised, f"checkpoint {promised} was finished, but {state['step']} came back"
    for step in range(state["step"], 30):
        state = {"step": step + 1, "x": state["x"] * 1.01 + step}
        checkpoints.save(folder / "out", step + 1, state)
        with open(noted, "a") as file:
            file.write(f"{step + 1}\n")
    files.write_atomic(folder / "out/x.bin", state["x"].numpy().tobytes())


def packing(folder: Path) -> None:
    build_pack("photographs", folder / "sets/photographs")


def prepare_evaluation(folder: Path) -> None:
    """Packs, a network with random weights and quality weights that need no fitting."""
    paths, settings = Paths(folder, "mini"), params()
    build_pack("cat", paths.set("cat"))
    size = settings.models["edsr"].generator
    save_generator(build_generator(size, 4, seed=0), size, folder / "out/generator.safetensors")
    quality = paths.weights / "quality"
    quality.mkdir(parents=True)
    write_niqe(quality / NIQE.file, NiqeModel(np.zeros(36), np.eye(36)))
    write_ma(quality / MA.file, MaModel((one_leaf(4.0), one_leaf(5.0), one_leaf(6.0)), np.array([0.1, 0.2, 0.3, 0.4])))
    record = {
        half.name: {"file": half.file, "sha256": files.file_digest(quality / half.file), "source": "stand-in"}
        for half in (NIQE, MA)
    }
    (quality / RECORD).write_text(json.dumps(record))


def evaluate(folder: Path) -> None:
    """The two images of one test set."""
    settings = params()
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"test": ["cat"]})})
    evaluate_generator(settings, Paths(folder, "mini"), folder / "out", "edsr", "none", 0)


def prepare_report(folder: Path) -> None:
    """Executed notebooks with text, tables, formulas and pictures."""
    rng, folder = np.random.default_rng(0), folder / "executed"
    folder.mkdir(parents=True)
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
    for number in range(6):
        rows = "".join(f"<tr><td>{a}</td><td>{b:.3f}</td></tr>" for a, b in enumerate(rng.random(60)))
        outputs = [
            nbformat.v4.new_output("display_data", {"text/html": f"<table>{rows}</table>"}),
            nbformat.v4.new_output("display_data", {"image/png": picture}),
        ]
        text = f"# Section {number}\n\n" + "Text with $k e + b$ in it.\n\n" * 10
        cells = [
            nbformat.v4.new_markdown_cell(text, id=f"text{number}"),
            nbformat.v4.new_code_cell("show()", outputs=outputs, execution_count=1, id=f"code{number}"),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"n{number}.ipynb")


def report(folder: Path) -> None:
    sections = [Section(path) for path in sorted((folder / "executed").glob("*.ipynb"))]
    build_report(sections, folder / "out/report.html", title="T", subtitle="S", facts={"Profile": "tiny"})


def one_file(name: str) -> Callable[[Path], dict[str, bytes]]:
    return lambda folder: {path.name: path.read_bytes() for path in folder.glob(f"out/{name}")}


def pack_files(folder: Path) -> dict[str, bytes]:
    """All files in the place of the pack, so that a foreign one would be noticed."""
    pack = folder / "sets/photographs"
    return {path.relative_to(pack).as_posix(): path.read_bytes() for path in sorted(pack.rglob("*")) if path.is_file()}


WORKS = (
    Work("training (GAN)", prepare_training, train_gan, trained),
    Work("training (start)", prepare_training, train_start, trained),
    Work("checkpoint", Path.mkdir, checkpointing, one_file("x.bin")),
    Work("packing", Path.mkdir, packing, pack_files),
    Work("evaluation", prepare_evaluation, evaluate, one_file("quality.csv")),
    Work("report", prepare_report, report, one_file("report.html")),
)
