"""What a terminal is given: a notebook's printed text while it runs, and names that nobody vouches for."""

from __future__ import annotations

import time
import unicodedata
from typing import TextIO

SECONDS_BETWEEN_BARS = 30.0


def shown(name: object, keep: str = "") -> str:
    """``str(name)`` with escapes in place of what a terminal would obey (ESC, line breaks, a change of direction) or
    could not print (half a character, as in a file name that is no UTF-8). keep: what may stay.
    """
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in keep else c
        for c in str(name)
    )


class Terminal:
    """Passes text on to ``stream``. On a terminal as it comes, so that progress bars redraw their line; in a log file
    line by line, with a progress bar as one line every half minute and one when it is done.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.line = ""  # begun, not yet shown
        self.shown = time.monotonic()

    def write(self, text: str) -> None:
        if self.live:
            self.stream.write(text)
            return
        *finished, self.line = (self.line + text.replace("\r\n", "\n")).split("\n")
        for line in finished:
            self._show(line)
        if "\r" in self.line:
            self.line = "\r" + _as_seen(self.line)
            if time.monotonic() - self.shown > SECONDS_BETWEEN_BARS:
                self._show(self.line)

    def flush(self) -> None:
        self.stream.flush()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.line.strip():
            self._show(self.line)
        self.flush()

    def _show(self, line: str) -> None:
        self.shown = time.monotonic()
        self.stream.write(_as_seen(line) + "\n")


def _as_seen(line: str) -> str:
    """What a terminal shows of a line that was redrawn: the text after its last carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]
