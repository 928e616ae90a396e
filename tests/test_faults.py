"""Kills, full disks, damaged files, two at once: after each the same bits, as docs/robustness.md promises."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_trainings import prepare, small
from tiny_project import ROOT, environment_in

from masksr.io import MasksrError
from masksr.paths import Paths
from masksr.training import train as training

linux = pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux has them")
pytestmark = [pytest.mark.slow, linux]


SETTINGS = small(steps_per_epoch=20, validate_every=20, ema=0.9)  # with everything a checkpoint can hold


def train(folder: Path) -> None:
    training.train_gan(SETTINGS, "esrgan", SETTINGS.masks["shuffled"], 0, Paths(folder, "mini"), folder / "out")


def start(folder: Path, largest_file: int | None = None) -> subprocess.Popen[str]:
    """``train`` in a process of its own. largest_file: in bytes, what its disk takes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(command, env=environment_in(ROOT), preexec_fn=limit, **pipe)


def finish(folder: Path, expected: dict[str, bytes]) -> str:
    """Run the training to its end: the bits of the undisturbed run, nothing left over. What it printed."""
    process = start(folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert results(folder) == expected
    assert not [path for path in folder.rglob("*.partial")] and not checkpoints(folder)
    return said


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.rglob("step-*.pt"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder in which a training can begin, and what it must leave."""
    base = tmp_path_factory.mktemp("base")
    prepare(base, SETTINGS)
    place = shutil.copytree(base, base.with_name("undisturbed"))
    train(place)
    return base, results(place)


@pytest.fixture
def place(undisturbed, tmp_path: Path) -> Path:
    return shutil.copytree(undisturbed[0], tmp_path / "place")


def kill_after(folder: Path, step: int) -> None:
    """Start the training and kill it once the checkpoint of ``step`` is there."""
    process = start(folder)
    there = f"step-{step:08d}"
    until(lambda: process.poll() is not None or any(path.name >= there for path in checkpoints(folder)))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"


@pytest.mark.parametrize("which", [slice(-1, None), slice(None)])
def test_damaged_checkpoints_cost_the_steps_since_the_one_before(place: Path, undisturbed, which) -> None:
    kill_after(place, 12)
    for path in checkpoints(place)[which]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    said = finish(place, undisturbed[1])
    assert "is damaged" in said and ("goes on from step" in said) == (which.start == -1)


def test_a_full_disk_is_one_line_and_nothing_that_was_finished_is_lost(place: Path, undisturbed) -> None:
    process = start(place, largest_file=20_000)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and "could not be written" in said and "Traceback" not in said
    finish(place, undisturbed[1])


@pytest.mark.parametrize("first_is_killed", [False, True])
def test_two_at_once_share_one_training(place: Path, undisturbed, first_is_killed: bool) -> None:
    first = start(place)
    until(lambda: checkpoints(place))
    second = start(place)
    if first_is_killed:
        first.kill()
    (said, _), _ = second.communicate(timeout=600), first.communicate(timeout=300)
    assert second.returncode == 0 and first.returncode == (-signal.SIGKILL if first_is_killed else 0), said
    assert ("goes on from step" if first_is_killed else "Already trained") in said
    assert results(place) == undisturbed[1]


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]))
    except MasksrError as error:
        sys.exit(f"masksr: error: {error}")
