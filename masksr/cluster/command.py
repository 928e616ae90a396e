"""``python -m masksr cluster``: what its options do."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from masksr import params, project
from masksr.cluster import connection, estimates, leftovers
from masksr.cluster import plan as plans
from masksr.cluster.board import Board, clock
from masksr.cluster.driver import QUEUE, QUEUE_OF_CLUSTER, Driver, only_one
from masksr.cluster.plan import Plan
from masksr.documents import read_yaml
from masksr.errors import MasksrError
from masksr.params import Params
from masksr.training import devices


def run(
    targets: Collection[str] = (),
    *,
    address: str | None = None,
    jobs: int | None = None,
    dry: bool = False,
    simulate: Sequence[int] = (),
) -> None:
    """Bring the pipeline, or ``targets`` with what they need, up to date.

    address: of a running Ray cluster; None: a Ray of our own on this machine, with ``jobs`` CPUs. dry: only print what
    would run. simulate: numbers of GPUs; only print how long the whole pipeline would take on so many. Raises
    MasksrError with what failed and what could not run because of it.
    """
    root, settings = project.root(), params.load()
    if address and jobs:
        raise MasksrError(
            "--jobs counts the CPUs of this machine; with --address the nodes of the cluster have their own"
        )
    if simulate:
        from masksr.cluster import simulation

        print(simulation.describe(prepared(root, settings, targets, everything=True), simulate))
        return
    if dry:
        print(table(prepared(root, settings, targets)))
        return
    connection.check_ray()
    with only_one(root) as mark:
        leftovers.forget(root)
        plan = prepared(root, settings, targets)
        if not plan.stages:
            print(f"All {plan.up_to_date} stages are up to date.")
            return
        carry_out(plan, root, mark, address=address, jobs=jobs)


def prepared(root: Path, settings: Params, targets: Collection[str] = (), *, everything: bool = False) -> Plan:
    """The plan of a masksr project: DVC's graph, the sections ``cluster`` and ``train``, and estimated hours."""
    graph = plans.read(root, targets, everything=everything)
    settings.check_stages(read_yaml(root / "dvc.yaml")["stages"])
    plan = plans.plan(graph, settings.cluster, estimates.hours(settings), estimates.equal_trainings(settings))
    for stage in plan.stages.values():
        wanted = settings.train.gpus if settings.train.device != "cpu" else 1
        if stage.kind in ("start", "train", "sweep") and wanted > 1 and stage.resources.gpus < wanted:
            raise MasksrError(
                f"params.yaml: train.gpus is {wanted}, but cluster sets {stage.resources.gpus:g} GPUs aside for "
                f"{stage.kind}; set cluster.{stage.kind}.gpus to {wanted}"
            )
    return plan


def carry_out(plan: Plan, root: Path, mark: str, *, address: str | None = None, jobs: int | None = None) -> None:
    """Run a plan. Raises MasksrError when a stage failed."""
    enough = max([devices.cores(), *(stage.resources.cpus for stage in plan.stages.values())])
    cpus = jobs or enough
    board = Board(plan.stages, sys.stdout)
    board.say(f"{len(plan.stages)} stages to bring up to date, {plan.up_to_date} are; Ray is starting")
    with connection.attached(address) if address else connection.local(root, cpus) as ray:
        has = ray.cluster_resources()
        board.say(f"Ray has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs on {len(ray.nodes())} nodes")
        if reason := connection.too_large(plan, ray):
            if not address:
                raise MasksrError(reason)
            board.say(f"{reason}, unless such a node is still to come")
        try:
            Driver(plan, root, ray, board, mark, queue=QUEUE_OF_CLUSTER if address else QUEUE).run()
        finally:
            board.close()
    if failed := board.of("failed"):
        skipped = board.of("skipped")
        because = f"; not run because of that: {', '.join(skipped)}" if skipped else ""
        raise MasksrError(
            f"{len(failed)} of {len(plan.stages)} stages failed: {', '.join(failed)}{because}. Their output is in "
            ".cache/cluster; what is done is done: the same command, or dvc repro, goes on from there"
        )
    board.say("everything is up to date")
    board.close()


def table(plan: Plan) -> str:
    """What would run: each stage with what is set aside for it, and the longest chain."""
    if not plan.stages:
        return f"All {plan.up_to_date} stages are up to date."
    width = max(len(name) for name in plan.stages)
    lines = [f"{'stage':<{width}}  CPUs  GPUs    GB  estimate  needs"]
    for stage in plan.stages.values():
        size, needs = (
            stage.resources,
            ", ".join(stage.needs[:3]) + (f", {len(stage.needs) - 3} more" if stage.needs[3:] else ""),
        )
        lines.append(
            f"{stage.name:<{width}}  {size.cpus:>4}  {size.gpus:>4g}  {size.memory_gb:>4g}  "
            f"{clock(3600 * stage.hours):>8}  {needs or '-'}"
        )
    path = plan.critical_path()
    total = sum(stage.hours for stage in plan.stages.values())
    lines += [
        "",
        f"{len(plan.stages)} stages are out of date or come after one that is; {plan.up_to_date} are up to date.",
        f"One after the other: {clock(3600 * total)}. No faster than {clock(3600 * path[0].path_hours)} on any number "
        f"of machines: {' -> '.join(stage.name for stage in path)}.",
        "Estimates are counted operations at an assumed speed (python -m masksr cost), and guesses for the rest.",
    ]
    return "\n".join(lines)
