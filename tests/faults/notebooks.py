"""Notebooks as stages: killed runners, cells that raise, notebooks that were saved in a wrong state."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import nbformat

from tests.faults.found import Found, NotHere, copy, files_in, line, many_kills, nothing_left_over, part_of, same
from tests.faults.processes import INTERRUPT, SIGNALS, command, output_of, seconds_until_gone
from tests.faults.trainings import until

CELL = """\
import time
from pathlib import Path
from masksr.files import write_atomic
for number in range(10):
    time.sleep(0.03)
    write_atomic(f"out/{number}.txt", str(seed + number).encode())
    print(number, flush=True)"""
PATIENCE = 8.0  # seconds that a child may live on; a kernel looks for its parent every second


def project(folder: Path, *cells: str, name: str = "n.ipynb") -> Path:
    """A project with one notebook."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("{}\n")
    (folder / "params.yaml").write_text("{}\n")
    notebook(folder / name, *cells)
    return folder


def notebook(path: Path, *cells: str, tags: tuple[str, ...] = ("parameters",)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters = nbformat.v4.new_code_cell("seed = 0", metadata={"tags": list(tags)}, id="parameters")
    codes = [nbformat.v4.new_code_cell(source, id=f"cell{number}") for number, source in enumerate(cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, *codes]), path)


def start_run(place: Path, token: str = "", output: str = "out/n.ipynb"):
    words = ("masksr", "run", "n.ipynb", "-o", output, "seed=3")
    return command(*words, where=place, token=token, TMPDIR=str(place / "tmp"))


def finish_run(place: Path) -> str:
    status, said = output_of(start_run(place))
    assert status == 0, f"ended with {status}:\n{said[-3000:]}"
    return said


def kill_run(folder: Path, rng: Random, kills: int) -> Found:
    """`masksr run`, the real command with its kernel, killed at random moments."""
    if not Path("/proc/self/environ").exists():
        raise NotHere("there is no /proc to find children in")
    base = project(folder / "base", CELL)
    place = copy(base, "undisturbed")
    begin = time.monotonic()
    finish_run(place)
    seconds, expected = time.monotonic() - begin, files_in(place / "out")
    assert len(expected) == 11
    done, longest, sent_how_often, place = 0, 0.0, Counter[str](), copy(base, "place")
    while done < kills:
        token, sent = f"{folder.name}-{done}-{rng.random()}", rng.choice(SIGNALS)
        process = start_run(place, token)
        time.sleep(rng.uniform(0, seconds))
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, sent) if sent == INTERRUPT else process.send_signal(sent)
        status = process.wait()
        longest = max(longest, seconds_until_gone(token, PATIENCE))
        said = output_of(process).said
        assert ended or status in (0, 130, 143, -sent), f"ended with {status}:\n{said}"
        found = files_in(place / "out")
        part_of({name: content for name, content in found.items() if not name.endswith(".partial.ipynb")}, expected)
        done += status != 0
        sent_how_often[sent.name] += status != 0
        if status == 0 or done % 8 == 0 or done == kills:
            finish_run(place)
            same(files_in(place / "out"), expected)
            nothing_left_over(place)
            assert not list((place / "tmp").iterdir()), f"left over: {list((place / 'tmp').iterdir())}"
            place = copy(base, "place")
    after = f"notebook and files bit-equal; no kernel lived longer than {longest:.1f} s"
    return many_kills(sent_how_often, f"at any moment of {seconds:.1f} s", "masksr: interrupted, or nothing", after)


def wrong_notebooks(folder: Path, _: Random) -> Found:
    """A cell that raises; one that kills the kernel; notebooks saved with outputs or without their parameters tag."""
    base = project(folder / "base", CELL)
    place = copy(base, "undisturbed")
    finish_run(place)
    expected = files_in(place / "out")
    executed = (place / "out/n.ipynb").read_bytes()
    dies = "import os; os.kill(os.getpid(), 9)"
    cases = {
        "raises": ([CELL, "1 / 0"], {}, r"n\.ipynb failed in cell \[4\]: ZeroDivisionError: division by zero"),
        "dies": ([CELL, dies], {}, r"failed in cell \[4\]: the kernel died; most often memory"),
        "untagged": ([CELL], {"tags": ()}, "no cell is tagged 'parameters', so it cannot take seed"),
    }
    seen = []
    for case, (cells, options, message) in cases.items():
        place = copy(base, "place")
        notebook(place / "n.ipynb", *cells, **options)
        status, said = output_of(start_run(place))
        assert status == 1, f"{case} ended with {status}:\n{said}"
        seen.append(line(said, message))
        assert not (place / "out/n.ipynb").exists()
        (place / "n.ipynb").write_bytes((base / "n.ipynb").read_bytes())
        finish_run(place)
        same(files_in(place / "out"), expected)
        nothing_left_over(place)
    place = copy(base, "place")
    (place / "n.ipynb").write_bytes(executed)
    status, said = output_of(start_run(place))
    assert status == 1 and not (place / "out").exists()
    seen.append(line(said, "the source holds saved outputs; clear them with: nbstripout"))
    done = "a cell that raises, one that kills its kernel; saved without its tag, with outputs"
    return Found(done, seen[0].replace("masksr: error: ", ""), "no output; mended: bit-equal")


def same_notebook_twice(folder: Path, _: Random) -> Found:
    """Two runners that want to write the same executed notebook."""
    base = project(folder / "base", CELL)
    place = copy(base, "undisturbed")
    finish_run(place)
    expected = files_in(place / "out")
    place = copy(base, "place")
    first = start_run(place)
    until(lambda: (place / "out/0.txt").exists())
    second = start_run(place)
    results = [output_of(process) for process in (second, first)]
    assert [status for status, _ in results] == [0, 0], results
    same(files_in(place / "out"), expected)
    nothing_left_over(place)
    return Found("the same notebook twice at once", line(results[0].said, "Another process is at"), "bit-equal")


def no_room_for_a_notebook(folder: Path, _: Random) -> Found:
    """The executed notebook does not fit on the disk."""
    base = project(folder / "base", CELL, "print('x' * 300_000)")
    place = copy(base, "undisturbed")
    finish_run(place)
    expected = files_in(place / "out")
    place = copy(base, "place")
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); from masksr.__main__ import main; "
    limited += "sys.exit(main(['run', 'n.ipynb', '-o', 'out/n.ipynb', 'seed=3']))"
    (place / "limited.py").write_text(limited)
    status, said = output_of(command("limited", where=place, PYTHONPATH=f"{place}{os.pathsep}{Path.cwd()}"))
    assert status == 1, f"ended with {status}:\n{said}"
    seen = line(said, "File too large")
    assert not (place / "out/n.ipynb").exists()
    finish_run(place)
    same(files_in(place / "out"), expected)
    nothing_left_over(place)
    done = "an executed notebook beyond the limit of the file size"
    return Found(done, seen.replace("masksr: error: ", ""), "with room: bit-equal")
