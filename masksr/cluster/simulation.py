"""How long a plan would take on so many GPUs: the driver's own order, played through without running anything.

Stages start as ``driver`` starts them: as soon as what they need is done, those with the longest chain behind them
first, on the first node with room. DVC is one at a time: it holds its lock while it looks at a stage and while it
records it, and both take longer the longer ``dvc.lock`` is.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from masksr.cluster.plan import Plan, Stage
from masksr.params import Resources

# Seconds of one core that DVC holds its lock for a stage of a pipeline of n stages: measured with 43 and 1,091 stages.
LOCK_BEFORE = (0.3, 0.010)  # seconds, and seconds for each stage there is
LOCK_AFTER = (0.3, 0.020)
GPUS_PER_NODE, CPUS_PER_GPU, GB_PER_GPU = 8, 16, 128


Size = tuple[float, ...]  # CPUs, GPUs, GB


@dataclass(frozen=True)
class Run:
    stage: Stage
    node: int
    start: float  # hours since the beginning: when its node is its own
    end: float


@dataclass(frozen=True)
class Schedule:
    runs: list[Run] = field(default_factory=list)

    @property
    def hours(self) -> float:
        return max((run.end for run in self.runs), default=0.0)


def nodes(gpus: int) -> list[Resources]:
    """Machines of eight GPUs, and one with the rest."""
    sizes = [GPUS_PER_NODE] * (gpus // GPUS_PER_NODE) + [gpus % GPUS_PER_NODE] * bool(gpus % GPUS_PER_NODE)
    return [Resources(cpus=n * CPUS_PER_GPU, gpus=n, memory_gb=n * GB_PER_GPU) for n in sizes]


def simulate(
    plan: Plan,
    machines: Sequence[Resources],
    *,
    order: Literal["longest first", "as they come"] = "longest first",
    lock: bool = True,
) -> Schedule:
    """Play ``plan`` through on ``machines``. order: of the stages that could start. lock: whether DVC takes time.

    Raises ValueError where a stage fits no machine.
    """
    total = len(plan.stages) + plan.up_to_date
    before, after = ((a + b * total) / 3600 if lock else 0.0 for a, b in (LOCK_BEFORE, LOCK_AFTER))
    free = [_size(machine) for machine in machines]
    missing = {name: set(stage.needs) for name, stage in plan.stages.items()}
    users: dict[str, list[str]] = {name: [] for name in plan.stages}
    for stage in plan.stages.values():
        for need in stage.needs:
            users[need].append(stage.name)
    count = itertools.count()
    queues: dict[Size, list[tuple[float, int, str]]] = {_size(stage.resources): [] for stage in plan.stages.values()}
    events: list[tuple[float, int, str, str]] = []  # when, number, what is over, stage
    wants_lock: deque[tuple[float, str, str]] = deque()  # seconds, what for, stage
    started: dict[str, tuple[int, float]] = {}
    runs, locked, now = [], False, 0.0

    def is_ready(name: str) -> None:
        stage, number = plan.stages[name], next(count)
        urgency = -stage.path_hours if order == "longest first" else number
        heapq.heappush(queues[_size(stage.resources)], (urgency, number, name))

    for name in plan.stages:
        if not missing[name]:
            is_ready(name)
    while True:
        for name, node in _placed(queues, free):
            started[name] = (node, now)
            wants_lock.append((before, "looked at", name))
        if wants_lock and not locked:
            hours, what, name = wants_lock.popleft()
            locked = True
            heapq.heappush(events, (now + hours, next(count), what, name))
        if not events:
            break
        now, _, what, name = heapq.heappop(events)
        stage = plan.stages[name]
        if what == "looked at":
            locked = False
            heapq.heappush(events, (now + stage.hours, next(count), "computed", name))
        elif what == "computed":
            wants_lock.append((after, "recorded", name))
        else:
            locked = False
            node, start = started[name]
            free[node] = tuple(has + freed for has, freed in zip(free[node], _size(stage.resources), strict=True))
            runs.append(Run(stage, node, start, now))
            for user in users[name]:
                missing[user].discard(name)
                if not missing[user]:
                    is_ready(user)
    if left := plan.stages.keys() - {run.stage.name for run in runs}:
        raise ValueError(f"there is no machine for {', '.join(sorted(left)[:3])}, or for what it needs")
    return Schedule(runs)


def _size(resources: Resources) -> Size:
    return resources.cpus, resources.gpus, resources.memory_gb


def _placed(queues: dict[Size, list[tuple[float, int, str]]], free: list[Size]) -> Iterator[tuple[str, int]]:
    """Takes the most urgent stage of a size there is room for, and its node, until there is none left."""
    full: set[Size] = set()
    while sizes := [size for size, queue in queues.items() if queue and size not in full]:
        size = min(sizes, key=lambda size: queues[size][0])
        for node, has in enumerate(free):
            if has[0] >= size[0] and has[1] >= size[1] and has[2] >= size[2]:
                free[node] = tuple(h - taken for h, taken in zip(has, size, strict=True))
                yield heapq.heappop(queues[size])[2], node
                break
        else:
            full.add(size)


@dataclass(frozen=True)
class Forecast:
    """What to expect of a number of GPUs."""

    gpus: int
    hours: float
    used: float  # the part of all GPU hours in which a stage computes; waiting for DVC does not count
    work: float  # hours, were all GPUs at work all the time
    chain: float  # hours of the longest chain of stages
    first_come: float  # hours, were stages started in the order in which they could
    without_dvc: float  # hours, did DVC take no time

    @property
    def limit(self) -> str:
        if self.hours > 1.1 * max(self.chain, self.work):
            return "whole trainings: the last few leave most GPUs idle"
        return "the longest chain" if self.chain > self.work else "the number of GPUs"


def forecast(plan: Plan, gpus: int) -> Forecast:
    """What to expect of ``gpus`` GPUs; where no stage wants one, of so many CPUs on machines with memory enough."""
    sizes = [stage.resources for stage in plan.stages.values()]
    on_cpu = not any(size.gpus for size in sizes)
    machines = [Resources(cpus=gpus, gpus=0, memory_gb=gpus * GB_PER_GPU)] if on_cpu else nodes(gpus)
    schedule = simulate(plan, machines)
    share = [(s.resources.cpus if on_cpu else s.resources.gpus) * s.hours for s in plan.stages.values()]
    return Forecast(
        gpus,
        schedule.hours,
        sum(share) / (gpus * schedule.hours),
        sum(share) / gpus,
        plan.critical_path()[0].path_hours,
        simulate(plan, machines, order="as they come").hours,
        simulate(plan, machines, lock=False).hours,
    )


def describe(plan: Plan, numbers: Sequence[int]) -> str:
    """A table of forecasts in words: what ``masksr cluster --simulate`` prints."""
    on_cpu = not any(stage.resources.gpus for stage in plan.stages.values())
    unit = "CPUs" if on_cpu else "GPUs"
    lines = [
        f"| {unit} | hours | {unit} in use | limited by | were DVC in no time | in the order they come |",
        "| --: | --: | --: | :-- | --: | --: |",
    ]
    for number in numbers:
        found = forecast(plan, number)
        lines.append(
            f"| {number} | {found.hours:,.3g} | {100 * found.used:.0f} % | {found.limit.replace('GPUs', unit)} "
            f"| {found.without_dvc:,.3g} | {found.first_come:,.3g} |"
        )
    path = plan.critical_path()
    long = [stage for stage in path if stage.hours > 0.01 * path[0].path_hours]
    chain = " -> ".join(f"{stage.name} ({stage.hours:.2g} h)" for stage in long)
    return "\n".join(
        [
            f"{len(plan.stages)} stages from nothing, on nodes of {GPUS_PER_NODE} GPUs; estimates, not measurements.",
            "",
            *lines,
            "",
            f"The longest chain takes {path[0].path_hours:.3g} hours: {chain}.",
            "Hours of a training are counted operations at an assumed speed: python -m masksr cost.",
        ]
    )
