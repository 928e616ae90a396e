"""All faults by name, in the order of the table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

from tests.faults import notebooks, pipeline, storage, trainings
from tests.faults.found import Fault, Found
from tests.faults.kills import kill_at_random
from tests.faults.works import WORKS, Work

SHARES = {"training (GAN)": 0.25, "training (start)": 0.15, "checkpoint": 0.2, "packing": 0.12, "evaluation": 0.1}
# The rest of the kills goes to real commands, which take seconds each.


def faults(kills: int, *, short: bool) -> dict[str, Fault]:
    """What is run, by name. short: without what starts notebooks and DVC."""
    chosen: dict[str, Fault] = {}
    for work in WORKS:
        chosen[f"killed: {work.name}"] = _killed(work, max(1, round(SHARES[work.name] * kills)), short)
    if not short:
        left = max(2, kills - sum(max(1, round(share * kills)) for share in SHARES.values()))
        chosen["killed: masksr run"] = partial(notebooks.kill_run, kills=left - left // 4)
        chosen["killed: dvc repro"] = partial(pipeline.kill_dvc, kills=left // 4)
        chosen["orphans of dvc"] = pipeline.orphans
    functions = [
        *(storage.file_too_large, storage.disk_full, storage.read_only_folder),
        *(storage.checkpoint_damaged, storage.store_damaged, storage.clock_set_back),
        *(trainings.two_at_once, trainings.out_of_memory, trainings.not_finite),
    ]
    if not short:
        functions += [notebooks.wrong_notebooks, notebooks.same_notebook_twice, notebooks.no_room_for_a_notebook]
        functions += [pipeline.params_edited, pipeline.dvc_twice]
    return chosen | {function.__name__.replace("_", " "): function for function in functions}


def _killed(work: Work, kills: int, short: bool) -> Fault:
    """In the short form every kill is aimed at an operation of the file system: the same ones for the same seed."""

    def fault(folder: Path, rng: Random) -> Found:
        return kill_at_random(work, kills, folder, rng, aimed=1.0 if short else 0.4)

    return fault
