"""What an edit makes out of date, told before anything runs, from DVC's graph and the keys of trainings.

DVC compares files, so it sees that code has changed only once the stage ``check`` has run. Here the code
itself is examined, and for each training it is asked whether one with its key is finished already.
"""

from collections.abc import Collection
from contextlib import chdir
from itertools import chain, product
from pathlib import Path

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage

from masksr.io import MasksrError
from masksr.params import Params, load
from masksr.paths import Paths, list_trainings
from masksr.stage import edited_inputs
from masksr.training import store
from masksr.training.train import Job, gan_inputs, start_inputs

TRAININGS = ("start@", "train@", "sweep@")
UPSTREAM = ("data@", "weights@", *TRAININGS)  # whose results a training reads


def plan(root: Path, targets: Collection[str] = ()) -> dict[str, set[str]]:
    """List the stages that are out of date or read what such stages write, each with those it waits for.

    targets: names in dvc.yaml, or single stages. Sorted by the longest chain of stages that waits for each,
    the longest first. Raises MasksrError where DVC cannot read the project or has no such target.
    """
    return _follow(root, *_read_graph(root, targets))


def _read_graph(root: Path, targets: Collection[str]) -> tuple[nx.DiGraph, dict[str, Stage], set[str]]:
    """Read, by name, which stages the targets need and who reads whom, and what DVC calls out of date."""
    try:
        with chdir(root), Repo(_wait_for_lock=True) as repo:
            wanted = [repo.stage.collect(target, with_deps=True) for target in targets]
            graph = repo.index.graph.subgraph(chain(*wanted)) if targets else repo.index.graph
            names = {stage: stage.addressing for stage in graph}
            stages = {name: stage for stage, name in names.items()}
            return nx.relabel_nodes(graph, names), stages, set(repo.status())
    except DvcException as error:
        raise MasksrError(f"DVC cannot read the pipeline: {' '.join(str(error).split())}") from None


def _follow(
    root: Path, graph: nx.DiGraph, stages: dict[str, Stage], stale: set[str], taken: Collection[str] = ()
) -> dict[str, set[str]]:
    """Find what ``plan`` returns. taken: finished trainings, whose stages write only their notebooks."""
    folder = Paths(root, load(root / "params.yaml").profile).runs
    edited = {folder / file for file in edited_inputs(root, folder)}
    running, written = [], []
    for name in reversed(list(nx.topological_sort(graph))):
        reads = [Path(dep.fs_path) for dep in stages[name].deps]
        pairs = product(reads, [*edited, *written])
        changed = any(one.is_relative_to(other) or other.is_relative_to(one) for one, other in pairs)
        if not (changed or name in stale):
            continue
        running.append(name)
        if not name.startswith("check@"):  # its changed outputs are known
            outs = [Path(out.fs_path) for out in stages[name].outs]
            written += [out for out in outs if out.suffix == ".ipynb" or name not in taken]
    graph = graph.subgraph(running)
    generations = reversed(list(nx.topological_generations(graph)))  # first what most wait for
    return {name: set(graph.successors(name)) for some in generations for name in sorted(some)}


def sort_stages(
    params: Params, paths: Paths, targets: Collection[str] = ()
) -> tuple[list[str], list[str], list[str]]:
    """Sort what is out of date: stages that would train; the rest; of the rest, those that may have to."""
    graph = _read_graph(paths.root, targets)
    finished = _finished(params, paths)
    while True:  # until no training waits for one that trains
        needs = _follow(paths.root, *graph, finished)
        training = [name for name in needs if name.startswith(TRAININGS) and name not in finished]
        waiting = {name for name in finished if needs.get(name, set()) & {*training}}
        if not waiting:
            break
        finished -= waiting
    again = [name for name in needs if name not in training]
    unsure = [name for name in again if name in finished and any(n.startswith(UPSTREAM) for n in needs[name])]
    return training, again, unsure


def describe_plan(params: Params, paths: Paths, targets: Collection[str] = ()) -> str:
    """Say in words what ``sort_stages`` found, for ``masksr plan``."""
    training, again, unsure = sort_stages(params, paths, targets)
    if not training and not again:
        return "Nothing would run: everything is up to date."
    titles = {
        f"Would train ({len(training)})": training,
        f"Would be drawn, scored or written again, without a training step ({len(again)})": again,
        f"Of these, would train if what they read comes out different ({len(unsure)})": unsure,
    }
    return "\n".join("\n  ".join([f"{title}:", *names]) for title, names in titles.items() if names)


def _finished(params: Params, paths: Paths) -> set[str]:
    """Find the stages whose training is finished, given the packs, weights and starts that are here."""
    finished = set()
    for one in list_trainings(params, paths):
        mask = None if one.mask == "start" else params.mask(one.mask, one.k, one.b)
        try:
            job = Job(params, one.model, one.seed, paths, one.folder)
            inputs = start_inputs(job) if mask is None else gan_inputs(job, mask)
        except (MasksrError, OSError):  # what it reads is not here
            continue
        if store.find_trained(store.training_key(inputs, job.recipe, mask), one.folder, paths):
            finished.add(one.stage)
    return finished
