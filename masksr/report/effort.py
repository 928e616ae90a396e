"""How long the stages of a profile took and about how much energy that was.

Two sources: training.json and history.csv of every training, which stay with its weights however often they are
reused, and ``masksr.durations`` of the other notebooks, where they ran on this machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from masksr import durations
from masksr.params import Params
from masksr.paths import Paths, training_folders
from masksr.report.inputs import read_json
from masksr.report.notebooks import Section
from masksr.training import devices

# A busy thread of a server: its share of the processor's 200-300 W and of the memory; no idle power, no cooling.
WATTS_PER_THREAD = 5.0
TRAINING = ("start", "train", "sweep")  # the stages whose notebooks wrap a training
ON_THE_GPU = ("evaluate", "evaluate_sweep", "ends", "figure4")  # where a GPU trained, it did these too


@dataclass
class Effort:
    """Of one stage. ``watt_hours`` is None where nothing can be said of it."""

    stage: str
    runs: int = 0  # notebooks; of the stages that train, trainings done for them
    timed: int = 0  # of these, how many left a time
    seconds: float = 0.0
    watt_hours: float | None = 0.0

    def add(self, seconds: float, watts: float | None) -> None:
        self.timed += 1
        self.seconds += seconds
        if watts is None or self.watt_hours is None:
            self.watt_hours = None
        else:
            self.watt_hours += watts * seconds / 3600


def efforts(params: Params, paths: Paths, sections: Sequence[Section]) -> list[Effort]:
    """One for each stage that made ``sections``, in their order. A training that stages share counts once."""
    stages = {section.stage: Effort(section.stage) for section in sections if section.stage}
    gpu = gpu_watts()
    keys, on_gpu = set[str](), False
    for folder, model, _ in training_folders(params, paths):
        record = read_json(folder / "training.json", "train")
        cuda = record.get("inputs", {}).get("device") == "cuda"
        on_gpu |= cuda
        if record.get("key") in keys:
            continue
        keys.add(str(record.get("key")))
        effort = stages[{"start": "start", "variants": "train"}.get(folder.parent.name, "sweep")]
        effort.runs += 1
        seconds, gpus = _training(folder, record, params.models[model].batch)
        if seconds:
            watts = WATTS_PER_THREAD * devices.cores() if not cuda else gpu and gpu * gpus
            effort.add(seconds, watts)
    for section in sections:
        if not section.stage or section.stage in TRAINING:
            continue
        effort = stages[section.stage]
        effort.runs += 1
        if duration := durations.read(section.notebook, paths.root):
            if on_gpu and section.stage in ON_THE_GPU:
                watts = gpu
            else:
                busy = duration.cpu_seconds / duration.seconds if duration.seconds else 0.0
                watts = WATTS_PER_THREAD * busy if busy else None  # see durations.Duration
            effort.add(duration.seconds, watts)
    return list(stages.values())


def _training(folder: Path, record: dict[str, Any], batch: int) -> tuple[float, int]:
    """Seconds and GPUs. training.json has the time since the last start; the history also what was before it."""
    stepping, gpus, before = 0.0, 1, dict[str, int]()
    try:
        history = pd.read_csv(folder / "history.csv").dropna(subset=["images_per_s"])
        for row in history.itertuples():
            stepping += (row.step - before.get(row.phase, 0)) * batch / row.images_per_s
            before[row.phase] = row.step
        if "gpus" in history and len(history):
            gpus = int(history["gpus"].max())
    except (OSError, ValueError, LookupError, ZeroDivisionError):  # no steps: no speeds
        pass
    return max(stepping, float(record.get("seconds_since_last_start") or 0.0)), gpus


def gpu_watts() -> float | None:
    """The power limit of this machine's first board; None without one."""
    asked = ["nvidia-smi", "--query-gpu=power.limit", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(asked, capture_output=True, check=True, text=True, timeout=10)
        return float(answer.stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def as_json(found: Sequence[Effort]) -> list[dict[str, Any]]:
    return [asdict(effort) for effort in found]


def as_markdown(found: Sequence[Effort]) -> str:
    """A table with a row for each stage, and what the estimate assumes."""
    rows = [f"| {e.stage} | {e.runs} | {_time(e)} | {_energy(e)} |" for e in found if e.runs]
    total = Effort("all", sum(e.runs for e in found), sum(e.timed for e in found), sum(e.seconds for e in found))
    known = [e.watt_hours for e in found if e.timed]
    total.watt_hours = None if None in known else sum(filter(None, known))
    rows.append(f"| **together** | {total.runs} | {_time(total)} | {_energy(total)} |")
    gpu = gpu_watts()
    board = f", or the power limit of the board ({gpu:g} W) where a GPU did" if gpu else ""
    note = (
        f"A training counts once, however many stages share or reuse it. Energy: {WATTS_PER_THREAD:g} W for each busy "
        f"thread, every one of this machine ({devices.cores()}) while something trained on its processor{board}; "
        "no idle power and no cooling. A rough estimate, not a measurement. —: it ran elsewhere, or left no time."
    )
    lines = ["| stage | times run | time (min) | energy, estimated (Wh) |", "|:--|--:|--:|--:|", *rows]
    return "\n".join(lines) + f"\n\n*{note}*\n"


def _time(effort: Effort) -> str:
    if not effort.timed:
        return "—"
    part = f" ({effort.timed} of {effort.runs})" if effort.timed < effort.runs else ""
    return f"{effort.seconds / 60:.1f}{part}"


def _energy(effort: Effort) -> str:
    if effort.watt_hours is None or not effort.timed:
        return "—"
    return f"{effort.watt_hours:.2g}" if effort.watt_hours < 10 else f"{effort.watt_hours:.0f}"
