"""The short form of ``python -m tests.fuzz``: the first damaged files of one seed."""

import resource

import pytest

from tests.fuzz.__main__ import fuzz, sample
from tests.fuzz.loaders import Loader, loaders


def test_whatever_is_in_a_file_a_loader_reads_or_refuses_it():
    counts, crashes = fuzz(minutes=3, seed=0, numbers=range(25))
    assert not crashes, "\n".join(crashes)
    del counts["memory"]
    assert all(sum(counter.values()) == 25 and counter["refused"] for counter in counts.values())


@pytest.fixture(scope="module")
def found() -> dict[str, Loader]:
    return loaders()


def test_every_sample_is_valid_before_it_is_damaged(found, tmp_path):
    for name, loader in found.items():
        outcomes = []
        for file, data in loader.samples.items():
            path = tmp_path / name / file / f"1-{file}"
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            try:
                loader.load(path)
                outcomes.append(file)
            except RuntimeError:  # CMYK, animations: a loader's own no
                assert name in ("image", "photo"), f"{name}: {file}"
        assert outcomes, name


def test_the_same_seed_gives_the_same_file(found):
    for name, loader in found.items():
        assert sample(loader, name, 3, 5) == sample(loader, name, 3, 5)


def _crash(path):
    raise KeyError(path.read_bytes()[:1])


def _eat(path):
    bytearray(resource.getrlimit(resource.RLIMIT_AS)[0])


@pytest.mark.parametrize("load, says", [(_crash, "KeyError"), (_eat, "MemoryError"), (lambda path: _die(), "killed")])
def test_what_a_loader_must_not_do_is_noticed(monkeypatch, load, says):
    monkeypatch.setattr("tests.fuzz.__main__.loaders", lambda: {"bad": Loader({"a.txt": b"abc"}, load)})
    counts, crashes = fuzz(minutes=1, seed=0, numbers=range(2))
    assert len(crashes) == 2 and says in crashes[0] and counts["bad"]["crashed"] == 2


def _die():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)
