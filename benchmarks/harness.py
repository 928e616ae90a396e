"""What the sections of ``benchmarks.first_gpu`` share: the device, the clock, and where findings go."""

from __future__ import annotations

import faulthandler
import gc
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.findings import Findings
from masksr.training.device import allow_tf32, make_deterministic


class TimeUp(BaseException):
    """The minutes of a section are over. No Exception, which somebody on the way could catch."""


class Run:
    """One run of all sections, which ends after ``minutes``."""

    def __init__(self, device: str, out: Path, minutes: float) -> None:
        self.device, self.tiny = torch.device(device), device == "cpu"
        torch.set_num_threads(1 if self.tiny else 4)  # tiny networks gain nothing from more
        self._ends = [time.monotonic() + 60 * minutes]
        self.findings = Findings(out / "first_gpu")
        self.add = self.findings.add
        self.peaks: dict[str, dict[str, float]] = {}
        self.work = Path(tempfile.mkdtemp(prefix="first_gpu-"))
        signal.signal(signal.SIGALRM, self._time_up)
        faulthandler.dump_traceback_later(60 * minutes + 20, exit=True)  # where no Python runs that could be stopped

    def all(self, sections: Mapping[str, tuple[Callable[[Run], None], float]]) -> list[str]:
        """Run each section for at most its seconds. Returns what failed; that does not stop the next section."""
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
        return self.findings.failed

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
