"""``masksr/cluster/slurm.sh`` with programs in Slurm's place that start every node on this machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cluster_projects import processes_of, project, stage, until
from test_pipeline import dvc, ran

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "masksr/cluster/slurm.sh"
# Passes on what it is told to run, in a process group that ends as a whole, as Slurm ends a step.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do echo "$1" >> "$ASKED"; shift; done
set -m
"$@" &
trap 'kill -TERM -- -$!; wait' TERM EXIT
wait $!
"""


def test_the_script_is_valid_shell() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_a_path_of_python_that_ray_does_not_take_is_named(tmp_path: Path) -> None:
    place = tmp_path / "with space/bin"
    place.mkdir(parents=True)
    (place / "python").symlink_to(sys.executable)
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", SCRIPT], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"where the path of Python has a space ({place / 'python'})" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_nodes_share_the_stages_and_end_with_the_job(tmp_path: Path) -> None:
    wait = "touch here${item.n}; until [ -e here0 -a -e here1 ]; do sleep 0.1; done; echo ok > n${item.n}"
    stages = {
        "meet": stage(wait, out="n${item.n}", matrix={"n": [0, 1]}),
        "params": stage("cat n0 n1 > all", "n0", "n1", out="all"),
    }
    root = project(tmp_path / "project", stages)
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["cluster"] = {"others": {"cpus": 1, "gpus": 0, "memory_gb": 0.1}}
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / "data").mkdir()
    (root / "data/registry.yaml").write_text((ROOT / "data/registry.yaml").read_text())
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/sh\necho one; echo two\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "environment").symlink_to(sys.prefix)  # under a path without a space, wherever this project lies
    path = os.pathsep.join([str(programs), str(tmp_path / "environment/bin"), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    job = str(os.getpid())
    environment |= {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "ASKED": str(tmp_path / "asked")}
    environment |= {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "[one-two]", "SLURM_CPUS_PER_TASK": "1"}
    done = subprocess.run(
        ["bash", SCRIPT, "params"], cwd=root, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 2 nodes" in done.stdout and "everything is up to date" in done.stdout
    assert {"--nodelist=one", "--nodelist=two"} <= set((tmp_path / "asked").read_text().split())
    assert ran(dvc(root, "repro")) == set()
    until(lambda: not processes_of(f"masksr-ray-{job}"))
    until(lambda: not Path(f"/tmp/masksr-ray-{job}").exists())
