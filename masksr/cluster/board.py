"""What is going on, for people: a line for each event, and one line with the counts that a terminal redraws."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

SECONDS_BETWEEN_LINES = 60.0  # of the counts in a log file; a terminal shows them all the time


class Board:
    def __init__(self, stages: Iterable[str], stream: TextIO) -> None:
        self.state = dict.fromkeys(stages, "waiting")
        self.began: dict[str, float] = {}
        self.stream, self.live = stream, stream.isatty()
        self.start = self.shown = time.monotonic()

    def say(self, text: str) -> None:
        """An event of its own, or several lines about one."""
        first, *more = text.splitlines()
        wipe = "\r\x1b[K" if self.live else ""
        self.stream.write(wipe + "\n".join([f"[{clock(time.monotonic() - self.start)}] {first}", *more]) + "\n")
        self.stream.flush()
        self.tick()

    def running(self, stage: str, where: str) -> None:
        self.state[stage], self.began[stage] = "running", time.monotonic()
        self.say(f"started    {stage}  ({where})")

    def done(self, stage: str, how: str) -> None:
        """how: ``done`` or ``unchanged``, where DVC found that nothing had to run."""
        self.state[stage] = "done"
        self.say(f"{how:<10} {stage}  ({clock(self._seconds(stage))}{self._counts(', ')})")

    def waiting(self, stage: str, why: str) -> None:
        """Taken back: it will be started again."""
        self.state[stage] = "waiting"
        self.say(f"again      {stage}  ({why})")

    def failed(self, stage: str, why: str, skipped: Iterable[str], output: Iterable[str] = ()) -> None:
        """output: the last lines of it. skipped: what cannot run without this stage."""
        self.state |= {stage: "failed"} | dict.fromkeys(skipped, "skipped")
        event = f"FAILED     {stage}  ({clock(self._seconds(stage))}; {why})"
        self.say("\n".join([event, *(f"    {line}" for line in output)]))

    def tick(self) -> None:
        """Show the counts, when it is time."""
        line = f"[{clock(time.monotonic() - self.start)}] {self._counts()}"
        if self.live:
            self.stream.write(f"\r\x1b[K{line}")
        elif time.monotonic() - self.shown > SECONDS_BETWEEN_LINES:
            self.shown = time.monotonic()
            self.stream.write(line + "\n")
        else:
            return
        self.stream.flush()

    def close(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def of(self, state: str) -> list[str]:
        """The stages that are ``waiting``, ``running``, ``done``, ``failed`` or ``skipped``."""
        return [stage for stage, now in self.state.items() if now == state]

    def _counts(self, before: str = "") -> str:
        counts = Counter(self.state.values())
        parts = [f"{counts[name]} {name}" for name in ("running", "waiting")] + [
            f"{counts['done']}/{len(self.state)} done"
        ]
        return before + ", ".join(parts + [f"{counts[name]} {name}" for name in ("failed", "skipped") if counts[name]])

    def _seconds(self, stage: str) -> float:
        return time.monotonic() - self.began.get(stage, time.monotonic())


def clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``3:02:01``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
