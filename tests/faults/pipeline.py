"""The pipeline as DVC runs it: killed, and with params.yaml edited underneath."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import yaml

from tests.faults.found import Found, copy, files_in, line, many_kills, same
from tests.faults.notebooks import notebook
from tests.faults.processes import INTERRUPT, KILL, SIGNALS, command, output_of, seconds_until_gone
from tests.faults.trainings import until

PATIENCE = 10.0  # seconds: the runner looks for dvc every half second, the kernel for the runner every second
CELL = """\
import time
import yaml
from masksr.files import write_atomic
value = yaml.safe_load(open("params.yaml"))["value"]
write_atomic(f"started-{seed}", b"")
time.sleep(0.5)
write_atomic(f"out/{seed}.txt", str(value + seed).encode())"""
STAGES = {
    name: {
        "cmd": f"python -m masksr run notebooks/n.ipynb -o out/{name}.ipynb seed={seed}",
        "params": ["value"],
        "deps": ["notebooks/n.ipynb", *(["out/1.txt"] if seed == 2 else [])],
        "outs": [f"out/{seed}.txt", f"out/{name}.ipynb"],
    }
    for name, seed in (("first", 1), ("second", 2))
}


def project(folder: Path) -> Path:
    folder.mkdir(parents=True)
    notebook(folder / "notebooks/n.ipynb", CELL)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    set_params(folder, value=1, other=1)
    (folder / ".dvcignore").write_text("*.partial.ipynb\n.*.partial\n.*.lock\n/.cache\n")
    dvc(folder, "init", "--no-scm", "-q")
    return folder


def set_params(folder: Path, **values: int) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def dvc(folder: Path, *words: str, status: int = 0) -> str:
    found, said = output_of(command("dvc", *words, where=folder))
    assert found == status, f"dvc {' '.join(words)} ended with {found}:\n{said[-3000:]}"
    return said


def kill_dvc(folder: Path, rng: Random, kills: int) -> Found:
    """`dvc repro` killed at random moments of its two stages."""
    base = project(folder / "base")
    place = copy(base, "undisturbed")
    begin = time.monotonic()
    dvc(place, "repro")
    seconds, expected = time.monotonic() - begin, files_in(place / "out")
    done, longest, sent_how_often, place = 0, 0.0, Counter[str](), copy(base, "place")
    while done < kills:
        token, sent = f"{folder.name}-{done}-{rng.random()}", rng.choice(SIGNALS)
        process = command("dvc", "repro", where=place, token=token)
        time.sleep(rng.uniform(0.3, seconds))
        if process.poll() is None:
            os.killpg(process.pid, sent) if sent == INTERRUPT else process.send_signal(sent)
        status = process.wait()
        longest = max(longest, seconds_until_gone(token, PATIENCE))
        output_of(process)
        done += status != 0
        sent_how_often[sent.name] += status != 0
        if status == 0 or done % 3 == 0 or done == kills:
            dvc(place, "repro")
            same(files_in(place / "out"), expected)
            line(dvc(place, "repro"), "up to date")
            place = copy(base, "place")
    after = f"dvc repro again: bit-equal, then up to date; nothing lived longer than {longest:.1f} s"
    return many_kills(sent_how_often, f"of dvc repro at any moment of {seconds:.1f} s", "DVC's own words", after)


def orphans(folder: Path, _: Random) -> Found:
    """kill -9 of dvc in the middle of a stage: runner and kernel end by themselves."""
    base = project(folder / "base")
    notebook(base / "notebooks/n.ipynb", CELL.replace("0.5", "600"))
    token = f"orphans-{os.getpid()}"
    process = command("dvc", "repro", where=base, token=token)
    until(lambda: (base / "started-1").exists())
    process.send_signal(KILL)
    process.wait()
    seconds = seconds_until_gone(token, PATIENCE)
    output_of(process)
    after = f"its shell, runner and kernel ended after {seconds:.1f} s"
    return Found("kill -9 of dvc in a stage of ten minutes", "Killed", after, 1)


def params_edited(folder: Path, _: Random) -> Found:
    """params.yaml edited while a stage runs: what it depends on, and what it does not."""
    base = project(folder / "base")
    process = command("dvc", "repro", "first", where=base)
    until(lambda: (base / "started-1").exists())
    set_params(base, value=1, other=2)  # nothing that the stage depends on
    assert output_of(process).status == 0
    assert (base / "out/1.txt").read_text() == "2"
    (base / "started-1").unlink()

    set_params(base, value=5, other=2)
    process = command("dvc", "repro", "first", where=base)
    until(lambda: (base / "started-1").exists())
    set_params(base, value=7, other=2)
    status, said = output_of(process)
    assert status != 0
    seen = line(said, "value in params.yaml changed while first ran")
    assert "Running stage 'first'" in dvc(base, "repro", "first")
    assert (base / "out/1.txt").read_text() == "8"
    line(dvc(base, "repro", "first"), "up to date")
    after = "the next dvc repro runs it with the new value; other edits disturb nothing"
    return Found("a parameter changed while its stage ran", seen.replace("masksr: error: ", ""), after)


def dvc_twice(folder: Path, _: Random) -> Found:
    """Two `dvc repro` of the same stage: plain, and the second with --wait-for-lock."""
    base = project(folder / "base")
    first = command("dvc", "repro", "first", where=base)
    until(lambda: (base / "started-1").exists())
    status, said = output_of(command("dvc", "repro", "first", where=base))
    assert status != 0
    seen = line(said, "busy|lock")
    assert output_of(first).status == 0
    line(dvc(base, "repro", "first"), "up to date")
    after = "the first one ends well; the second afterwards is up to date"
    return Found("dvc repro of the same stage twice at once", seen, after)
