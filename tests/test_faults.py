"""The fault suite in its short form: every fault that needs no notebook and no DVC, with a few aimed kills.

It runs in a process of its own, because it forks: what other tests have started in this one, threads above all, would
not be in the forks. `make faults` runs all of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KILLS, SEED = 16, 5

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the suite forks and reads /proc")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict:
    file = tmp_path_factory.mktemp("faults") / "table.json"
    words = ["--short", "--kills", str(KILLS), "--seed", str(SEED), "--json", str(file)]
    done = subprocess.run([sys.executable, "-m", "tests.faults", *words], cwd=ROOT, capture_output=True, text=True)
    assert file.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(file.read_text())


def test_every_fault_is_survived(table: dict) -> None:
    assert len(table["rows"]) == 15
    failed = {row["fault"]: row["after"][-2000:] for row in table["rows"] if row["result"] == "FAILED"}
    assert not failed
    skipped = {row["fault"] for row in table["rows"] if row["result"] == "skipped"}
    assert skipped <= {"disk full"}, "only a disk of one's own may be refused"


def test_there_were_kills(table: dict) -> None:
    assert table["kills"] >= KILLS - 4
