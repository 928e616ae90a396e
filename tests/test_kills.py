"""`dvc repro` is killed at random, and while DVC rewrites its own files; it goes on to the same bits. Slow.

MASKSR_KILLS=100 in the environment asks for so many kills; the counts by kind are printed (pytest -s) and, as
it goes on, in the project's kills.txt.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_project import environment_in, run

from masksr.io import MasksrError
from masksr.provenance import digests, recorded_stages
from masksr.repair import LOCK, RWLOCK, repair

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")]
KILLS = int(os.environ.get("MASKSR_KILLS", "8"))
MADE = ["runs", "results", "data/sets", "data/weights", ".cache", ".dvc/tmp", ".dvc/cache", LOCK]


def outputs(project: Path) -> dict[str, dict[str, str]]:
    """The MD5 of every output, by stage."""
    stages = recorded_stages("mini", (project / LOCK).read_text())
    return {name: digests(stage, "outs") for name, stage in stages.items()}


def start(project: Path) -> subprocess.Popen:
    with (project / "log.txt").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=project, env=environment_in(project), stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def wait_for_write(process: subprocess.Popen, file: Path, patience: float) -> None:
    """Until DVC has emptied the file to write it again, the process is over, or patience is."""
    size, deadline = file.stat().st_size if file.exists() else 0, time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        now = file.stat().st_size if file.exists() else 0
        if now < size:
            return
        size = now


def strike(process: subprocess.Popen, project: Path, when: str, how: str, rng: random.Random) -> bool:
    """End the process; False where it was over before."""
    if when == "at random":
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 12))
    else:
        time.sleep(rng.uniform(0, 8))
        wait_for_write(process, project / when, patience=60)
    if process.poll() is not None:
        return False
    match how:
        case "kill -9 of dvc":
            process.kill()
        case "kill -9 of all":
            os.killpg(process.pid, signal.SIGKILL)
        case "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    return True


def test_a_pipeline_that_is_killed_again_and_again_ends_in_the_same_bits(project: Path) -> None:
    expected, rng, kills = outputs(project), random.Random(0), Counter()
    while kills.total() < KILLS:
        for name in MADE:
            path = project / name
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        finished = False
        while not finished:
            run(project, sys.executable, "-m", "masksr", "check")
            process, when = start(project), rng.choice(["at random", LOCK, RWLOCK])
            how = rng.choice(["kill -9 of dvc", "kill -9 of all", "Ctrl-C"])
            if kills.total() < KILLS and strike(process, project, when, how, rng):
                kills[f"{how}, {when}"] += 1
                (project / "kills.txt").write_text(repr(kills))
            else:
                assert process.wait() == 0, (project / "log.txt").read_text()[-3000:]
                finished = True
        assert outputs(project) == expected
        print(dict(kills))


def test_what_a_full_disk_leaves_of_dvcs_files_is_mended(project: Path, capsys: pytest.CaptureFixture) -> None:
    lock = (project / LOCK).read_bytes()
    for name in (LOCK, RWLOCK):
        (project / name).write_text("")
    repair(project)
    said = capsys.readouterr().out
    assert f"{LOCK} was cut" in said and ".cache/dvc.lock" in said and f"{RWLOCK} was cut" in said
    (project / LOCK).write_bytes(lock[: lock.rindex(b"md5: ") + 12])  # within a digest: it is valid YAML
    run(project, sys.executable, "-m", "masksr", "check")
    run(project, sys.executable, "-m", "dvc", "repro", "data", "test_data")
    shutil.rmtree(project / ".cache")
    (project / LOCK).write_bytes(lock[: lock.rindex(b"md5: ") + 12])  # within a digest: it is valid YAML
    repair(project)
    said = capsys.readouterr().out
    assert not (project / LOCK).exists() and "git checkout dvc.lock" in said and "what was trained is kept" in said
    repair(project)
    assert capsys.readouterr().out == ""
    merging = lock.replace(b"\nstages:", b"\n<<<<<<< HEAD\nstages:", 1)
    (project / LOCK).write_bytes(merging)
    with pytest.raises(MasksrError, match="unfinished merge"):
        repair(project)
    assert (project / LOCK).read_bytes() == merging
