import io

import pytest

from masksr import terminal
from masksr.terminal import Terminal

BAR = ["\r  0%|   | 0/2", "\r 50%|#  | 1/2", "\r100%|###| 2/2\n"]


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def shown(stream, pieces):
    with Terminal(stream) as out:
        for piece in pieces:
            out.write(piece)
    return stream.getvalue()


def test_a_terminal_gets_every_character():
    assert shown(Screen(), BAR) == "".join(BAR)


def test_a_log_gets_lines_and_the_end_of_a_bar(clock):
    assert shown(io.StringIO(), ["one\ntw", "o\n", *BAR, "three"]) == "one\ntwo\n100%|###| 2/2\nthree\n"


def test_a_log_gets_a_slow_bar_now_and_then(clock):
    stream = io.StringIO()
    with Terminal(stream) as out:
        for second in range(0, 101, 5):
            clock[0] = float(second)
            out.write(f"\rstep {second}")
        assert stream.getvalue() == "step 35\nstep 70\n"
    assert stream.getvalue() == "step 35\nstep 70\nstep 100\n"
