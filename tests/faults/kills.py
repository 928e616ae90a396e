"""Kills at random moments, until the work is done; then every bit must be that of an undisturbed run."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.faults.found import Found, copy, many_kills, nothing_left_over, part_of, same
from tests.faults.processes import INTERRUPT, SIGNALS, Aim, Ended, count_operations, import_of, kill_after, run, succeed
from tests.faults.works import Work

AIMED = 0.4  # of the kills hit an operation of the file system, the others any moment
IN_A_ROW = 8  # kills of one work before it is left alone until it is done


def kill_at_random(work: Work, kills: int, folder: Path, rng: Random, *, aimed: float = AIMED) -> Found:
    """Kill ``work`` that many times, in series that begin anew and end with the work done and compared."""
    folder.mkdir(parents=True, exist_ok=True)
    log, base = folder / "log.txt", folder / "base"
    succeed(lambda: work.prepare(base), log)
    place = copy(base, "undisturbed")
    import_of(lambda: work.do(place), log)
    expected = work.results(place)
    assert expected, "an undisturbed run leaves no result"
    place, begin = copy(base, "counted"), time.monotonic()
    operations = count_operations(lambda: work.do(place), log)
    seconds = time.monotonic() - begin
    same(work.results(place), expected)

    done, series, sent_how_often = 0, 0, Counter[str]()
    while done < kills:
        place, row = copy(base, "place"), 0
        series += 1
        while row < min(IN_A_ROW, kills - done):
            sent = rng.choice(SIGNALS)
            if rng.random() < aimed:
                aim = Aim(rng.randint(1, operations), rng.random() < 0.5, sent)
                status, said = run(lambda: work.do(place), log, aim=aim)  # noqa: B023
            else:
                status, said = kill_after(rng.uniform(0, seconds), sent, lambda: work.do(place), log)  # noqa: B023
            part_of(work.results(place), expected)
            whole_checkpoints(place)
            if status == 0:
                break
            ended_by(sent, Ended(status, said))
            row += 1
            sent_how_often[sent.name] += 1
        done += row
        succeed(lambda: work.do(place), log)  # noqa: B023
        same(work.results(place), expected)
        nothing_left_over(place)
    return many_kills(
        sent_how_often,
        f"in {series} series: at any moment of {seconds:.1f} s, at {operations} file operations",
        "nothing; the next run goes on or begins again",
        "every file bit-equal, none half-made, none left over",
    )


def ended_by(sent: int, ended: Ended) -> None:
    """It ended by the signal and by nothing else."""
    status, said = ended
    expected = (130,) if sent == INTERRUPT else (-sent,)
    # A Ctrl-C in the middle of C code can come out of it as another error; the process still ends and says so.
    interrupted = sent == INTERRUPT and "KeyboardInterrupt" in said
    assert status in expected or interrupted, f"ended with {status}:\n{said[-3000:]}"


def whole_checkpoints(place: Path) -> None:
    """Whatever bears the name of a checkpoint is one."""
    for path in place.rglob("step-*.pt"):
        digest = path.stem.rpartition("-")[2]
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == digest, f"{path.name} is not what its name says"
