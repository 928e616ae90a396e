"""What disks do, and clocks: full, read-only, files cut short, bits flipped, a time that runs backwards."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.found import Found, NotHere, copy, line, nothing_left_over, part_of, same
from tests.faults.processes import KILL, Aim, count_operations, import_of, limit_file_size, run, succeed
from tests.faults.works import WORKS, Work

TRAINING, _, _, PACKING, EVALUATION, REPORT = WORKS
READY: dict[str, tuple[Path, dict[str, bytes]]] = {}  # what faults of one work begin with, made once


def ready(work: Work, folder: Path) -> tuple[Path, dict[str, bytes], Path]:
    """A folder where ``work`` can begin, what it must leave there, and a file for what it prints."""
    folder.mkdir(parents=True)
    log, base = folder / "log.txt", folder / "base"
    if work.name not in READY:
        made = folder / "made"
        succeed(lambda: work.prepare(made), log)
        place = copy(made, "undisturbed")
        import_of(lambda: work.do(place), log)
        READY[work.name] = made, work.results(place)
    made, expected = READY[work.name]
    return copy(made, base), expected, log


def half_done(base: Path, log: Path) -> Path:
    """A training killed after half of its operations, with two checkpoints."""
    place = copy(base, "counted")
    operations = count_operations(lambda: TRAINING.do(place), log)
    place = copy(base, "place")
    run(lambda: TRAINING.do(place), log, aim=Aim(operations // 2, False, KILL))
    assert len(checkpoints(place)) >= 2  # three, where it was killed before it dropped the oldest
    return place


def checkpoints(place: Path) -> list[Path]:
    return sorted(place.rglob("step-*.pt"))


def again(work: Work, place: Path, expected: dict[str, bytes], log: Path) -> str:
    """The same once more, undisturbed: it ends in the same bits and leaves nothing else."""
    said = succeed(lambda: work.do(place), log)
    same(work.results(place), expected)
    for path in place.rglob("*.damaged"):
        path.unlink()
    nothing_left_over(place)
    return said


def file_too_large(folder: Path, _: Random) -> Found:
    """The disk refuses more: a limit of the file size, which every account can set."""
    seen = []
    limits = {TRAINING: limit_file_size(20_000), PACKING: limit_file_size(500_000), REPORT: limit_file_size(5_000)}
    for work, setup in (limits | {EVALUATION: refuse_to_flush}).items():
        base, expected, log = ready(work, folder / work.name.split()[0])
        place = copy(base, "place")
        status, said = run(lambda: work.do(place), log, setup=setup)  # noqa: B023
        assert status == 1, f"{work.name} ended with {status}:\n{said[-2000:]}"
        seen.append(line(said, "could not be written|cannot be written"))
        part_of(work.results(place), expected)
        again(work, place, expected, log)
    done = "training, packing, evaluation and report with a limit of the file size"
    return Found(done, _short(seen[0], folder), "run again without it: bit-equal, nothing left over")


def refuse_to_flush() -> None:
    """A disk that says only at the end that it is full, as network disks do."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = full


