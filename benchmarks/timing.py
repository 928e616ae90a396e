"""Fair timing: variants take turns, so that a machine that gets slower gets slower for all of them."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")


@dataclass(frozen=True)
class Spread:
    """The middle of some numbers, and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: list[float]) -> Spread:
        if len(numbers) == 1:
            return cls(numbers[0], numbers[0], numbers[0])
        low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Timing:
    """Seconds per call of each variant, one number a round."""

    seconds: dict[str, list[float]]

    def of(self, variant: str) -> Spread:
        return Spread.of(self.seconds[variant])

    def ratio(self, reference: str, ours: str) -> Spread:
        """How many times as fast as ``reference`` is ``ours``, round by round: in one, both met the same machine."""
        pairs = zip(self.seconds[reference], self.seconds[ours], strict=True)
        return Spread.of([slow / fast for slow, fast in pairs])


@dataclass(frozen=True)
class Variant:
    """What is timed. ``calls`` calls make one measurement; ``before`` sets the stage for them, off the clock."""

    run: Callable[[], Any]
    calls: int = 1
    before: Callable[[], None] = lambda: None


def interleaved(
    variants: Mapping[str, Variant], rounds: int, *, warm_up: int = 1, synchronize: Callable[[], None] = lambda: None
) -> Timing:
    """Time all variants once in each of ``rounds`` rounds, A B C, A B C, ..., without garbage collection.

    warm_up: rounds before these, not counted. synchronize: waits for a GPU to finish.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    with _no_garbage_collection():
        for number in range(-warm_up, rounds):
            gc.collect()
            for name, variant in variants.items():
                variant.before()
                synchronize()
                begin = time.perf_counter()
                for _ in range(variant.calls):
                    variant.run()
                synchronize()
                if number >= 0:
                    seconds[name].append((time.perf_counter() - begin) / variant.calls)
    return Timing(seconds)


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``function(...)`` in a fresh process, which has this one's environment and none of its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def in_children(work: Callable[[str], R], names: Iterable[str], at_once: int) -> dict[str, R]:
    """``work(name)`` in a fresh process for each name, some at once: for what does not depend on how fast they are."""
    names = list(names)
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(names, pool.map(partial(in_child, work), names), strict=True))


def memory(*, peak: bool) -> int:
    """Bytes of physical memory that this process has, or has had at most."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent in: a child inherits its peak
        field = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(field))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
