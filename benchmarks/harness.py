"""What measurements need: where findings go, the device, and the clock that ends a section in time."""

from __future__ import annotations

import faulthandler
import gc
import json
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from masksr.io import write_atomic
from masksr.training.device import allow_tf32, make_deterministic


class Findings:
    """Findings in the order in which they are made: at once in NAME.json and, as a table, in NAME.md, and printed."""

    def __init__(self, name: Path) -> None:
        self.name, self.begin = name, time.monotonic()
        self.list: list[dict[str, Any]] = []

    def add(self, section: str, what: str, passed: bool | None = None, **numbers: Any) -> None:
        """Write down one finding. passed: None where nothing was promised."""
        seconds = round(time.monotonic() - self.begin, 1)
        self.list.append({"section": section, "what": what, "passed": passed, "at s": seconds, **numbers})
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
        if name not in ("section", "what", "passed", "at s")
        and not isinstance(value, list | dict)
        and "\n" not in str(value)
    ]
    passed = {None: "", True: "yes", False: "**no**"}[found["passed"]]
    return f"| {found['section']} | {found['what']} | {passed} | {'; '.join(numbers)} |"


class TimeUp(BaseException):
    """The minutes of a section are over. No Exception, which somebody on the way could catch."""


class Run(Findings):
    """One run of sections on a device, which ends after ``minutes``. models: those whose speed is measured."""

    def __init__(self, device: str, out: Path, minutes: float, models: list[str]) -> None:
        super().__init__(out / "first_gpu")
        self.device, self.tiny, self.models = torch.device(device), device == "cpu", models
        torch.set_num_threads(1 if self.tiny else 4)  # tiny networks gain nothing from more
        self._ends = [time.monotonic() + 60 * minutes]
        self.peaks: dict[str, dict[str, float]] = {}
        self.work = Path(tempfile.mkdtemp(prefix="first_gpu-"))
        signal.signal(signal.SIGALRM, self._time_up)
        faulthandler.dump_traceback_later(60 * minutes + 20, exit=True)  # where no Python runs that could be stopped

    def all(self, sections: Mapping[str, tuple[Callable[[Run], None], float]]) -> None:
        """Run each section for at most its seconds; what fails does not stop the next section."""
        for name, (section, seconds) in sections.items():
            try:
                with self.limit(seconds):
                    section(self)
            except TimeUp:
                self.add(name, "the section", False, error="its minutes were over")
            except Exception as error:
                traceback.print_exc()
                self.add(name, "the section", False, error=short(error))
        faulthandler.cancel_dump_traceback_later()

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

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def fresh(self) -> None:
        """Forget what the last thing left: compiled graphs (dynamo stops compiling after eight), memory, switches."""
        torch._dynamo.reset()
        gc.collect()  # networks and their steps refer to each other
        allow_tf32(self.device, "fp32")
        make_deterministic(self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _time_up(self, *_: Any) -> None:
        raise TimeUp("its seconds were over")


def short(error: BaseException) -> str:
    """An error as one line of at most 300 letters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