def disk_full(folder: Path, _: Random) -> Found:
    """A small disk of its own, which really fills up, then gets room."""
    with small_disk(folder / "disk", "2m"):
        base, expected, log = ready(PACKING, folder / "packing")
        sets = base / "sets"
        sets.symlink_to(folder / "disk")
        (folder / "disk/filler").write_bytes(bytes(1_500_000))
        status, said = run(lambda: PACKING.do(base), log)
        line(said, "has only|cannot be written")
        assert status == 1 and not PACKING.results(base)
        (folder / "disk/filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder / "disk")], check=True, capture_output=True)
        succeed(lambda: PACKING.do(base), log)
        same(PACKING.results(base), expected)
    with small_disk(folder / "disk", "100k"):
        base, expected, log = ready(TRAINING, folder / "training")
        (base / ".cache/trainings").rename(base / "starts")
        (base / ".cache/trainings").symlink_to(folder / "disk")
        status, said = run(lambda: TRAINING.do(base), log)
        assert status == 1, f"ended with {status}:\n{said}"
        training = line(said, "No space left on device")
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder / "disk")], check=True, capture_output=True)
        succeed(lambda: TRAINING.do(base), log)
        same(TRAINING.results(base), expected)
    return Found("a pack and a training on a small disk that is full", _short(training, folder), "with room: bit-equal")


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[None]:
    where.mkdir(parents=True, exist_ok=True)
    try:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)]
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        raise NotHere(f"no small disk can be made here ({error})") from None
    if mounted.returncode:
        raise NotHere(f"this account may not mount a small disk ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True, capture_output=True)


def read_only_folder(folder: Path, _: Random) -> Found:
    """Folders that may be read and not written, by their rights."""
    seen = []
    for work in (TRAINING, PACKING, EVALUATION, REPORT):
        base, expected, log = ready(work, folder / work.name.split()[0])
        place = copy(base, "place")
        folders = [place, *(path for path in place.rglob("*") if path.is_dir() and not path.is_symlink())]
        for path in folders:
            path.chmod(0o555)
        status, said = run(lambda: work.do(place), log, setup=without_rights)  # noqa: B023
        for path in folders:
            path.chmod(0o755)
        assert status == 1, f"{work.name} ended with {status}:\n{said[-2000:]}"
        seen.append(line(said, "Permission denied|Read-only"))
        again(work, place, expected, log)
    done = "training, packing, evaluation and report in folders that may only be read"
    return Found(done, _short(seen[0], folder), "run again with rights: bit-equal")


def without_rights() -> None:
    """Rights count for root too from now on: this process gives up what lets it pass them by. Linux."""
    if os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capset"):
        raise NotHere("root passes by all rights here; run the suite as another account")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the lower 32 bits, then the upper
    assert libc.capget(header, sets) == 0
    for number in range(3):
        sets[number] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0


def checkpoint_damaged(folder: Path, rng: Random) -> Found:
    """The newest checkpoint cut short, empty or with a flipped bit; then both of them."""
    base, expected, log = ready(TRAINING, folder)
    seen = []
    for damage in (cut_short, emptied, lambda content: bit_flipped(content, rng)):
        place = half_done(base, log)
        newest = checkpoints(place)[-1]
        newest.write_bytes(damage(newest.read_bytes()))
        said = again(TRAINING, place, expected, log)
        seen.append(line(said, f"{newest.name} is damaged"))
        line(said, "goes on from step")
    place = half_done(base, log)
    for path in checkpoints(place):
        path.write_bytes(cut_short(path.read_bytes()))
    assert "goes on" not in again(TRAINING, place, expected, log)
    done = "newest checkpoint cut in half, emptied, a bit flipped; then both"
    return Found(done, seen[0], "the one before is used: bit-equal")


def store_damaged(folder: Path, rng: Random) -> Found:
    """A finished training whose files are no longer what they were."""
    base, expected, log = ready(TRAINING, folder)
    finished, seen = copy(base, "finished"), []
    succeed(lambda: TRAINING.do(finished), log)
    damages: dict[str, list[Callable[[bytes], bytes]]] = {
        "training.json": [cut_short, emptied, lambda _: b"\xff\x00", lambda _: b"[]", lambda _: b"{}", another_seed],
        "generator.safetensors": [cut_short, lambda content: bit_flipped(content, rng)],
        "history.csv": [cut_short],
    }
    for name, ways in damages.items():
        for damage in ways:
            place = copy(finished, "place")
            record = json.loads((place / "out/training.json").read_text())
            path = place / ".cache/trainings" / record["key"] / name
            path.write_bytes(damage(path.read_bytes()))
            seen.append(line(again(TRAINING, place, expected, log), f"{name} is not what was recorded"))
    done = "training.json, weights or history of a finished training damaged (9 ways)"
    return Found(done, _short(seen[0], folder), "trained again: bit-equal")


def clock_set_back(folder: Path, _: Random) -> Found:
    """A year back in the middle of a training, after all its files got dates of the future."""
    base, expected, log = ready(TRAINING, folder)
    place = half_done(base, log)
    for path in place.rglob("*"):
        os.utime(path, (time.time() + 1e7,) * 2, follow_symlinks=False)

    def setup() -> None:
        calls, real = [0], time.time

        def jumping() -> float:
            calls[0] += 1
            return real() - 3e7 * (calls[0] % 2)

        time.time = jumping

    status, said = run(lambda: TRAINING.do(place), log, setup=setup)
    assert status == 0, said
    same(TRAINING.results(place), expected)
    nothing_left_over(place)
    seconds = json.loads((place / "out/training.json").read_text())["seconds_since_last_start"]
    assert 0 <= seconds < 60
    done = "clock a year back and forth during a training, dates of files in the future"
    return Found(done, line(said, "goes on from"), "bit-equal")


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def bit_flipped(content: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def another_seed(content: bytes) -> bytes:
    record = json.loads(content)
    record["inputs"]["seed"] += 1
    return json.dumps(record).encode()


def _short(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "").replace("masksr: error: ", "")
