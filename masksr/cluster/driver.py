"""The loop that hands the stages of a plan to Ray, each as soon as what it needs is done."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock, Timeout

from masksr.cluster import leftovers, task
from masksr.cluster.board import Board
from masksr.cluster.connection import demand
from masksr.cluster.plan import Plan, Stage
from masksr.errors import MasksrError

QUEUE = 2  # stages of one size that wait inside Ray, where what comes first stays first
QUEUE_OF_CLUSTER = 8  # there, enough for a cluster to see that it should grow
ATTEMPTS = 4  # of a stage whose node was lost; one that fails by itself is not tried again
PAUSE = 5.0  # seconds until then, in which what is left of it ends
INHERITED = ("MASKSR_", "DVC_")  # variables of the driver that stages get too, on whatever node


@dataclass
class Attempt:
    stage: Stage
    begun: bool = False  # else it waits inside Ray


class Driver:
    """One run of a plan on a Ray that is there. What comes of each stage, the board is told."""

    def __init__(self, plan: Plan, root: Path, ray: ModuleType, board: Board, mark: str, *, queue: int = QUEUE) -> None:
        self.queue = queue
        self.plan, self.root, self.ray, self.board, self.mark = plan, root, ray, board, mark
        self.remote = ray.remote(task.run_stage)
        self.tasks: dict[Any, Attempt] = {}  # by Ray's handle
        self.attempts = dict.fromkeys(plan.stages, 0)
        self.not_before = dict.fromkeys(plan.stages, 0.0)
        self.longest_first = sorted(plan.stages.values(), key=lambda stage: -stage.path_hours)

    def run(self) -> None:
        """Until nothing is left that can run. On an interruption, until everything that runs has ended."""
        try:
            while self.tasks or self.board.of("waiting"):
                self._submit()
                if self.tasks:
                    for handle in self.ray.wait(list(self.tasks), timeout=0.5)[0]:
                        self._take(handle)
                else:  # a lost stage is not yet to be started again
                    time.sleep(0.5)
                self.board.tick()
        except BaseException:
            self._cancel()
            raise

    def _submit(self) -> None:
        queued = Counter(attempt.stage.resources for attempt in self.tasks.values() if not attempt.begun)
        submitted = {attempt.stage.name for attempt in self.tasks.values()}
        done = set(self.board.of("done"))
        for stage in self.longest_first:
            size = stage.resources
            if (
                self.board.state[stage.name] == "waiting"
                and stage.name not in submitted
                and done.issuperset(stage.needs)
                and queued[size] < self.queue
                and time.monotonic() >= self.not_before[stage.name]
            ):
                self._start(stage)
                queued[size] += 1

    def _start(self, stage: Stage) -> None:
        self.attempts[stage.name] += 1
        want = demand(stage.resources)
        log = task.log_file(self.root, stage.name)
        if self.attempts[stage.name] == 1:
            log.write_bytes(b"")
        variables = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
        options = {"num_cpus": want["CPU"], "num_gpus": want["GPU"], "memory": want["memory"]}
        handle = self.remote.options(name=stage.name, num_returns="streaming", max_retries=0, **options).remote(
            stage.name, str(self.root), self.mark, stage.resources.cpus, stage.resources.gpus, variables
        )
        self.tasks[handle] = Attempt(stage)

    def _take(self, handle: Any) -> None:
        """The next word from a task: that it began, that it is done, or that it was lost."""
        attempt, errors = self.tasks[handle], self.ray.exceptions
        name = attempt.stage.name
        try:
            word = self.ray.get(next(handle))
        except errors.RayTaskError as error:  # our own code raised it on the node
            del self.tasks[handle]
            self._failed(name, str(error.cause or error))
            return
        except (errors.RayError, StopIteration) as error:
            del self.tasks[handle]
            self._lost(name, error)
            return
        if "host" in word:
            attempt.begun = True
            self.board.running(name, word["host"] + (f", GPU {word['gpus']}" if word["gpus"] else ""))
            return
        del self.tasks[handle]
        if word["status"] == 0:
            self.board.done(name, "done" if word["ran"] else "unchanged")
        else:
            log = task.log_file(self.root, name).relative_to(self.root)
            self._failed(name, f"exit status {word['status']}; the end of {log}:", word["tail"])

    def _failed(self, name: str, why: str, output: Iterable[str] = ()) -> None:
        self.board.failed(name, why, self.plan.dependents(name), output)

    def _lost(self, name: str, error: Exception) -> None:
        reason = type(error).__name__
        if self.attempts[name] == ATTEMPTS:
            self._failed(name, f"its node was lost {ATTEMPTS} times: {reason}")
            return
        self.board.waiting(
            name, f"its node or worker was lost: {reason}; attempt {self.attempts[name] + 1} of {ATTEMPTS}"
        )
        leftovers.forget(self.root, name)
        self.not_before[name] = time.monotonic() + PAUSE

    def _cancel(self) -> None:
        """Ask every task to end its stage, and wait until all have."""
        if not self.tasks:
            return
        self.board.say(f"ending {len(self.tasks)} stages; DVC puts its files in order, at most a minute")
        for handle in self.tasks:
            self.ray.cancel(handle)
        deadline = time.monotonic() + 90
        while self.tasks and time.monotonic() < deadline:
            for handle in self.ray.wait(list(self.tasks), timeout=1)[0]:
                try:
                    self.ray.get(next(handle))
                except (self.ray.exceptions.RayError, StopIteration):
                    del self.tasks[handle]


@contextmanager
def only_one(root: Path) -> Iterator[str]:
    """Keeps a second run out of the project; a word by which nodes recognise the folder of this run."""
    folder = root / ".cache/cluster"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / "lock").acquire(timeout=0)
    except Timeout:
        raise MasksrError("masksr cluster is already running in this project; wait for it, or end it") from None
    with lock:
        mark = f"{os.getpid()}-{time.time_ns()}"
        (root / task.MARK).write_text(mark)
        yield mark
