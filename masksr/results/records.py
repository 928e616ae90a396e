"""What was made from what: a record beside each result, and all records of a profile joined for git.

A record names files by their place in the project and gives the sha256 of each (of a pack: its digest):

    {"inputs": {"runs/mini/start/esrgan-s0/generator.safetensors": "5b1f…", …}, "outputs": {…}}

training.json says it of a training, evaluation.json of a quality.csv, ``runs/<profile>/records`` of tables and figures.
``results/<profile>/provenance.json`` holds copies of all of them, so what git keeps names every byte it rests on, also
where the weights are not at hand. On one machine it is the same in every run; what is not (commit, hardware) stands in
``results/<profile>/report.json``, which comes and goes with the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import masksr
from masksr.errors import MasksrError
from masksr.files import file_digest, write_atomic
from masksr.params import Params
from masksr.paths import Paths

FORMAT = 1
NOTEBOOKS = "notebooks"  # the one step of provenance.json that has no record of its own
# The notebooks that write to results/<profile>, with a record.
RESULTS = ("argument", "table1", "evidence", "figure4", "figure5", "mask")
Record = dict[str, Any]


def digest(path: Path) -> str:
    """sha256 of a file; of a pack, ``Pack.digest``. Raises MasksrError where nothing is there."""
    if path.is_dir():
        from masksr.data.packs import Pack  # here: numpy and Pillow

        return Pack(path).digest
    if not path.is_file():
        raise MasksrError(f"{path} does not exist; `dvc repro` makes it")
    return file_digest(path)


def digests(paths: Paths, files: Iterable[Path]) -> dict[str, str]:
    """Names in the project and digests of files and packs: the inputs or outputs of a record."""
    return {_name(paths, file): digest(file) for file in files}


def code_digest(*patterns: str) -> str:
    """sha256 of modules of this package, by patterns such as ``quality/**/*.py``: names and contents."""
    total, folder = hashlib.sha256(), Path(masksr.__file__).parent
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def write(file: Path, inputs: dict[str, str], outputs: dict[str, str], **facts: Any) -> None:
    """Write a record. Take the digests of inputs before the work: a file may be replaced while it goes on."""
    write_atomic(file, _json({"inputs": inputs, "outputs": outputs} | facts))


def write_result(name: str, paths: Paths, inputs: Iterable[Path], made: Iterable[str]) -> None:
    """The record of files of ``results/<profile>``, as ``runs/<profile>/records/<name>.json``.

    Digests are taken here, after seconds of work: what a notebook of results reads, other stages have finished.
    """
    outputs = digests(paths, (paths.results / file for file in made))
    write(paths.records / f"{name}.json", digests(paths, inputs), outputs)


def read(file: Path) -> Record:
    """Raises MasksrError where there is no record, or something else."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MasksrError(f"{file}: this record does not exist; `dvc repro` makes it") from None
    except (OSError, ValueError) as error:
        raise MasksrError(f"{file}: cannot be read ({error}); `dvc repro` makes it anew") from None
    if not isinstance(record, dict):
        raise MasksrError(f"{file}: not a record; `dvc repro` makes it anew")
    return record


def read_step(file: Path) -> Record:
    """A record with inputs and outputs. Raises MasksrError where there is none."""
    return checked(read(file), file)


def checked(step: Record, where: Path) -> Record:
    """``step`` itself. Raises MasksrError, which names ``where``, if it does not name files of the project."""
    named = [step.get(key) if isinstance(step, dict) else None for key in ("inputs", "outputs")]
    if not all(isinstance(files, dict) and all(map(_is_entry, files.items())) for files in named):
        raise MasksrError(f"{where}: not a record of inputs and outputs; `dvc repro` makes it anew")
    return step


def _is_entry(entry: tuple[str, Any]) -> bool:
    file = PurePosixPath(entry[0])
    return isinstance(entry[1], str) and not file.is_absolute() and ".." not in file.parts


def join(params: Params, paths: Paths) -> bytes:
    """The content of provenance.json: the parameters and every record of the profile, copied and not made anew.

    Raises MasksrError where a record is missing.
    """
    steps: dict[str, Record] = {}
    for folder, model, seed in trainings(params, paths):
        steps[_name(paths, folder / "training.json")] = _training(params, paths, folder, model, seed)
    for folder in _evaluations(params, paths):
        steps[_name(paths, folder / "evaluation.json")] = read_step(folder / "evaluation.json")
    shown: dict[str, str] = {}
    for name in RESULTS:
        record = steps[_name(paths, paths.records / f"{name}.json")] = read_step(paths.records / f"{name}.json")
        shown |= record["outputs"]
    notebooks = digests(paths, (paths.results / f"{name}.ipynb" for name in ("idea", *RESULTS, "questions")))
    steps[NOTEBOOKS] = {"inputs": shown, "outputs": notebooks}
    return _json({"format": FORMAT, "profile": params.profile, "params": parameters(params), "steps": steps})


def parameters(params: Params) -> Record:
    """The parameters as provenance.json has them: without the folder of data and the sizes of machines."""
    values = params.model_dump(mode="json")
    del values["data"]["local"], values["cluster"]
    return values


def trainings(params: Params, paths: Paths) -> Iterator[tuple[Path, str, int]]:
    """The folder, model and seed of every training: starts, variants of Table 1, points of Figure 5."""
    table1, sweep = params.table1, params.sweep
    for model, seed in product(table1.models, table1.seeds):
        yield paths.start(model, seed), model, seed
    for model, mask, seed in product(table1.models, table1.masks, table1.seeds):
        yield paths.variant(model, mask, seed), model, seed
    for k, b, seed in product(sweep.k, sweep.b, sweep.seeds):
        yield paths.sweep_point(k, b, seed), sweep.model, seed


def _evaluations(params: Params, paths: Paths) -> Iterator[Path]:
    yield from (folder for folder, *_ in trainings(params, paths) if folder.parent != paths.runs / "start")
    yield paths.ends


def _training(params: Params, paths: Paths, folder: Path, model: str, seed: int) -> Record:
    """training.json as a record: it names no files, because trainings with equal inputs share it.

    Without history.csv: it holds speeds, which no two runs share, and what git has should be the same for equal runs.
    """
    record = read(folder / "training.json")
    try:
        used = record["inputs"]
        files = {
            paths.set(params.data.train): used["data"],
            paths.set(params.data.validation): used["validation"],
            paths.start(model, seed) / "generator.safetensors": used.get("from"),
            paths.weights / "vgg19.safetensors": used.get("vgg"),
        }
        facts = {name: used[name] for name in ("code", "torch", "device")} | {"key": record["key"]}
        if init := used.get("init"):
            facts["init"] = init  # a public checkpoint, wherever it was
        return {
            "inputs": {_name(paths, file): sha256 for file, sha256 in files.items() if sha256},
            "outputs": {_name(paths, folder / "generator.safetensors"): record["weights"]},
        } | facts
    except (KeyError, TypeError):
        raise MasksrError(f"{folder / 'training.json'}: not the record of a training; `dvc repro`") from None


def _name(paths: Paths, file: Path) -> str:
    return file.relative_to(paths.root).as_posix()


def _json(record: Record) -> bytes:
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode()
