"""``masksr cluster`` with pipelines of stages that touch files. What starts a Ray is slow."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from tiny_project import ROOT, copy_sources, dvc, ran, write_files

from masksr import cluster, params
from masksr.cli import main
from masksr.io import MasksrError

HAS_RAY = importlib.util.find_spec("ray") is not None
SIZES = {name: {"cpus": cpus, "gpus": 0, "memory_gb": 0.1} for name, cpus in (("others", 1), ("train", 2))}


def stage(cmd: str, *deps: str, out: str, **more) -> dict:
    return {"cmd": cmd, "deps": list(deps), "outs": [out]} | more


def project(folder: Path, stages: dict) -> Path:
    """A project with the parameters of mini and these stages."""
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text()) | {"cluster": SIZES}
    files = {"dvc.yaml": yaml.safe_dump({"stages": stages}), "params.yaml": yaml.safe_dump(content)}
    files[".dvc/config"] = "[core]\n    no_scm = true\n    analytics = false\n"
    return write_files(copy_sources(folder, ["data/registry.yaml"]), files)


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    """``masksr cluster`` as a user starts it, with a TMPDIR too long for the names of Ray's sockets."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(root / "home"), "TMPDIR": str(root)}
    how = {"cwd": root, "env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, "-m", "masksr", "cluster", *words], **how)


def output_of(run: subprocess.Popen[str]) -> str:
    shown, _ = run.communicate(timeout=200)
    if "Ray did not start" in shown:
        pytest.skip("this machine is too busy for Ray's 30 seconds to start")
    return shown


def folders_of_ray() -> set[Path]:
    return set(Path("/tmp").glob("masksr-ray-*"))


def test_the_plan_is_what_is_out_of_date_and_what_comes_after(tmp_path: Path, monkeypatch) -> None:
    stages = {
        "alone": stage("echo 1 > alone", out="alone"),
        "end": stage("cat n0.1 n3e-06 > end", "n0.1", "n3e-06", out="end"),
        "side": stage("echo ${item.n} > n${item.n}", "top", out="n${item.n}", matrix={"n": [0.1, 3.0e-6]}),
        "top": stage("echo 1 > top", out="top"),
    }
    root = project(tmp_path / "a project", stages)
    monkeypatch.chdir(root / "data")  # names do not depend on where one is
    sides = {"side@0.1", "side@3e-06"}
    after = {name: {"top"} for name in sides}
    assert cluster.plan(root) == {"top": set(), "alone": set(), "end": sides} | after
    assert list(cluster.plan(root)) == ["top", *sorted(sides), "alone", "end"], "the longest chain first"
    assert set(cluster.plan(root, ["side"])) == {"top"} | sides
    dvc(root, "repro")
    assert not cluster.plan(root)
    (root / "n0.1").unlink()
    assert cluster.plan(root) == {"side@0.1": set(), "end": {"side@0.1"}}
    with pytest.raises(MasksrError, match=r"DVC cannot read the pipeline: .*'sied'"):
        cluster.plan(root, ["sied"])


def test_what_cannot_start_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(project(tmp_path / "project", {"train": stage("echo ok > out", out="out")}))
    before = folders_of_ray()
    assert main(["cluster", "--dry"]) == 0
    assert capsys.readouterr().out == "train  (2 CPUs, 0 GPUs, 0.1 GB)  after: -\n"
    with pytest.raises(MasksrError, match=r"dvc.yaml has no stage 'train' \(did you mean 'trian'\?\)"):
        params.load(Path("params.yaml")).check_stages(["trian"])
    assert main(["cluster", "--jobs", "2", "--address", "auto"]) == 1
    assert "--jobs is for this machine" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(cluster.importlib.util, "find_spec", lambda _: None)
        assert main(["cluster"]) == 1
    assert "pip install -e '.[cluster]'" in capsys.readouterr().err
    if HAS_RAY:
        monkeypatch.setattr("ray.init", lambda **_: 1 / 0)
        assert main(["cluster"]) == 1
        assert "Ray says: division by zero" in capsys.readouterr().err
    assert folders_of_ray() == before


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    """Threads are as set aside; Ray leaves nothing behind; afterwards plain dvc finds what was done."""
    stages = {
        "first": stage("echo 1 > first", out="first"),
        "bad": stage("echo thinking; test -e mended && echo ok > bad", "first", out="bad"),
        "after": stage("cat bad > after", "bad", out="after"),
        "train": stage("echo $OMP_NUM_THREADS:$CUDA_VISIBLE_DEVICES: > threads", "first", out="threads"),
        "other": stage("echo 1 > other", "threads", out="other"),
    }
    root, before = project(tmp_path / "a folder", stages), folders_of_ray()
    run = start(root)
    shown = output_of(run)
    assert run.returncode == 1, shown
    assert "1 of 5 stages failed: bad; not run because of that: after." in shown and "other: done" in shown
    assert "the end of .cache/cluster/bad.log:\n" in shown and "    thinking" in shown
    assert (root / "threads").read_text() == "2::\n" and not (root / "after").exists()
    assert folders_of_ray() <= before and not (root / "home/.ray").exists()
    (root / "mended").touch()
    assert ran(dvc(root, "repro")) == {"bad", "after"}


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
def test_after_an_interruption_nothing_runs_on_and_dvc_continues(tmp_path: Path) -> None:
    slow = "echo $$ > pid; test -e go || exec sleep 100; echo done > slow"
    root, before = project(tmp_path / "project", {"slow": stage(slow, out="slow")}), folders_of_ray()
    run = start(root)
    while run.poll() is None and not ((root / "pid").exists() and (root / "pid").read_text()):
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)  # which is made a Ctrl-C
    shown = output_of(run)
    assert run.returncode == 130 and "interrupted: 1 stages are ended in good order" in shown, shown
    assert not psutil.pid_exists(int((root / "pid").read_text())) and folders_of_ray() <= before
    (root / "go").touch()
    assert ran(dvc(root, "repro")) == {"slow"}
