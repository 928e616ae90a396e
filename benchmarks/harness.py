"""What measurements need: where findings go, what the machine is and can do, fair timing, and an end in time."""

import faulthandler
import gc
import json
import os
import platform
import re
import signal
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from timeit import timeit
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from masksr.io import write_atomic
from masksr.training.device import allow_tf32, cores, make_deterministic

PACKAGES = ("torch", "numpy", "scipy", "pillow", "pyiqa", "dvc")
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


class Findings:
    """Findings in the order in which they are made: at once in NAME.json and, as a table, in NAME.md, and printed."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.list: list[dict[str, Any]] = []

    def add(self, section: str, what: str, passed: bool | None = None, **numbers: Any) -> None:
        """Write down one finding. passed: None where nothing was promised."""
        self.list.append({"section": section, "what": what, "passed": passed, **numbers})
        lines = ["| section | what | passed | numbers |", "|:--|:--|:--|:--|", *map(_row, self.list)]
        for ending, text in ((".json", json.dumps(self.list, indent=1, default=str)), (".md", "\n".join(lines))):
            write_atomic(self.name.with_name(self.name.name + ending), (text + "\n").encode())
        print(_row(self.list[-1]), flush=True)

    @property
    def failed(self) -> list[str]:
        return [found["what"] for found in self.list if found["passed"] is False]


def _row(found: dict[str, Any]) -> str:
    """A line of the table: numbers of three digits; lists and texts of many lines stand in the JSON alone."""
    numbers = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
        if name not in ("section", "what", "passed")
        and not isinstance(value, list | dict)
        and "\n" not in str(value)
    ]
    passed = {None: "", True: "yes", False: "**no**"}[found["passed"]]
    return f"| {found['section']} | {found['what']} | {passed} | {'; '.join(numbers)} |"


def measure(found: Findings, device: str, seconds: float) -> dict[str, float]:
    """Write down what the machine is, and the best of many products of matrices and of many convolutions.

    On a CPU of one thread; TF32 on GPUs that have it. Each kind is repeated for about ``seconds``. Returns the FLOP/s
    of the faster kind in each precision.
    """
    found.add("machine", "versions", **describe(device))
    gpu, best = device == "cuda", {}
    torch.backends.cudnn.benchmark = True
    side, channels, width, batch = (8192, 256, 128, 16) if gpu else (1536, 64, 96, 1)
    for name, dtype in PRECISIONS.items():
        if name == "tf32" and not (gpu and torch.cuda.get_device_capability() >= (8, 0)):
            continue
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        x = torch.randn(batch, channels, width, width, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            matmul = 2 * side**3 / _best(lambda a=a, b=b: a @ b, seconds)
            conv = 2 * x.numel() * channels * 9 / _best(lambda x=x, w=w: F.conv2d(x, w, padding=1), seconds)
        found.add("machine", f"{name}, at most", **{"matmul TFLOP/s": matmul / 1e12, "conv TFLOP/s": conv / 1e12})
        best[name] = max(matmul, conv)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return best


def describe(device: str) -> dict[str, Any]:
    """Date, CPU, cores, memory, GPU, driver, operating system and versions, on Linux."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    about = {"date": time.strftime("%Y-%m-%d"), "cpu": cpu[1] if cpu else platform.machine(), "cores": cores()}
    about["memory GB"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
        about["gpu memory GB"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
        about["cuda"], about["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
        driver = Path("/proc/driver/nvidia/version")
        about["driver"] = driver.read_text().splitlines()[0] if driver.exists() else None
    about |= {"system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            about[name] = version(name)
    return about


def _best(work: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest of many calls, after the one in which cuDNN tries its kernels."""
    return min(Timer("work()", globals={"work": work}).blocked_autorange(min_run_time=seconds).times)


def race(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    before: Callable[[str], None] = lambda name: None,
) -> dict[str, dict[str, Any]]:
    """Of each variant but the first: how many times as fast as that it is, median and quartiles over the rounds, and
    the median seconds of both.

    All are timed in turns, once a round: a machine that gets slower gets slower for all of them. before: called with
    the name of a variant before its turn, off the clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(-warm_up, rounds):
        for name, run in variants.items():
            gc.collect()  # timeit does not let it run
            before(name)
            took = timeit(run, number=1)
            if number >= 0:
                seconds[name].append(took)
    first, *others = variants
    found = {}
    for name in others:
        low, median, high = np.percentile(np.divide(seconds[first], seconds[name]), [25, 50, 75])
        medians = {f"{one} s": statistics.median(seconds[one]) for one in (first, name)}
        found[name] = {"ratio": float(median), "quartiles": f"{low:.3g} to {high:.3g}", **medians}
    return found


class TimeUp(BaseException):
    """The minutes of a section are over. No Exception, which somebody on the way could catch."""


class Run(Findings):
    """One run of sections on a device, which ends after ``minutes``."""

    def __init__(self, device: str, out: Path, minutes: float) -> None:
        super().__init__(out / "first_gpu")
        self.device, self.tiny = torch.device(device), device == "cpu"
        torch.set_num_threads(1 if self.tiny else 4)  # tiny networks gain nothing from more
        self._ends = [time.monotonic() + 60 * minutes]
        self.peaks: dict[str, float] = {}  # FLOP/s in each precision
        self.work = Path(tempfile.mkdtemp(prefix="first_gpu-"))
        signal.signal(signal.SIGALRM, self._time_up)
        faulthandler.dump_traceback_later(60 * minutes + 20, exit=True)  # where no Python runs that could be stopped

    def all(self, sections: Mapping[str, tuple[Callable[["Run"], None], float]]) -> None:
        """Run each section for at most its seconds."""
        for name, (section, seconds) in sections.items():
            self.attempt(seconds, name, "the section", lambda section=section: section(self))
        faulthandler.cancel_dump_traceback_later()

    def attempt(self, seconds: float, section: str, what: str, work: Callable[[], Any]) -> None:
        """Do ``work`` for at most ``seconds``: where it fails, that is a finding, and stops nothing else."""
        try:
            with self.limit(seconds):
                work()
        except (Exception, TimeUp) as error:
            if self.left <= 0 and len(self._ends) > 1:  # what is around it has to end
                raise
            traceback.print_exc()
            self.add(section, what, False, error=short(error))

    @property
    def left(self) -> float:
        """Seconds until the section, and whatever has a limit inside it, has to end."""
        return min(self._ends) - time.monotonic()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise TimeUp inside after ``seconds``, or when what is around it has to end."""
        self._ends.append(time.monotonic() + seconds)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.01))
        try:
            yield
        finally:
            self._ends.pop()
            signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.01) if len(self._ends) > 1 else 0)

    def fresh(self) -> None:
        """Forget what the last thing left: compiled graphs (dynamo stops compiling after eight), memory, switches."""
        torch._dynamo.reset()
        gc.collect()  # networks and their steps refer to each other
        allow_tf32(self.device, "fp32")
        make_deterministic(self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _time_up(self, *_: Any) -> None:
        raise TimeUp("it took too long")


def short(error: BaseException) -> str:
    """An error as one line of at most 300 letters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
