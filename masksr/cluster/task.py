"""What Ray runs on the machine it has chosen for a stage."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masksr.errors import MasksrError

MARK = ".cache/cluster/run"  # holds a word of the driver's: who reads it sees the driver's very folder
TAIL = 15  # lines


def run_stage(
    name: str, root: str, mark: str, cpus: int, gpus: float, driver: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Run one stage. Yields ``{"host", "gpus"}`` when it begins and ``{"status", "ran", "tail"}`` when it is done.

    driver: variables of the driver's environment that the stage gets too. Raises MasksrError where this machine has
    not the driver's project folder.
    """
    # Ray cancels a task by a simulated Ctrl-C, which started in the background it would not hear.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _check_folder(Path(root), mark)
    environment = os.environ | driver
    environment |= {"OMP_NUM_THREADS": str(cpus), "MASKSR_CORES": str(cpus)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if not gpus:  # what was not set aside is not there; with GPUs Ray has set the variable
        environment["CUDA_VISIBLE_DEVICES"] = ""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "all")
    yield {"host": socket.gethostname(), "gpus": visible if gpus else ""}

    log = log_file(Path(root), name)
    with log.open("a", encoding="utf-8") as file:
        gpu = f", GPU {visible}" if gpus else ""
        file.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} on {socket.gethostname()}: {cpus} threads{gpu}\n")
        begin = file.tell()
    status = _supervised([sys.executable, "-m", "masksr.cluster.child", name, str(log)], root, environment)
    with log.open("rb") as file:
        file.seek(begin)
        output = file.read().decode(errors="replace")
    yield {"status": status, "ran": "Running stage '" in output, "tail": output.strip().splitlines()[-TAIL:]}


def log_file(root: Path, name: str) -> Path:
    """Where a stage's output is kept."""
    return root / ".cache/cluster" / f"{name.replace('/', '_')}.log"


def _check_folder(root: Path, mark: str) -> None:
    for _ in range(20):  # network file systems show a new file after some seconds
        try:
            if (root / MARK).read_text() == mark:
                return
        except OSError:
            pass
        time.sleep(1)
    raise MasksrError(
        f"{socket.gethostname()} does not see the project folder {root} of the machine that masksr cluster was started "
        "on; every node needs the same folder under the same path (NFS, Lustre, ...)"
    )


def _supervised(command: list[str], root: str, environment: dict[str, str]) -> int:
    """The exit status of DVC under ``masksr.cluster.child``, whose lifeline this process holds."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, env=environment, stdin=pipe, stdout=pipe) as child:
        assert child.stdin and child.stdout
        answer = b""
        try:
            while True:  # with pauses, in which Ray can cancel the task
                if select.select([child.stdout], [], [], 0.1)[0]:
                    if not (piece := os.read(child.stdout.fileno(), 100)):
                        break
                    answer += piece
        finally:
            child.stdin.close()
            child.stdout.read()  # until the stage has ended
    return int(answer) if answer.strip() else -9
