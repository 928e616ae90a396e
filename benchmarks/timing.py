"""Fair timing: variants take turns, so that a machine that gets slower gets slower for all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Seconds = dict[str, list[float]]  # of a call of each variant, one number a round


def interleave(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    before: Callable[[str], None] = lambda name: None,
) -> Seconds:
    """Time all variants in turns: each round calls each of them once.

    before: called with the name of a variant before its turn, off the clock. The garbage collector does not run.
    """
    seconds: Seconds = {name: [] for name in variants}
    gc.disable()
    try:
        for number in range(-warm_up, rounds):
            for name, run in variants.items():
                gc.collect()
                before(name)
                begin = time.perf_counter()
                run()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - begin)
    finally:
        gc.enable()
    return seconds


def ratio(seconds: Seconds, slow: str, fast: str) -> str:
    """How many times as fast as ``slow`` is ``fast``: median and quartiles over the rounds, in which both met the same
    machine.
    """
    found = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    if len(found) == 1:
        return f"{found[0]:.3g}"
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return f"{median:.3g} ({low:.3g} to {high:.3g})"
