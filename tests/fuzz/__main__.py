"""``python -m tests.fuzz [--minutes M] [--seed N] [--only LOADER]``: damaged files for every loader in turn.

A child reads them, with bounded memory and time, and dies alone if one kills it. What is neither success nor
MasksrError is kept in ``fuzz-crashes`` and, with the same seed, comes back: ``--only LOADER --number N``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from masksr.errors import MasksrError
from tests.fuzz import mutate
from tests.fuzz.loaders import Loader, loaders

MEMORY = 3 << 30  # bytes that the child may have more than its parent
SECONDS = 20  # for one file; twice as many where not even Python gets a turn


class TooSlow(BaseException):
    """Not an Exception, which a loader could take for damage."""


def sample(loader: Loader, name: str, seed: int, number: int) -> tuple[str, bytes]:
    """The damaged file of this number: its name and its content."""
    rng = random.Random(f"{seed}/{name}/{number}")
    chosen = rng.choice(sorted(loader.samples))
    data = loader.samples[chosen]
    deep = loader.deep.get(Path(chosen).suffix)
    if deep and rng.random() < 0.5:
        for _ in range(rng.choice([1, 1, 3])):
            try:
                data = deep(rng, data)
            except Exception:  # what was done to it before has left nothing to go deep into
                break
    else:
        data = mutate.damaged(rng, data, list(loader.samples.values()))
    return f"{number}-{chosen}", data


def attempt(loader: Loader, name: str, data: bytes) -> str | None:
    """``read`` or ``refused``; else a traceback."""

    def too_slow(*_: object) -> None:
        raise TooSlow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample" / name
        path.parent.mkdir()
        path.write_bytes(data)
        signal.signal(signal.SIGALRM, too_slow)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            loader.load(path)
        except MasksrError:
            return "refused"
        except KeyboardInterrupt:
            raise
        except BaseException:
            return traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return "read"


def child(found: dict[str, Loader], jobs: Connection) -> None:
    """Answers (loader, name, content) until it is told to end."""
    os.setsid()
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (job := jobs.recv()) is not None:
        name, file, data = job
        jobs.send((attempt(found[name], file, data), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


class Child:
    def __init__(self, found: dict[str, Loader]) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=child, args=(found, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, name: str, file: str, data: bytes) -> tuple[str, int]:
        """How it went and kB of memory at most so far. Raises EOFError where the child has died."""
        self.pipe.send((name, file, data))
        if not self.pipe.poll(2 * SECONDS):
            self.process.kill()
            self.process.join()
            return f"hangs for more than {2 * SECONDS} s", 0
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return f"killed the process (exit status {self.process.exitcode})", 0

    def end(self) -> None:
        if self.process.is_alive():
            self.pipe.send(None)
        self.process.join(5)


def fuzz(
    minutes: float, seed: int, only: list[str] | None = None, numbers: range | None = None, keep: Path | None = None
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Counts of ``read``, ``refused`` and ``crashed`` by loader, and the crashes in words."""
    found = {name: loader for name, loader in loaders().items() if not only or name in only}
    counts, crashes = {name: Counter() for name in found}, []
    worker, end, peak = Child(found), time.monotonic() + 60 * minutes, 0
    try:
        for number in numbers or range(10**9):
            for name, loader in found.items():
                if time.monotonic() > end:
                    return counts, crashes
                file, data = sample(loader, name, seed, number)
                result, memory = worker.ask(name, file, data)
                peak = max(peak, memory)
                counts[name][result if result in ("read", "refused") else "crashed"] += 1
                if result not in ("read", "refused"):
                    crashes.append(f"{name} number {number}, seed {seed}: {result}")
                    if keep:
                        keep.mkdir(exist_ok=True)
                        (keep / f"{name}-{seed}-{file}").write_bytes(data)
                    if not worker.process.is_alive():
                        worker = Child(found)
    finally:
        worker.end()
        counts["memory"] = Counter(peak_MB=peak // 1024)
    return counts, crashes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition(":")[0])
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="LOADER")
    parser.add_argument("--number", type=int, help="only the file of this number")
    options = parser.parse_args()
    numbers = None if options.number is None else range(options.number, options.number + 1)
    counts, crashes = fuzz(options.minutes, options.seed, options.only, numbers, Path("fuzz-crashes"))
    for name, counter in counts.items():
        print(f"{name:12s} {', '.join(f'{counter[what]} {what}' for what in sorted(counter))}")
    total = sum(sum(counter.values()) for name, counter in counts.items() if name != "memory")
    print(f"{total} files, seed {options.seed}, {len(crashes)} crashes")
    print(*crashes, sep="\n")
    return bool(crashes)


if __name__ == "__main__":
    sys.exit(main())
