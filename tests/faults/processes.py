"""Processes to be killed: forked from this one, which has everything imported already, or real commands.

A fork is a faithful model of a process that is killed: the kernel takes its memory, files and locks in the same way. It
only saves the seconds of importing torch, which are no part of any stage. This process never computes anything itself,
so that no thread pool is forked with it.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from masksr.errors import MasksrError

ROOT = Path(__file__).parents[2]
KILL, TERMINATE, INTERRUPT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
SIGNALS = (KILL, TERMINATE, INTERRUPT)
OPERATIONS = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")  # of the module os: where a file comes or goes
PATIENCE = 120.0  # seconds until a process counts as hanging


class Ended(NamedTuple):
    status: int  # as of os.waitstatus_to_exitcode: negative for a signal
    said: str


class Aim(NamedTuple):
    """Send ``sent`` at the ``number``-th operation of the file system, before or after it."""

    number: int
    after: bool
    sent: signal.Signals


Do = Callable[[], object]


def run(do: Do, log: Path, *, setup: Do | None = None, aim: Aim | None = None) -> Ended:
    """Run ``do`` in a fork to its end."""
    return wait(start(do, log, setup=setup, aim=aim), log)


def succeed(do: Do, log: Path) -> str:
    """Run ``do`` in a fork; it must succeed. What it printed."""
    status, said = run(do, log)
    assert status == 0, f"ended with {status}:\n{said[-3000:]}"
    return said


def import_of(do: Do, log: Path) -> None:
    """Run ``do`` in a fork, then import here what it has imported, so that later forks need not."""
    said = succeed(lambda: (do(), print("modules:", *sys.modules)), log)
    for name in said.rpartition("modules: ")[2].split():
        with suppress(Exception):
            importlib.import_module(name)


def start(do: Do, log: Path, *, setup: Do | None = None, aim: Aim | None = None) -> int:
    """Run ``do`` in a fork, which leads a process group as a command of a terminal does. Returns its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setpgid(0, 0)
        signal.signal(INTERRUPT, signal.default_int_handler)
        signal.signal(TERMINATE, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        if setup:
            setup()
        if aim:
            _watch_operations(aim)
        do()
        status = 0
    except MasksrError as error:
        print(f"masksr: error: {error}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(pid: int, log: Path) -> Ended:
    deadline = time.monotonic() + PATIENCE
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace") if log.exists() else "")
        if time.monotonic() > deadline:
            os.kill(pid, KILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"it hung:\n{log.read_text()[-3000:]}")
        time.sleep(0.002)


def kill_after(seconds: float, sent: signal.Signals, do: Do, log: Path) -> Ended:
    """Run ``do`` in a fork and kill it after ``seconds``, if it is still there; Ctrl-C goes to its process group."""
    pid = start(do, log)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return wait(pid, log)
    os.killpg(pid, sent) if sent == INTERRUPT else os.kill(pid, sent)
    return wait(pid, log)


def count_operations(do: Do, log: Path) -> int:
    """How many operations of the file system an undisturbed run does."""

    def counted() -> None:
        counter = _watch_operations(Aim(-1, False, KILL))
        do()
        print(f"operations: {counter[0]}")

    return int(succeed(counted, log).rpartition("operations: ")[2])


def _watch_operations(aim: Aim) -> list[int]:
    counter = [0]

    def watched(name: str, real: Callable) -> Callable:
        def operation(*arguments, **options):
            counter[0] += 1
            hit = counter[0] == aim.number
            if hit and not aim.after:
                if name == "fsync" and os.path.isfile(f"/proc/self/fd/{arguments[0]}"):
                    os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)  # it had not all reached the disk
                os.kill(os.getpid(), aim.sent)
            result = real(*arguments, **options)
            if hit and aim.after:
                os.kill(os.getpid(), aim.sent)
            return result

        return operation

    for name in OPERATIONS:
        setattr(os, name, watched(name, getattr(os, name)))
    return counter


def limit_file_size(size: int) -> Callable[[], None]:
    """A setup: no file may grow beyond ``size`` bytes, which a process meets as it meets a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def command(*words: str, where: Path, token: str = "", **environment: str) -> subprocess.Popen[str]:
    """A real command in a process group of its own; it and all its children bear ``token``."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("DVC", "MASKSR_DATA"))}
    own |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own |= {"OMP_NUM_THREADS": "1", "MASKSR_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}
    own |= {"MASKSR_FAULT": token, "SHELL": "/bin/sh"}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=where,
        env=own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(INTERRUPT, signal.SIG_DFL),  # a suite in the background would ignore it
    )


def output_of(process: subprocess.Popen[str]) -> Ended:
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"it hung, or a child holds its output: {(error.stdout or b'')[-2000:]!r}") from None
    finally:
        process.kill()
    return Ended(process.returncode, said)


def alive(token: str) -> list[int]:
    """The processes that bear ``token``, without those that have ended and wait to be collected."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MASKSR_FAULT={token}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(folder.name)] if state != "Z" else []
        except OSError:
            continue
    return found


def seconds_until_gone(token: str, at_most: float) -> float:
    """How long the processes with ``token`` live on. AssertionError when it is longer than ``at_most`` seconds."""
    begin = time.monotonic()
    while left := alive(token):
        if time.monotonic() - begin > at_most:
            for pid in left:
                os.kill(pid, KILL)
            raise AssertionError(f"{len(left)} processes outlived their parent by {at_most:g} s")
        time.sleep(0.05)
    return time.monotonic() - begin
