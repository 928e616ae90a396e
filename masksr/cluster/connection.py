"""The Ray that runs the stages: one of our own on this machine, gone when we are, or a cluster by its address."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

from masksr.cluster.plan import Plan
from masksr.errors import MasksrError
from masksr.params import Resources

STORE = 80 * 1024**2  # bytes of shared memory for objects, the least that Ray takes; ours are a few words
FOLDER = ".cache/cluster/ray"  # holds the path of a local Ray's own folder, for the case that we are killed


def check_ray() -> None:
    """Raises MasksrError where Ray, an optional dependency, is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise MasksrError("masksr cluster needs Ray, which is not installed: python -m pip install -e '.[cluster]'")


def _import_ray(**settings: str) -> ModuleType:
    """Ray reads its variables when it is imported; those that are set already stay."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **settings}.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


@contextmanager
def local(root: Path, cpus: int, gpus: int | None = None) -> Iterator[ModuleType]:
    """A Ray of our own with ``cpus`` CPUs, and the GPUs of this machine unless ``gpus`` says how many to count."""
    _remove_left_over(root)
    # The socket names of Ray do not fit into the path of every project, so its folder lies elsewhere, for us alone.
    folder = tempfile.mkdtemp(prefix="masksr-ray-")
    (root / FOLDER).write_text(folder)
    # A password for this instance alone; Ray would keep one in the home folder.
    ray = _import_ray(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        with _ending_orderly() as listen:
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                object_store_memory=STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            listen()
            yield ray
    finally:
        ray.shutdown()
        _remove_left_over(root)


@contextmanager
def attached(address: str) -> Iterator[ModuleType]:
    """A running cluster. Raises MasksrError where none answers at ``address``."""
    if "://" in address:
        raise MasksrError(
            f"--address {address}: start masksr cluster on a machine of the cluster, with HOST:PORT or auto"
        )
    ray = _import_ray()
    try:
        with _ending_orderly() as listen:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise MasksrError(f"no Ray cluster could be joined at {address}: {reason:.300}") from None
            listen()
            yield ray
    finally:
        ray.shutdown()


def too_large(plan: Plan, ray: ModuleType) -> str | None:
    """Why some stage of ``plan`` fits no node there is, and what to do; None where all fit."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for stage in plan.stages.values():
        want = demand(stage.resources)
        if not any(all(node.get(name, 0) >= amount for name, amount in want.items() if amount) for node in nodes):
            has = "; ".join(
                f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, {node.get('memory', 0) / 1e9:.3g} GB"
                for node in sorted(nodes, key=lambda node: -node.get("CPU", 0))[:3]
            )
            asks = stage.resources
            return (
                f"{stage.name} asks for {asks.cpus} CPUs, {asks.gpus:g} GPUs and {asks.memory_gb:g} GB, which no node "
                f"has (there is {has}); change the section cluster of params.yaml"
            )
    return None


def demand(resources: Resources) -> dict[str, float]:
    """In Ray's words."""
    return {"CPU": resources.cpus, "GPU": resources.gpus, "memory": int(resources.memory_gb * 1e9)}


@contextmanager
def _ending_orderly() -> Iterator[Callable[[], None]]:
    """SIGTERM ends the run as Ctrl-C does. Ray, on starting, takes the signal for itself: call what is yielded then."""
    before, received = signal.getsignal(signal.SIGTERM), list[int]()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt  # Ray passes this on as it is, other than SystemExit

    def listen() -> None:
        signal.signal(signal.SIGTERM, stop)

    listen()
    try:
        yield listen
    except KeyboardInterrupt:
        if received:
            raise SystemExit(128 + received[0]) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _remove_left_over(root: Path) -> None:
    note = root / FOLDER
    note.parent.mkdir(parents=True, exist_ok=True)
    if note.exists():
        folder = Path(note.read_text())
        if folder.name.startswith("masksr-ray-"):
            shutil.rmtree(folder, ignore_errors=True)
        note.unlink()
