"""How long the profile paper with a full sweep would take on many GPUs: a simulation of `masksr cluster`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml

from benchmarks.report import Row, Table
from masksr import params, project
from masksr.cluster import estimates, plan, simulation
from masksr.params import Params

GPUS = (8, 64, 512)
SEEDS = [0, 1, 2, 3, 4]
VALUES = {"k": [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0], "b": [round(0.1 * n, 1) for n in range(10)]}


def tables(quick: bool) -> list[Table]:
    """A row for each number of GPUs. quick: a sweep of two by two and one seed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = _full_paper(root, quick)
        graph, hours = plan.read(root, everything=True), estimates.hours(settings)
    equal = estimates.equal_trainings(settings)
    public = dict.fromkeys((name for name in hours if name.startswith(("start@pesr", "start@edsr"))), plan.SHORT)
    papers = {"as printed": hours, "starts of PESR and EDSR from public checkpoints": hours | public}
    rows = []
    for title, found in papers.items():
        whole = plan.plan(graph, settings.cluster, found, equal)
        for gpus in GPUS:
            cast = simulation.forecast(whole, gpus)
            rows.append(
                Row(
                    {
                        "paper": title,
                        "GPUs": gpus,
                        "hours": cast.hours,
                        "GPUs in use %": 100 * cast.used,
                        "work / GPUs, h": cast.work,
                        "longest chain, h": cast.chain,
                        "limited by": cast.limit,
                        "first come, first served, h": cast.first_come,
                    }
                )
            )
    size = f"{len(settings.sweep.k)} x {len(settings.sweep.b)} values of k and b, {len(settings.table1.seeds)} seeds"
    note = f"{size}: {len(graph.needs)} stages of the DVC graph on nodes of {simulation.GPUS_PER_NODE} GPUs. "
    note += "Hours of trainings are counted operations at an assumed speed (`masksr cost`); DVC's lock is counted in."
    return [Table("Cluster, simulated", note, rows)]


def _full_paper(root: Path, quick: bool) -> Params:
    """The profile paper with the sweep, as a project of its own in ``root``."""
    source = project.root()
    content = yaml.safe_load((source / "profiles/paper.yaml").read_text(encoding="utf-8"))
    seeds, values = (SEEDS[:1], {name: found[2:4] for name, found in VALUES.items()}) if quick else (SEEDS, VALUES)
    content["table1"]["seeds"], content["sweep"] = [*seeds], content["sweep"] | values | {"seeds": [*seeds]}
    (root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.copy(source / "dvc.yaml", root)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    return params.load(root / "params.yaml")
