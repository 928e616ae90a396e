"""The records of a profile against each other and against the files that are here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from masksr.errors import MasksrError
from masksr.paths import Paths
from masksr.results import records
from masksr.results.records import NOTEBOOKS, Record

VERIFIED, AS_RECORDED, NO_RECORD, NOT_HERE, DIFFERS = STATES = (
    "verified",
    "as recorded",
    "no record",
    "not here",
    "differs",
)


@dataclass
class Result:
    """What is said of one result: a line. Of several states the one further back in ``STATES`` counts."""

    name: str
    state: str = VERIFIED
    notes: list[str] = field(default_factory=list)

    def add(self, state: str, note: str = "") -> None:
        if STATES.index(state) > STATES.index(self.state):
            self.state = state
        if note and note not in self.notes:
            self.notes.append(note)


class Chain:
    """From the page back to the images: ``steps`` of provenance.json and, where it is here, the page's report.json.

    A step takes files (``inputs``) and makes others (``outputs``); its name is the file of its own record.
    """

    def __init__(self, steps: dict[str, Record], paths: Paths) -> None:
        self.paths, self.steps = paths, steps
        self.page = (paths.results / "report.html").relative_to(paths.root).as_posix()
        if (record := paths.results / "report.json").is_file():
            self.steps = steps | {self.page.replace(".html", ".json"): records.read_step(record)}
        self.maker = {name: step for step, record in self.steps.items() for name in record["outputs"]}
        self.digest, self.whole = cache(self._digest), cache(self._whole)

    def results(self) -> list[Result]:
        """What came from outside, trainings with their evaluations, tables and figures, the page: in this order."""
        lines: dict[str, Result] = {}
        sources: dict[str, set[str]] = {}  # packs, VGG19, NIQE and Ma: what each step says they were
        for name, step in self.steps.items():
            label = self._label(name)
            line = lines.setdefault(label, Result(label))
            self._check_record(name, step, line)
            for file, sha256 in step["outputs"].items():
                self._check_file(file, sha256, line)
            for file, sha256 in step["inputs"].items():
                if file.startswith("data/"):
                    sources.setdefault(file, set()).add(sha256)
                elif self._made(file) not in (sha256, None):
                    line.add(DIFFERS, f"was made from another {file}")
            if not self.whole(name):
                line.add(AS_RECORDED)
            if isinstance(made := step.get("made_with"), dict):
                by = f"commit {made['commit']}" if made.get("commit") else "code without git"
                line.add(VERIFIED, f"made by {by} on {made.get('hardware')}")
        if self.page not in self.maker:
            there = (self.paths.root / self.page).is_file()
            lines["report"] = Result("report", NO_RECORD if there else NOT_HERE)
        return [*(self._source(file, said) for file, said in sorted(sources.items())), *lines.values()]

    def _label(self, step: str) -> str:
        """A training and its evaluation share a line."""
        folder = Path(step).parent
        if folder.is_relative_to(runs := Path("runs", self.paths.profile)) and folder.name != "records":
            return folder.relative_to(runs).as_posix()
        return Path(step).stem  # report, notebooks, table1, ...

    def _check_record(self, name: str, step: Record, line: Result) -> None:
        """Where the record itself is here, it must be the one that provenance.json has a copy of."""
        path = self.paths.root / name
        if name == NOTEBOOKS or not path.is_file():
            return
        record = records.read(path)
        same = record == step
        if path.name == "training.json":
            content = json.dumps(record.get("inputs"), sort_keys=True).encode()
            if record.get("key") != hashlib.sha256(content).hexdigest()[:20]:
                line.add(DIFFERS, "training.json was changed: its inputs are not those of its key")
            same = record.get("key") == step.get("key") and record.get("weights") in step["outputs"].values()
            if history := record.get("history"):  # not in provenance.json, because it holds speeds
                self._check_file((Path(name).parent / "history.csv").as_posix(), history, line)
        if not same:
            line.add(DIFFERS, f"{path.name} is of another run")

    def _check_file(self, file: str, sha256: str, line: Result) -> None:
        found = self.digest(file)
        if found is None:
            line.add(NOT_HERE, Path(file).name)
        elif found != sha256:
            line.add(DIFFERS, f"{Path(file).name} was changed or is of another run")

    def _made(self, file: str) -> str | None:
        """What an input should be: as the step that made it says, else as it is here; None where it is not."""
        return self.steps[self.maker[file]]["outputs"][file] if file in self.maker else self.digest(file)

    def _source(self, file: str, said: set[str]) -> Result:
        line = Result(file)
        if len(said) > 1:
            line.add(DIFFERS, "the results were not all made from the same one")
        for sha256 in said:
            self._check_file(file, sha256, line)
        if line.state == NOT_HERE:
            line.notes.clear()  # its name says it
        return line

    def _whole(self, name: str) -> bool:
        """Whether all files of a step, and of those before it, are here and as recorded."""
        step = self.steps[name]
        if any(self.digest(file) != sha256 for file, sha256 in (step["inputs"] | step["outputs"]).items()):
            return False
        return all(self.whole(self.maker[file]) for file in step["inputs"] if file in self.maker)

    def _digest(self, file: str) -> str | None:
        """The digest of a file or pack, every byte of it read; None where nothing is here."""
        path = self.paths.root / file
        if not path.exists():
            return None
        if path.is_dir():
            from masksr.data.packs import Pack  # here: numpy and Pillow

            try:
                Pack(path).verify()
            except MasksrError:
                return "damaged"
        return records.digest(path)
