"""What there is to run, and in which order: DVC's own graph, with what each stage needs of a machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo

from masksr.errors import MasksrError
from masksr.params import Resources

SHORT = 15 / 3600  # hours: a notebook that only loads its imports, and DVC around it


@dataclass(frozen=True)
class Stage:
    name: str  # as DVC addresses it, such as train@esrgan-paper-0
    resources: Resources
    needs: tuple[str, ...]  # stages of the same plan that must be done before
    hours: float  # an estimate, for the order and for simulations
    path_hours: float = 0.0  # of the longest chain of stages that begins with this one

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Graph:
    """Every stage wanted, each with the names of those whose results it reads, and the names of what is out of date."""

    needs: dict[str, tuple[str, ...]]
    out_of_date: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """What has to run: what is out of date and all that comes after it. DVC may find that some of it did not change."""

    stages: dict[str, Stage] = field(default_factory=dict)  # each after those that it needs
    up_to_date: int = 0  # how many stages are left alone

    def critical_path(self) -> list[Stage]:
        """The longest chain: no number of machines is faster than that."""
        path: list[Stage] = []
        ready = list(self.stages.values())
        while ready:
            path.append(max(ready, key=lambda stage: stage.path_hours))
            ready = [stage for stage in self.stages.values() if path[-1].name in stage.needs]
        return path

    def dependents(self, name: str) -> list[str]:
        """All that cannot run without ``name``, however indirectly."""
        lost = {name}
        for stage in self.stages.values():
            if lost & set(stage.needs):
                lost.add(stage.name)
        return [stage for stage in self.stages if stage in lost - {name}]


def read(root: Path, targets: Collection[str] = (), *, everything: bool = False) -> Graph:
    """The graph as DVC resolves it, matrices and all, and what ``dvc status`` finds out of date.

    targets: stages, or names of dvc.yaml for all stages of a matrix, with all that they need; none means all there are.
    everything: take all of it for out of date, and look at no file. Raises MasksrError where DVC cannot read the
    project or knows no such target.
    """
    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            graph = repo.index.graph
            pipeline = root / "dvc.yaml"  # else DVC would look for stages where we are
            wanted = {stage for target in targets for stage in repo.stage.collect(f"{pipeline}:{target}")}
            if wanted:
                graph = graph.subgraph(wanted.union(*(nx.descendants(graph, stage) for stage in wanted)))
            order = list(nx.dfs_postorder_nodes(graph))
            needs = {_name(stage): tuple(sorted(map(_name, graph.successors(stage)))) for stage in order}
            status = {} if everything else repo.status()
            changed = (_name(stage) for stage in order if everything or stage.addressing in status)
            return Graph(needs, frozenset(changed))
    except DvcException as error:
        raise MasksrError(f"DVC cannot read the pipeline: {' '.join(str(error).split())}") from None


def plan(
    graph: Graph,
    resources: Mapping[str, Resources],
    hours: Mapping[str, float] | None = None,
    after: Mapping[str, str] | None = None,
) -> Plan:
    """What of ``graph`` has to run.

    resources: by the name of a stage in dvc.yaml, and ``others``. hours: an estimate for each stage; a few seconds
    where it is missing. after: pairs of stages of which the first should wait for the second though it does not read
    its results.
    """
    hours, after, running = hours or {}, after or {}, set[str]()
    for name, needs in graph.needs.items():
        if name in graph.out_of_date or running & set(needs):
            running.add(name)
    edges = {name: {n for n in graph.needs[name] if n in running} for name in graph.needs if name in running}
    for name in edges:
        if after.get(name) in running:
            edges[name].add(after[name])
    order = list(nx.lexicographical_topological_sort(nx.DiGraph((b, a) for a in edges for b in edges[a])))
    order += [name for name in edges if name not in order]  # those without any edge
    path_hours: dict[str, float] = {}
    for name in reversed(order):
        later = [path_hours[n] for n in edges if name in edges[n]]
        path_hours[name] = hours.get(name, SHORT) + max(later, default=0.0)
    stages = {
        name: Stage(
            name,
            resources.get(name.partition("@")[0]) or resources["others"],
            tuple(sorted(edges[name])),
            hours.get(name, SHORT),
            path_hours[name],
        )
        for name in order
    }
    return Plan(stages, len(graph.needs) - len(stages))


def _name(stage: Any) -> str:
    """As a user in the root of the project calls it, wherever this process is."""
    name = getattr(stage, "name", None)
    if stage.path_in_repo == "dvc.yaml":
        return name
    return f"{stage.path_in_repo}:{name}" if name else stage.path_in_repo
