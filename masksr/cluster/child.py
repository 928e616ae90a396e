"""One stage on one machine: ``dvc repro`` of it alone, which ends with whoever started it, and in good order.

    python -m masksr.cluster.child STAGE LOG     in the root of the project; prints DVC's exit status

DVC writes ``dvc.lock`` in place, so a DVC killed at that moment would leave half a file. What has to end is therefore
the command that DVC runs; DVC then notes nothing and ends by itself. Standard input is the lifeline: its other end is
held by the process that wants the stage, and closes however that process ends.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil

PATIENCE = 60.0  # seconds a stage has to end in good order


def main(stage: str, log: str) -> None:
    if os.fork():  # Ray kills the children of a task that it ends, so this one becomes nobody's child
        os._exit(0)
    os.setsid()
    with open(log, "ab") as output:
        dvc = subprocess.Popen(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", stage],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        while dvc.poll() is None:
            if select.select([sys.stdin], [], [], 0.1)[0]:  # nothing is ever written there: it was closed
                output.write(b"\nThe run was ended; this stage ends with it.\n")
                output.flush()
                _end(dvc)
    print(dvc.returncode, flush=True)


def _end(dvc: subprocess.Popen[bytes]) -> None:
    """Ends what DVC runs, now or next, until DVC itself has ended; with force when it takes too long."""
    told: set[psutil.Process] = set()
    deadline = time.monotonic() + PATIENCE
    try:
        process = psutil.Process(dvc.pid)
        while dvc.poll() is None and time.monotonic() < deadline:
            for command in set(process.children()) - told:
                told.add(command)
                command.terminate()
            time.sleep(0.1)
        for left in [*process.children(recursive=True), process]:
            left.kill()
    except psutil.NoSuchProcess:
        pass
    dvc.wait()


def _die_with_parent() -> None:
    """For the case that this very process is killed: PR_SET_PDEATHSIG is 1."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
