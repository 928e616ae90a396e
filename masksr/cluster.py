"""``masksr cluster``: stages of the DVC pipeline that do not wait for each other, side by side, as Ray tasks.

The plan comes from DVC's own graph. Each stage is a Ray task that runs ``dvc --wait-for-lock repro -s STAGE``
with the CPUs, GPUs and memory of params.yaml's section ``cluster``; ``dvc.lock`` and the cache stay DVC's.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import chdir
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import psutil

from masksr import params, project
from masksr.errors import MasksrError
from masksr.params import Resources
from masksr.training.device import cores

LOGS = ".cache/cluster"  # a file for each stage
TAIL = 15  # lines of a failed stage's log that are shown
RETRIES = 3  # of a stage whose node or worker was lost; one that fails by itself is not run again
PATIENCE = 90.0  # seconds that stages have to end in good order after Ctrl-C
STORE = 80 * 1024**2  # bytes of shared memory for Ray's objects, the least that it takes


class Ended(NamedTuple):
    """What became of a stage."""

    status: int  # DVC's exit status
    output: str
    where: str = "Ray"
    seconds: float = 0.0


def run(
    targets: Collection[str] = (), *, address: str | None = None, jobs: int | None = None, dry: bool = False
) -> None:
    """Bring the pipeline, or ``targets`` with what they need, up to date.

    targets: names of dvc.yaml, or of single stages such as ``train@esrgan-paper-0``. address: HOST:PORT of a
    running Ray cluster, or ``auto``; None: a Ray of our own on this machine, with ``jobs`` CPUs (None: all).
    dry: only print what would run. Raises MasksrError with what failed and what was not run because of that.
    """
    if address and jobs:
        raise MasksrError("--jobs is for this machine; with --address the nodes have their own CPUs")
    root, settings = project.root(), params.load()
    needs = plan(root, targets)
    sizes = {name: settings.cluster.get(name.partition("@")[0], settings.cluster["others"]) for name in needs}
    if needs and dry:
        after = {name: ", ".join(sorted(read)) or "-" for name, read in needs.items()}
        print("\n".join(f"{name}  ({_words(sizes[name])})  after: {after[name]}" for name in needs))
        return
    if needs:
        ray = start_ray(address, jobs or max([cores(), *(size.cpus for size in sizes.values())]))
        try:
            check_room(ray, sizes, may_grow=address is not None)
            drive(ray, root, needs, sizes)
        finally:
            ray.shutdown()
    print("everything is up to date")


def plan(root: Path, targets: Collection[str] = ()) -> dict[str, set[str]]:
    """Stages that are out of date and all after them, each with those of these that it reads.

    Sorted by the longest chain of stages that waits for each, the longest first. Raises MasksrError where DVC
    cannot read the project or has no such target.
    """
    import networkx as nx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with chdir(root), Repo(_wait_for_lock=True) as repo:
            graph = repo.index.graph  # edges lead from a stage to those that it reads
            wanted = {stage for target in targets for stage in repo.stage.collect(target)}
            if wanted:
                graph = graph.subgraph(wanted.union(*(nx.descendants(graph, stage) for stage in wanted)))
            stale = repo.status().keys()
            graph = nx.relabel_nodes(graph, {stage: stage.addressing for stage in graph})
    except DvcException as error:
        raise MasksrError(f"DVC cannot read the pipeline: {' '.join(str(error).split())}") from None
    stale = {name for name in graph if name in stale or nx.descendants(graph, name) & stale}
    graph = graph.subgraph(stale)
    chain: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        chain[name] = 1 + max((chain[later] for later in graph.predecessors(name)), default=0)
    order = sorted(chain, key=lambda name: (-chain[name], name))
    return {name: set(graph.successors(name)) for name in order}


def run_stage(name: str, root: str, size: Resources, variables: Mapping[str, str]) -> Ended:
    """Run one stage on this machine, its output in ``LOGS``: the Ray task.

    variables: of the driver's environment, for the stage too. Raises MasksrError where ``root`` is not here.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray's cancel; started with & it is ignored
    begin, host = time.monotonic(), socket.gethostname()
    if not Path(root, "dvc.yaml").is_file():
        raise MasksrError(f"{host} does not see {root}: every node needs the project under the same path")
    threads = str(size.cpus)
    environment = os.environ | dict(variables) | {"OMP_NUM_THREADS": threads, "MASKSR_CORES": threads}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if not size.gpus:  # else Ray has set it
        environment["CUDA_VISIBLE_DEVICES"] = ""
    log = log_file(Path(root), name)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", name]
    with log.open("wb") as file:
        dvc = subprocess.Popen(command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            while dvc.poll() is None:  # with pauses, in which Ray can cancel the task
                time.sleep(0.1)
        finally:
            _end(dvc)
    output = log.read_text(encoding="utf-8", errors="replace")
    return Ended(dvc.returncode, output, host, time.monotonic() - begin)


def _end(dvc: subprocess.Popen[bytes]) -> None:
    """End the command that DVC runs, not DVC: it writes dvc.lock in place, and would leave half of it."""
    told = set()
    while dvc.poll() is None:
        for command in set(psutil.Process(dvc.pid).children()) - told:
            told.add(command)
            command.terminate()
        time.sleep(0.1)


def drive(ray: ModuleType, root: Path, needs: dict[str, set[str]], sizes: dict[str, Resources]) -> None:
    """Hand each stage to Ray as soon as what it reads is done; print a line when it ends.

    A failed stage stops those that wait for it, and no other. Raises MasksrError with all of them at the end.
    """
    log_file(root, "").parent.mkdir(parents=True, exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if name.startswith(("MASKSR_", "DVC_"))}
    task = ray.remote(max_retries=RETRIES)(run_stage)
    waiting, running = dict(needs), {}
    done, failed, skipped = set(), [], []
    try:
        while waiting or running:
            for name in [name for name in waiting if waiting[name] <= done]:
                size = sizes[name]
                options = {"num_cpus": size.cpus, "num_gpus": size.gpus, "memory": int(size.memory_gb * 1e9)}
                running[task.options(name=name, **options).remote(name, str(root), size, variables)] = name
                del waiting[name]
            (handle,), _ = ray.wait(list(running))
            name = running.pop(handle)
            try:
                ended = ray.get(handle)
            except ray.exceptions.RayError as error:  # lost too often, or our own code raised
                ended = Ended(-1, str(getattr(error, "cause", None) or error))
            time_and_place = f"({ended.seconds / 60:.1f} min on {ended.where})"
            if ended.status == 0:
                done.add(name)
                word = "done" if "Running stage '" in ended.output else "unchanged"
                print(f"[{len(done)}/{len(needs)}] {name}: {word} {time_and_place}", flush=True)
                continue
            failed.append(name)
            lost = [name]
            for stage in list(waiting):  # each stands after those that it reads: their chains are longer
                if waiting[stage].intersection(lost):
                    lost.append(stage)
                    del waiting[stage]
            skipped += lost[1:]
            print(f"{name}: FAILED {time_and_place}; the end of {log_file(root, name).relative_to(root)}:")
            for line in ended.output.strip().splitlines()[-TAIL:]:
                print(f"    {line}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(running)} stages are ended in good order", flush=True)
        for handle in running:
            ray.cancel(handle)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)
        raise
    if failed:
        because = f"; not run because of that: {', '.join(skipped)}" if skipped else ""
        raise MasksrError(
            f"{len(failed)} of {len(needs)} stages failed: {', '.join(failed)}{because}. "
            f"Their output is in {LOGS}; the same command, or dvc repro, goes on from what is done"
        )


