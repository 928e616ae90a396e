"""``masksr cluster``: run independent stages of the DVC pipeline in parallel, as Ray tasks.

The plan comes from DVC's own graph. Each stage is a Ray task that runs ``dvc --wait-for-lock repro -s STAGE``
with the CPUs, GPUs and memory of params.yaml's section ``cluster``; DVC keeps ``dvc.lock`` and the cache.
"""

import importlib.util
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psutil

from masksr import params
from masksr.io import MasksrError, project_root
from masksr.params import Resources
from masksr.plan import plan
from masksr.training.device import cores

LOGS = ".cache/cluster"  # one file per stage


def run(
    targets: Collection[str] = (), *, address: str | None = None, jobs: int | None = None, dry: bool = False
) -> None:
    """Bring the pipeline, or ``targets`` (names of stages) with all that they need, up to date.

    address: HOST:PORT of a running Ray cluster, or ``auto``; None: a Ray of our own here, with ``jobs`` CPUs.
    dry: only print what would run. Raises MasksrError with what failed and what was not run because of it.
    """
    if address and jobs:
        raise MasksrError("--jobs is for this machine; with --address the nodes have their own CPUs")
    root, settings = project_root(), params.load()
    needs = plan(root, targets)
    sizes = {name: settings.cluster.get(name.partition("@")[0], settings.cluster["others"]) for name in needs}
    if dry:
        for name, read in needs.items():
            print(f"{name}  ({_words(sizes[name])})  after: {', '.join(sorted(read)) or '-'}")
    elif needs:
        with start_ray(address, jobs or max([cores(), *(size.cpus for size in sizes.values())])) as ray:
            check_room(ray, sizes)
            drive(ray, root, needs, sizes)
    if not (dry and needs):
        print("everything is up to date")


def run_stage(name: str, root: str, size: Resources, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Run one stage on this machine: the Ray task. Returns DVC's status, its output, and duration and host.

    root: the project, at the same path on every node. variables: from the driver's environment.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels with it; a shell's & disables it
    begin, host = time.monotonic(), socket.gethostname()
    threads = dict.fromkeys(["OMP_NUM_THREADS", "MASKSR_CORES"], str(size.cpus))
    environment = os.environ | dict(variables) | threads
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if not size.gpus:  # otherwise Ray has set it
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", name]
    log = Path(root, LOGS, f"{name}.log")
    with log.open("wb") as file:
        dvc = subprocess.Popen(command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            while dvc.poll() is None:  # the pauses let Ray cancel the task
                time.sleep(0.1)
        finally:
            _end(dvc)
    where = f"{(time.monotonic() - begin) / 60:.1f} min on {host}"
    return dvc.returncode, log.read_text(errors="replace"), where


def _end(dvc: subprocess.Popen[bytes]) -> None:
    """End the command that DVC runs, not DVC itself, which could leave dvc.lock half-written."""
    told = set()
    while dvc.poll() is None:
        for command in set(psutil.Process(dvc.pid).children()) - told:
            told.add(command)
            command.terminate()
        time.sleep(0.1)


def drive(ray: ModuleType, root: Path, needs: dict[str, set[str]], sizes: dict[str, Resources]) -> None:
    """Hand each stage to Ray as soon as the stages it reads from are done; print a line when it ends.

    A failed stage stops only those that wait for it. Raises MasksrError at the end, with all that failed.
    """
    (root / LOGS).mkdir(parents=True, exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if name.startswith(("MASKSR_", "DVC_"))}
    task = ray.remote(max_retries=3)(run_stage)  # for a lost node or worker; a stage that fails stays failed
    waiting, running, done, failed = dict(needs), {}, set(), []
    try:
        while True:
            for name in [name for name in waiting if waiting[name] <= done]:
                size = sizes[name]
                options = {"num_cpus": size.cpus, "num_gpus": size.gpus, "memory": int(size.memory_gb * 1e9)}
                running[task.options(name=name, **options).remote(name, str(root), size, variables)] = name
                del waiting[name]
            if not running:
                break
            (handle,), _ = ray.wait(list(running))
            name = running.pop(handle)
            try:
                status, output, where = ray.get(handle)
            except ray.exceptions.RayError as error:  # lost too often, or our own code raised
                status, output, where = -1, str(getattr(error, "cause", None) or error), "Ray"
            if status == 0:
                done.add(name)
                word = "done" if "Running stage '" in output else "unchanged"
                print(f"[{len(done)}/{len(needs)}] {name}: {word} ({where})", flush=True)
            else:
                failed.append(name)
                print(f"{name}: FAILED ({where}); the end of {LOGS}/{name}.log:")
                for line in output.strip().splitlines()[-15:]:
                    print(f"    {line}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(running)} stages are ended in good order", flush=True)
        for handle in running:
            ray.cancel(handle)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=90.0)
        raise
    if failed:
        because = f"; not run because of that: {', '.join(waiting)}" if waiting else ""
        remedy = f"Their output is in {LOGS}; the same command, or dvc repro, goes on from what is done"
        names = ", ".join(failed)
        raise MasksrError(f"{len(failed)} of {len(needs)} stages failed: {names}{because}. {remedy}")


@contextmanager
def start_ray(address: str | None, cpus: int) -> Iterator[ModuleType]:
    """Join Ray at ``address``, or run it with ``cpus`` CPUs on this machine and leave nothing behind."""
    if importlib.util.find_spec("ray") is None:
        raise MasksrError("Ray is not installed: python -m pip install -e '.[cluster]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads variables when it is imported
    settings = {"address": address or "local", "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # A password for this Ray alone: other users of this machine must not be able to give it orders.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        settings |= {"num_cpus": cpus, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
    import ray

    # A short path, because names of sockets have to be short.
    with tempfile.TemporaryDirectory(prefix="masksr-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            ray.init(**settings, **({} if address else {"_temp_dir": folder}))
        except Exception as error:  # ConnectionError, RuntimeError, ValueError or plain Exception
            reason = " ".join(str(error).split())
            raise MasksrError(f"Ray did not start; try again, or use dvc repro. Ray says: {reason}") from None
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C; Ray replaced this handler
        cpus = ray.cluster_resources().get("CPU", 0)
        print(f"Ray has {cpus:g} CPUs on {len(ray.nodes())} nodes", flush=True)
        try:
            yield ray
        finally:
            ours = psutil.Process().children(recursive=True)
            ray.shutdown()
            for process in psutil.wait_procs(ours, timeout=10)[1]:  # it would still write into the folder
                process.kill()


def check_room(ray: ModuleType, sizes: Mapping[str, Resources]) -> None:
    """Raise MasksrError where a stage fits no node: Ray would wait for one forever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, size in sizes.items():
        want = {"CPU": size.cpus, "GPU": size.gpus, "memory": size.memory_gb * 1e9}
        if not any(all(node.get(key, 0) >= amount for key, amount in want.items()) for node in nodes):
            reason = f"{name} asks for {_words(size)}, which no node has"
            raise MasksrError(f"{reason}; change cluster in params.yaml, or start such a node")


def _words(size: Resources) -> str:
    return f"{size.cpus} CPUs, {size.gpus:g} GPUs, {size.memory_gb:g} GB"
