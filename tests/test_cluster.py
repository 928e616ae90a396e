"""``masksr cluster`` on a Ray of several nodes on this machine, with pipelines of stages that touch files."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from cluster_projects import alive, processes_of, project, stage, until
from test_pipeline import dvc, ran

from masksr.cluster import command, connection, driver, leftovers
from masksr.cluster import plan as plans
from masksr.errors import MasksrError
from masksr.params import Resources

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install -e '.[cluster]'", allow_module_level=True)
ROOT = Path(__file__).parents[1]
SIZES = {"others": Resources(cpus=1, gpus=0, memory_gb=0.1), "gpu": Resources(cpus=1, gpus=1, memory_gb=0.1)}
SIZES |= {"threads": Resources(cpus=2, gpus=0, memory_gb=0.1), "elsewhere": Resources(cpus=1, gpus=4, memory_gb=0.1)}
STORE = {"object_store_memory": connection.STORE}


@pytest.fixture(scope="module")
def cluster() -> Iterator[SimpleNamespace]:
    """A head with 2 CPUs and 2 GPUs that are not there; more nodes join and leave."""
    folder = tempfile.mkdtemp(prefix="masksr-ray-")  # short, for the names of sockets
    changed = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    changed |= {"RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT)}  # nodes import masksr
    Path(folder, "ray").mkdir()
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    from ray.cluster_utils import Cluster  # not before the variables are set

    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 2, "include_dashboard": False, **STORE},
    )
    yield nodes
    nodes.shutdown()
    shutil.rmtree(folder)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def run(root: Path, address: str, *targets: str) -> None:
    with driver.only_one(root) as mark:
        leftovers.forget(root)
        plan = plans.plan(plans.read(root, targets), SIZES)
        command.carry_out(plan, root, mark, address=address)


def in_the_background(root: Path, address: str, *, ctrl_c: bool) -> subprocess.Popen[str]:
    """``run`` in a process of its own, that can be killed."""
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests')]}\n"
    code += f"from pathlib import Path; from test_cluster import run; run(Path({str(root)!r}), {address!r})"
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # As a shell starts what it puts into the background, but where Ctrl-C is what is tried.
    deaf = {} if ctrl_c else {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    return subprocess.Popen([sys.executable, "-c", code], **pipe, **deaf)


def test_a_failure_stops_only_what_needs_it(cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And threads and GPUs are as set aside; afterwards, mended, plain dvc finds what was done in order."""
    matrix = {"n": ["x", "y"]}
    stages = {
        "first": stage("echo 1 > first", out="first"),
        "bad": stage("echo thinking; test -e mended && echo ok > bad", "first", out="bad"),
        "after": stage("cat bad > after", "bad", out="after"),
        "gpu": stage("echo gpu:$CUDA_VISIBLE_DEVICES > ${item.n}; sleep 1", "first", out="${item.n}", matrix=matrix),
        "threads": stage("echo $OMP_NUM_THREADS:$MASKSR_CORES:$CUDA_VISIBLE_DEVICES > threads", "first", out="threads"),
    }
    root = project(tmp_path / "a folder", stages)
    with pytest.raises(MasksrError, match=r"1 of 6 stages failed: bad; not run because of that: after\."):
        run(root, cluster.address)
    shown = capsys.readouterr().out
    assert re.search(r"FAILED     bad  \(.*exit status \d+; the end of .cache/cluster/bad.log", shown)
    assert "    thinking" in shown and "started    after" not in shown
    assert "thinking" in (root / ".cache/cluster/bad.log").read_text()
    assert {(root / name).read_text() for name in "xy"} <= {"gpu:0\n", "gpu:1\n"}
    assert (root / "threads").read_text() == "2:2:\n"
    assert not (root / "after").exists()

    (root / "mended").touch()
    run(root, cluster.address)
    shown = capsys.readouterr().out
    assert "2 stages to bring up to date, 4 are" in shown and "\x1b" not in shown
    assert ran(dvc(root, "repro")) == set()


def test_a_lost_node_costs_only_the_time(
    cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    slow = "echo $$ > pid$(ls pid* 2>/dev/null | wc -l); test -e pid1 || exec sleep 100; echo done > out"
    stages = {"elsewhere": stage(slow, out="out"), "last": stage("cat out > end", "out", out="end")}
    root = project(tmp_path / "project", stages)
    node = cluster.add_node(num_cpus=1, num_gpus=4, **STORE)
    monkeypatch.setattr(driver, "PAUSE", 1.0)
    first = root / "pid0"

    def lose_it(*_: object) -> None:
        if first.exists() and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(num_cpus=1, num_gpus=4, **STORE)

    monkeypatch.setattr(command.Board, "tick", lose_it)
    run(root, cluster.address)
    shown = capsys.readouterr().out
    assert re.search(r"again      elsewhere  \(its node or worker was lost: \w+; attempt 2 of 4\)", shown)
    assert (root / "end").read_text() == "done\n"
    until(lambda: not alive(first))
    assert ran(dvc(root, "repro")) == set()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_an_end_nothing_runs_on_and_dvc_continues(cluster, tmp_path: Path, how: signal.Signals) -> None:
    slow = "echo $$ > pid; test -e go || exec sleep 100; echo done > slow"
    stages = {"quick": stage("echo quick > quick", out="quick"), "slow": stage(slow, "quick", out="slow")}
    root = project(tmp_path / "project", stages)
    process = in_the_background(root, cluster.address, ctrl_c=how == signal.SIGINT)
    until(lambda: (root / "pid").exists() and (root / "pid").read_text())
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    until(lambda: not alive(root / "pid"))
    if how != signal.SIGKILL:
        assert "ending 1 stages" in output
        assert process.returncode == {signal.SIGINT: -2, signal.SIGTERM: 143}[how], output
    until(lambda: not processes_of(str(root)))
    (root / "go").touch()
    assert ran(dvc(root, "repro")) == {"slow"}


def test_stages_that_fit_nowhere_are_named(cluster, tmp_path: Path) -> None:
    plan = plans.plan(plans.Graph({"big": ()}, frozenset({"big"})), {"others": Resources(cpus=3, gpus=0, memory_gb=1)})
    with connection.attached(cluster.address) as ray:
        assert re.search(
            r"big asks for 3 CPUs, 0 GPUs and 1 GB, which no node has", connection.too_large(plan, ray) or ""
        )


def test_a_ray_of_its_own_leaves_nothing_behind(tmp_path: Path) -> None:
    """The command as a user gives it, with a project that has little but its parameters."""
    root = project(tmp_path, {"params": stage("echo ok > out", out="out")})
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["cluster"] = {"others": {"cpus": 1, "gpus": 0, "memory_gb": 0.1}}
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / "data").mkdir()
    shutil.copy(ROOT / "data/registry.yaml", root / "data/registry.yaml")
    masksr = [sys.executable, "-m", "masksr", "cluster"]
    temporary = tempfile.mkdtemp(prefix="masksr-")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home"), "TMPDIR": temporary}
    done = subprocess.run(
        [*masksr, "--jobs", "1"], cwd=root, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "started    params" in done.stdout and "everything is up to date" in done.stdout
    assert ran(dvc(root, "repro")) == set()
    assert not (tmp_path / "home/.ray").exists()
    assert not processes_of(temporary)
    assert not list(Path(temporary).glob("masksr-ray-*"))
    shutil.rmtree(temporary)
    again = subprocess.run(masksr, cwd=root, env=environment, capture_output=True, text=True, timeout=200)
    assert "All 1 stages are up to date" in again.stdout