def start_ray(address: str | None, cpus: int) -> ModuleType:
    """Ray, joined at ``address`` or, with ``cpus`` CPUs, on this machine.

    Raises MasksrError where it is not installed or does not start.
    """
    if importlib.util.find_spec("ray") is None:
        raise MasksrError("Ray is not installed: python -m pip install -e '.[cluster]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads variables when it is imported
    settings: dict[str, Any] = {"address": address or "local", "log_to_driver": False}
    settings |= {"logging_level": logging.ERROR}
    if address is None:
        # A password for this Ray alone: who else uses this machine must not be able to give it orders.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Short, for the names of sockets. Removed at the exit, after Ray's own handlers have ended its processes.
        folder = tempfile.mkdtemp(prefix="masksr-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        settings |= {"num_cpus": cpus, "object_store_memory": STORE}
        settings |= {"include_dashboard": False, "_temp_dir": folder}
    import ray

    try:
        ray.init(**settings)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError or plain Exception
        what = f"no Ray cluster could be joined at {address}" if address else "Ray did not start"
        reason = " ".join(str(error).split())
        raise MasksrError(f"{what}; try again, or use dvc repro. Ray says: {reason}") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; Ray has taken it for itself
    has = ray.cluster_resources()
    nodes = len(ray.nodes())
    print(f"Ray has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs on {nodes} nodes", flush=True)
    return ray


def check_room(ray: ModuleType, sizes: Mapping[str, Resources], *, may_grow: bool) -> None:
    """Raises MasksrError where a stage fits no node; may_grow: only say so, such a node may still come."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, size in sizes.items():
        want = {"CPU": size.cpus, "GPU": size.gpus, "memory": size.memory_gb * 1e9}
        if not any(all(node.get(key, 0) >= amount for key, amount in want.items()) for node in nodes):
            reason = f"{name} asks for {_words(size)}, which no node has; change cluster in params.yaml"
            if not may_grow:
                raise MasksrError(reason)
            print(f"{reason}, unless such a node is still to come", flush=True)


def log_file(root: Path, name: str) -> Path:
    """Where the output of a stage is kept."""
    return root / LOGS / f"{name.replace('/', '_')}.log"


def _words(size: Resources) -> str:
    return f"{size.cpus} CPUs, {size.gpus:g} GPUs, {size.memory_gb:g} GB"
