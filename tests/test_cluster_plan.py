"""What ``masksr cluster`` would run, in which order, and how long it should take: everything that needs no Ray."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from cluster_projects import alive, project, stage, until
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pipeline import dvc, ran

from masksr import params
from masksr.__main__ import main
from masksr.cluster import command, connection, estimates, leftovers, simulation, task
from masksr.cluster import plan as plans
from masksr.cluster.board import Board
from masksr.errors import MasksrError
from masksr.params import Resources

ROOT = Path(__file__).parents[1]
ONE = Resources(cpus=1, gpus=0, memory_gb=1)
GPU = Resources(cpus=1, gpus=1, memory_gb=1)


def planned(needs: dict[str, tuple[str, ...]], hours: dict[str, float] | None = None, **sizes: Resources) -> plans.Plan:
    return plans.plan(plans.Graph(needs, frozenset(needs)), {"others": ONE, **sizes}, hours)


@pytest.fixture
def diamond(tmp_path: Path) -> Path:
    matrix = {"n": [0.1, 3.0e-6]}
    stages = {
        "top": stage("echo 1 > top", out="top"),
        "side": stage("echo ${item.n} > n${item.n}", "top", out="n${item.n}", matrix=matrix),
        "end": stage("cat n0.1 n3e-06 > end", "n0.1", "n3e-06", out="end"),
        "alone": stage("echo 1 > alone", out="alone"),
    }
    return project(tmp_path / "project", stages)


def test_dvc_says_what_there_is_and_what_is_out_of_date(diamond: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (diamond / "below").mkdir()
    monkeypatch.chdir(diamond / "below")  # names do not depend on where one is
    graph = plans.read(diamond)
    assert graph.needs["end"] == ("side@0.1", "side@3e-06") and graph.needs["side@0.1"] == ("top",)
    assert graph.out_of_date == set(graph.needs) == {"top", "side@0.1", "side@3e-06", "end", "alone"}
    dvc(diamond, "repro")
    assert not plans.read(diamond).out_of_date
    (diamond / "n0.1").unlink()
    plan = plans.plan(plans.read(diamond), {"others": ONE})
    assert set(plan.stages) == {"side@0.1", "end"} and plan.up_to_date == 3, "and what comes after"
    assert plan.stages["side@0.1"].needs == (), "what is done already needs no waiting for"
    assert set(plans.read(diamond, ["side"]).needs) == {"top", "side@0.1", "side@3e-06"}
    with pytest.raises(MasksrError, match=r"DVC cannot read the pipeline: .*'sied'"):
        plans.read(diamond, ["sied"])


def test_the_longest_chain_begins_first() -> None:
    plan = planned({"a": (), "b": (), "c": ("a",), "d": ("b", "c")}, {"a": 1, "b": 9, "c": 2, "d": 1})
    assert [stage.name for stage in plan.critical_path()] == ["b", "d"]
    assert plan.stages["b"].path_hours == 10 and plan.stages["a"].path_hours == 4
    assert plan.dependents("a") == ["c", "d"]


def test_a_stage_may_wait_for_another_that_it_does_not_read() -> None:
    graph = plans.Graph({"a": (), "b": ()}, frozenset("ab"))
    assert plans.plan(graph, {"others": ONE}, after={"b": "a", "a": "gone"}).stages["b"].needs == ("a",)
    assert (
        plans.plan(plans.Graph({"a": (), "b": ()}, frozenset("b")), {"others": ONE}, after={"b": "a"}).stages["b"].needs
        == ()
    )


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_profiles_name_stages_that_exist(profile: Path) -> None:
    settings = params.load(profile)
    settings.check_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    on_gpu = settings.cluster.get("train", settings.cluster["others"]).gpus >= 1
    assert on_gpu == (settings.train.device != "cpu" and profile.stem != "mini")


def test_a_wrong_section_is_one_line(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())

    def load(cluster: dict) -> params.Params:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content | {"cluster": cluster}))
        return params.load(tmp_path / "params.yaml")

    size = {"cpus": 1, "gpus": 0, "memory_gb": 1}
    with pytest.raises(MasksrError, match=r"cluster: dvc.yaml has no stage 'trian' \(did you mean 'train'\?\)"):
        load({"others": size, "trian": dict(size)}).check_stages(["train", "data"])
    with pytest.raises(MasksrError, match=r"cluster.others: this key is missing"):
        load({"train": size})
    with pytest.raises(MasksrError, match=r"cluster.others: gpus must be a whole number or a part of one GPU, got 1.5"):
        load({"others": size | {"gpus": 1.5}})
    with pytest.raises(MasksrError, match=r"cluster.others.cpus"):
        load({"others": size | {"cpus": 0}})


def test_estimates_know_every_long_stage_by_dvc_s_name() -> None:
    """And a sweep point that equals a variant waits for it instead of holding a GPU."""
    settings = params.load(ROOT / "profiles/mini.yaml")
    hours, graph = estimates.hours(settings, tflops=1.0), plans.read(ROOT, everything=True)
    assert set(hours) <= set(graph.needs)
    assert {name.partition("@")[0] for name in graph.needs.keys() - hours.keys() if "@" in name} == set()
    assert estimates.equal_trainings(settings) == {"sweep@0.2-0.5-0": "train@esrgan-paper-0"}
    assert hours["sweep@0.2-0.5-0"] == plans.SHORT < hours["sweep@2.0-0.5-0"]


@given(st.data())
@settings(max_examples=60)
def test_a_simulated_schedule_could_be_real(data: st.DataObject) -> None:
    """Nothing starts before what it needs, no machine is overbooked, and no bound is beaten."""
    count = data.draw(st.integers(1, 12))
    needs = {
        str(n): tuple(map(str, sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=2)) if n else ())))
        for n in range(count)
    }
    hours = {name: data.draw(st.sampled_from([0.5, 1.0, 3.0])) for name in needs}
    plan = planned(needs, hours, **{name: data.draw(st.sampled_from([ONE, GPU])) for name in needs})
    machines = [Resources(cpus=2, gpus=1, memory_gb=2)] * data.draw(st.integers(1, 3))
    lock = data.draw(st.booleans())
    found = simulation.simulate(plan, machines, lock=lock)
    runs = {run.stage.name: run for run in found.runs}
    assert set(runs) == set(needs)
    assert all(runs[name].start >= runs[need].end for name in needs for need in needs[name])
    for moment in (run.start for run in found.runs):
        for node, machine in enumerate(machines):
            now = [run.stage.resources for run in found.runs if run.node == node and run.start <= moment < run.end]
            assert sum(size.cpus for size in now) <= machine.cpus and sum(size.gpus for size in now) <= machine.gpus
    gpu_hours = sum(stage.hours * stage.resources.gpus for stage in plan.stages.values())
    assert found.hours >= max(plan.critical_path()[0].path_hours, gpu_hours / len(machines)) - 1e-9
    if not lock and len(machines) == 1 and all(stage.resources is GPU for stage in plan.stages.values()):
        assert found.hours == pytest.approx(sum(hours.values()))


def test_a_simulation_of_known_outcome() -> None:
    """One long chain and six short stages on two GPUs: together as long as the chain only if the chain begins first."""
    needs = {f"s{n}": () for n in range(6)} | {"x": (), "y": ("x",)}
    plan = planned(needs, dict.fromkeys(needs, 1.0) | {"x": 3.0, "y": 3.0}, **dict.fromkeys(needs, GPU))
    machine = [Resources(cpus=8, gpus=2, memory_gb=8)]
    assert simulation.simulate(plan, machine, lock=False).hours == pytest.approx(6.0)
    assert simulation.simulate(plan, machine, order="as they come", lock=False).hours == pytest.approx(7.0)
    assert simulation.simulate(plan, machine).hours > 6.0, "DVC takes its time"
    with pytest.raises(ValueError, match="no machine"):
        simulation.simulate(plan, [ONE])
    assert "| 1 | 12 | 100 % | the number of GPUs | 12 | 12 |" in simulation.describe(plan, [1])


def test_status_lines_read_well_in_a_file() -> None:
    stream = io.StringIO()
    board = Board(["a", "b", "c"], stream)
    board.running("a", "node-1, GPU 0")
    board.done("a", "done")
    board.running("b", "node-2")
    board.failed("b", "exit status 1; the end of b.log:", ["c"], ["what went wrong"])
    lines = [line.removeprefix("[0:00] ") for line in stream.getvalue().splitlines()]
    assert lines == [
        "started    a  (node-1, GPU 0)",
        "done       a  (0:00, 0 running, 2 waiting, 1/3 done)",
        "started    b  (node-2)",
        "FAILED     b  (0:00; exit status 1; the end of b.log:)",
        "    what went wrong",
    ]
    assert board.of("skipped") == ["c"]


def test_notes_of_a_killed_dvc_are_forgotten_and_others_kept(diamond: Path) -> None:
    """Its number may by now be another process's, such as this one's: DVC would refuse the stage for good."""
    ours = {"pid": os.getpid(), "cmd": "/bin/dvc --wait-for-lock repro -s top"}
    other = {"pid": os.getpid(), "cmd": "/bin/dvc repro"}
    notes = {"write": {str(diamond / "top"): ours}, "read": {str(diamond / "x"): [ours, other]}}
    (diamond / ".dvc/tmp").mkdir()
    lock = diamond / ".dvc/tmp/rwlock"
    lock.write_text(json.dumps(notes))
    assert "is busy" in dvc(diamond, "repro", "-s", "top", ok=False)
    leftovers.forget(diamond, "alone")
    assert json.loads(lock.read_text()) == notes
    leftovers.forget(diamond, "top")
    assert json.loads(lock.read_text()) == {"write": {}, "read": {str(diamond / "x"): [other]}}
    assert ran(dvc(diamond, "repro", "-s", "top")) == {"top"}


@pytest.mark.parametrize("killed", ["who wants the stage", "the supervisor"])
def test_a_stage_ends_with_who_wants_it(killed: str, tmp_path: Path) -> None:
    slow = "echo $$ > pid; test -e go || exec sleep 100; echo done > slow"
    root = project(tmp_path / "project", {"slow": stage(slow, out="slow")})
    log = root / "log"
    line = [sys.executable, "-m", "masksr.cluster.child", "slow", str(log)]
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, cwd=root, env=environment, stdin=pipe, stdout=pipe, text=True) as child:
        until(lambda: (root / "pid").exists() and (root / "pid").read_text())
        dvc_process = psutil.Process(int((root / "pid").read_text())).parent()
        supervisor = dvc_process.parent()
        assert child.wait(5) == 0 and supervisor.pid != child.pid, "nobody's child: Ray kills the children of its tasks"
        if killed == "the supervisor":
            supervisor.kill()
            until(lambda: not dvc_process.is_running() or dvc_process.status() == "zombie", 10)
            return
        begin = time.monotonic()
        child.stdin.close()
        assert int(child.stdout.read()) != 0
        assert time.monotonic() - begin < 10 and not alive(root / "pid")
    assert "The run was ended" in log.read_text()
    assert json.loads((root / ".dvc/tmp/rwlock").read_text()) in ({}, {"read": {}}, {"read": {}, "write": {}})
    (root / "go").touch()
    assert ran(dvc(root, "repro")) == {"slow"}


def test_a_node_without_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(MasksrError, match="does not see the project folder"):
        next(task.run_stage("a", str(tmp_path), "mark", 1, 0, {}))


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(connection.importlib.util, "find_spec", lambda _: None)
    assert main(["cluster"]) == 1
    assert "pip install -e '.[cluster]'" in capsys.readouterr().err
    assert main(["cluster", "--jobs", "2", "--address", "auto"]) == 1
    assert "--jobs counts the CPUs of this machine" in capsys.readouterr().err


def test_a_plan_is_shown_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned({"a": (), "b": ("a",)}, {"a": 2.0, "b": 1.0}, b=GPU)
    shown = command.table(plan)
    assert re.search(r"b +1 +1 +1 +1:00:00  a", shown)
    assert "No faster than 3:00:00 on any number of machines: a -> b." in shown


def test_the_paper_on_many_gpus_is_one_command() -> None:
    """``python -m benchmarks --only cluster``: more GPUs are never slower, and never beat the longest chain."""
    (table,) = cluster.tables(quick=True)
    rows = [row.cells for row in table.rows]
    assert [row["GPUs"] for row in rows] == [*cluster.GPUS] * 2
    for row in rows:
        assert row["hours"] >= max(row["work / GPUs, h"], row["longest chain, h"])
    assert rows[0]["hours"] >= rows[1]["hours"] >= rows[2]["hours"] and rows[5]["hours"] < rows[2]["hours"]
