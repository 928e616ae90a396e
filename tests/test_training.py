"""Trainings end to end on small packs: they learn, they can be killed anywhere, they are done once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from masksr.errors import MasksrError
from masksr.fetch.find import build_pack
from masksr.files import file_digest
from masksr.models.checkpoints import load_generator, save_weights
from masksr.models.edsr import EDSR
from masksr.params import Params, load
from masksr.paths import Paths
from masksr.tools.weights import prepare_vgg19
from masksr.training import loop
from masksr.training import train as training

ROOT = Path(__file__).parents[1]


def small(batch: int = 2, **train) -> Params:
    """The profile mini with networks, patches and schedules of a few seconds."""
    content = load(ROOT / "profiles/mini.yaml").model_dump()
    for model in content["models"].values():
        model |= {"lr_patch": 16, "batch": batch, "gan": {"epochs": 2, "learning_rate": 1e-4, "halve_at": [1]}}
        model["discriminator"]["num_feat"] = 4
        for phase in model["start"]["phases"]:
            phase |= {"epochs": 1, "halve_at": []}
    sizes = {"esrgan": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}, "pesr": {"depth": 1, "num_channels": 8}}
    for name, size in (sizes | {"edsr": {"n_resblocks": 1, "n_feats": 8}}).items():
        content["models"][name]["generator"] |= size
    content["train"] |= {"device": "cpu", "steps_per_epoch": 4, "log_every": 2, "validate_every": 4}
    content["train"] |= {"validation_patches": 2, "checkpoint_every": 2} | train
    content["weights"]["vgg_width"] = 0.0625
    content["masks"] = {name: mask if name != "none" else {"kind": "none"} for name, mask in content["masks"].items()}
    return Params.model_validate(content)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with packs, VGG19 and the starts of all models."""
    root = tmp_path_factory.mktemp("project")
    params, paths = small(), Paths(root, "mini")
    for name in (params.data.train, params.data.validation):
        build_pack(name, paths.set(name))
    prepare_vgg19(params, paths)
    for model in params.models:
        training.train_start(params, model, 0, paths)
    return root


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    root = tmp_path / "project"
    shutil.copytree(prepared, root)
    return Paths(root, "mini")


def weights(folder: Path) -> bytes:
    return (folder / "generator.safetensors").read_bytes()


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_a_gan_training_leaves_weights_history_and_record(paths: Paths, model: str) -> None:
    params = small()
    record = training.train_gan(params, model, params.masks["paper"], 0, paths, paths.variant(model, "paper", 0))
    history = training.read_history(paths.variant(model, "paper", 0))
    assert history.step.tolist() == [2, 4, 6, 8]
    assert history.learning_rate.tolist() == [1e-4, 1e-4, 5e-5, 5e-5]
    needed = {"loss_g", "loss_d", "d_real", "d_fake", "vgg54", "gan", "l1", "mask_mean", "mask_saturated"}
    needed |= {"images_per_s"}
    assert needed <= set(history) and history[sorted(needed)].notna().all().all()
    assert history.psnr.notna().tolist() == [False, True, False, True]
    assert history.mask_mean.between(0.5, 1).all()
    folder = paths.variant(model, "paper", 0)
    assert record["weights"] == file_digest(folder / "generator.safetensors")
    generator = load_generator(folder / "generator.safetensors")
    assert generator(torch.rand(1, 3, 8, 9)).shape == (1, 3, 32, 36)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(paths: Paths) -> None:
    params = small()
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        here = Paths(paths.root.parent / name, "mini")
        shutil.copytree(paths.root / "data", here.root / "data")
        training.train_start(params, "pesr", seed, here)
        training.train_gan(params, "pesr", params.masks["shuffled"], seed, here, here.variant("pesr", "shuffled", seed))
        made.append(weights(here.variant("pesr", "shuffled", seed)))
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("settings", "kind", "stop_at"),
    [
        ({}, "expected", 3),
        ({"ema": 0.9}, "shuffled", 5),
        ({"gradient_checkpointing": True}, "random", 3),
        ({"accumulate": 2, "ema": 0.9}, "shuffled", 5),
    ],
)
def test_an_interrupted_training_ends_in_the_same_bits(
    paths: Paths, monkeypatch, settings: dict, kind: str, stop_at: int
) -> None:
    parts = settings.get("accumulate", 1)
    params, stop_at = small(2 * parts, **settings), parts * stop_at
    mask = params.masks[kind]
    training.train_gan(params, "esrgan", mask, 0, paths, paths.root / "undisturbed")
    other = Paths(paths.root.parent / "other", "mini")
    for folder in ("data", "runs"):
        shutil.copytree(paths.root / folder, other.root / folder)

    real, calls = training.adversarial_step, []

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(training, "adversarial_step", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train_gan(params, "esrgan", mask, 0, other, other.root / "resumed")
    calls.clear()
    stop_at = 999
    training.train_gan(params, "esrgan", mask, 0, other, other.root / "resumed")
    assert len(calls) < 8 * parts, "it must go on from its checkpoint"
    assert weights(other.root / "resumed") == weights(paths.root / "undisturbed")
    histories = [
        training.read_history(p).drop(columns="images_per_s")
        for p in (other.root / "resumed", paths.root / "undisturbed")
    ]
    pd.testing.assert_frame_equal(*histories)


def test_equal_trainings_are_done_once_whatever_their_names(paths: Paths, monkeypatch) -> None:
    params = small()
    training.train_gan(params, "esrgan", params.masks["paper"], 0, paths, paths.variant("esrgan", "paper", 0))
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained twice"))
    point = params.mask("paper", 0.2, 0.5)
    training.train_gan(params, "esrgan", point, 0, paths, paths.sweep_point(0.2, 0.5, 0))
    assert weights(paths.sweep_point(0.2, 0.5, 0)) == weights(paths.variant("esrgan", "paper", 0))


def test_masks_change_the_training_and_k_0_b_1_does_not(paths: Paths) -> None:
    params = small()
    made = {}
    for name, mask in {
        "plain": params.masks["none"],
        "ones": params.mask("paper", 0, 1),
        "paper": params.masks["paper"],
        "constant": params.masks["constant"].model_copy(update={"k": 20.0}),
        "shuffled": params.masks["shuffled"].model_copy(update={"k": 20.0}),
        "random": params.masks["random"],
        "expected": params.masks["expected"].model_copy(update={"k": 20.0}),
    }.items():
        training.train_gan(params, "esrgan", mask, 0, paths, paths.root / name)
        made[name] = file_digest(paths.root / name / "generator.safetensors")
    assert made.pop("ones") == made["plain"]
    assert len(set(made.values())) == len(made)


def test_edsr_begins_at_x2_and_keeps_all_but_its_tail(paths: Paths) -> None:
    content = small().model_dump()
    content["masks"]["none"] = {"kind": "none"}
    content["models"]["edsr"]["start"]["phases"] = content["models"]["edsr"]["start"]["phases"][:1]
    params = Params.model_validate(content)
    training.train_start(params, "edsr", 5, paths)
    generator = load_generator(paths.start("edsr", 5) / "generator.safetensors")
    assert generator.scale == 4
    x2 = EDSR(1, 8, 0.1, 2)
    file = paths.root / "x2.safetensors"
    save_weights({k: v for k, v in x2.state_dict().items()}, file)
    content["models"]["edsr"]["start"] |= {"init": str(file), "init_scale": 2, "phases": []}
    training.train_start(Params.model_validate(content), "edsr", 6, paths)
    begun = load_generator(paths.start("edsr", 6) / "generator.safetensors").state_dict()
    assert all(torch.equal(begun[k], v) for k, v in x2.state_dict().items() if not k.startswith("tail"))


def test_a_loss_that_is_no_longer_finite_stops_and_keeps_the_last_good_checkpoint(paths: Paths, monkeypatch) -> None:
    params = small()
    real, count = training.adversarial_step, []

    def spoils(generator, *args, **kwargs):
        count.append(1)
        metrics = real(generator, *args, **kwargs)
        if len(count) == 5:
            next(generator.parameters()).grad[:] = float("nan")
        return metrics

    monkeypatch.setattr(training, "adversarial_step", spoils)
    with pytest.raises(
        MasksrError, match=r"ESRGAN, error mask.*no longer finite.*last checkpoint.*Lower the learning rate"
    ):
        training.train_gan(params, "esrgan", params.masks["paper"], 0, paths, paths.root / "out")
    assert not (paths.root / "out" / "generator.safetensors").exists()
    kept = [p.name for p in paths.trainings.glob("*/checkpoints/step-*.pt")]
    assert sorted(name[:13] for name in kept) == ["step-00000002", "step-00000004"]


def test_the_key_knows_the_data_the_start_and_the_code(paths: Paths, monkeypatch) -> None:
    params = small()
    keys = [training.train_start(params, "pesr", 0, paths)["key"]]
    monkeypatch.setattr(training, "code_digest", lambda: "other code")
    keys.append(training.train_start(params, "pesr", 0, paths)["key"])
    keys.append(training.train_start(params, "pesr", 1, paths)["key"])
    build_pack("cat", paths.set(params.data.train))
    keys.append(training.train_start(params, "pesr", 0, paths)["key"])
    assert len(set(keys)) == 4


def test_the_code_in_the_key_is_all_that_computes_in_a_training() -> None:
    """Every module of these rooms that training.train imports, from module to module."""
    import test_layers as layers  # here: other programs import this file from elsewhere

    rooms, reached, left = {"data", "models", "quality", "training"}, set(), {"masksr.training.train"}
    while left:
        reached |= left
        imported = set().union(*(layers.GRAPH[module] for module in left))
        left = {module for module in imported if layers.room(module) in rooms} - reached
    in_the_key = [{layers.name(path) for path in (ROOT / "masksr").glob(pattern)} for pattern in training.CODE]
    assert all(in_the_key)
    assert reached <= set().union(*in_the_key)


def test_docstrings_and_comments_are_not_in_the_key_and_code_is(tmp_path: Path, monkeypatch) -> None:
    def digest(text: str) -> str:
        (tmp_path / "training").mkdir(exist_ok=True)
        (tmp_path / "training/mask.py").write_text(text)
        return training.code_digest()

    monkeypatch.setattr("masksr.__file__", str(tmp_path / "__init__.py"))
    plain = digest("def f(x):\n    return x + 1\n")
    assert digest('"""About f."""\n\n# a comment\ndef f(x):\n    """Add one."""\n    return x + 1\n') == plain
    assert digest("def f(x):\n    return x + 2\n") != plain


def test_a_damaged_finished_training_is_noticed_and_done_again(paths: Paths, capsys) -> None:
    params = small()
    record = training.train_start(params, "pesr", 0, paths)
    good, stored = weights(paths.start("pesr", 0)), paths.trainings / record["key"] / "generator.safetensors"
    stored.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    training.train_start(params, "pesr", 0, paths)
    assert "trained again" in capsys.readouterr().out
    assert weights(paths.start("pesr", 0)) == good


def test_a_missing_checkpoint_to_begin_from_is_named(paths: Paths) -> None:
    content = small().model_dump()
    content["masks"]["none"] = {"kind": "none"}
    content["models"]["pesr"]["start"]["init"] = "nowhere.pth"
    with pytest.raises(MasksrError, match=r"models.pesr.start.init: there is no file nowhere.pth"):
        training.train_start(Params.model_validate(content), "pesr", 0, paths)


def test_phases_see_different_patches_and_masks_the_same(paths: Paths, monkeypatch) -> None:
    params, seeds = small(), []
    real = training.PatchSampler
    monkeypatch.setattr(training, "PatchSampler", lambda *a, **k: (seeds.append(k["seed"]), real(*a, **k))[1])
    training.train_start(params, "edsr", 3, paths)
    training.train_gan(params, "edsr", params.masks["none"], 3, paths, paths.root / "a")
    training.train_gan(params, "edsr", params.masks["paper"], 3, paths, paths.root / "b")
    assert len(seeds) == 4 and len(set(seeds)) == 3 and seeds[2] == seeds[3]


def test_learning_rate_halves_after_the_named_epochs() -> None:
    params = small()
    schedule = params.models["esrgan"].gan.model_copy(update={"epochs": 10, "halve_at": [2, 5], "learning_rate": 8e-4})
    of = loop.Training("x", [], None, None, None, schedule, params.train, torch.device("cpu"), None)
    assert of.steps == 40
    rates = [of.learning_rate(step) for step in range(40)]
    assert rates == [8e-4] * 8 + [4e-4] * 12 + [2e-4] * 20


# Checkpoints: whole or not there, and a damaged one costs only the steps since the one before.

CPU = torch.device("cpu")


def save(folder: Path, step: int) -> Path:
    """Write a checkpoint; its file."""
    loop.save_checkpoint(folder, step, {"step": step, "x": torch.full((3,), float(step)), "history": [{"a": 0.5}]})
    return max(folder.glob("step-*.pt"))


def test_the_last_checkpoint_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    assert loop.load_checkpoint(tmp_path, CPU) is None
    for step in (1, 2, 30):
        save(tmp_path, step)
    (tmp_path / ".step-00000040-0123456789abcdef.pt.77.partial").write_bytes(b"cut short")
    loaded = loop.load_checkpoint(tmp_path, CPU)
    assert loaded["step"] == 30 and loaded["history"] == [{"a": 0.5}] and loaded["x"].tolist() == [30.0] * 3
    assert len(list(tmp_path.glob("step-*.pt"))) == 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str, capsys) -> None:
    save(tmp_path, 1)
    last = save(tmp_path, 2)
    content = bytearray(last.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    last.write_bytes(content[: {"truncate": len(content) // 2, "empty": 0, "flip": len(content)}[damage]])
    assert loop.load_checkpoint(tmp_path, CPU)["step"] == 1
    assert last.name in capsys.readouterr().out
    save(tmp_path, 2)
    assert loop.load_checkpoint(tmp_path, CPU)["step"] == 2


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path, 1)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MasksrError, match=r"No space left.*free some space.*nothing that was finished is lost"):
        save(tmp_path, 2)
    assert loop.load_checkpoint(tmp_path, CPU)["step"] == 1


def test_a_checkpoint_that_cannot_be_read_now_is_not_thrown_away(tmp_path: Path, monkeypatch) -> None:
    last = save(tmp_path, 1)

    def fails(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        with pytest.raises(MasksrError, match=r"cannot be read \(Input/output error\); try again, or remove it"):
            loop.load_checkpoint(tmp_path, CPU)
    assert last.exists()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import small
from masksr.training import train as training
from masksr.paths import Paths
params = small(steps_per_epoch=40, validate_every=1000, checkpoint_every=10)
out = Path({root!r}) / "out"
training.train_gan(params, "esrgan", params.masks["paper"], 0, Paths(Path({root!r}), "mini"), out)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_and_two_at_once(paths: Paths) -> None:
    """The real thing: a process killed in the middle of a training, then two processes that want the same one."""
    command = [sys.executable, "-c", KILLED.format(tests=str(ROOT / "tests"), root=str(paths.root))]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.time() + 300
    while not list(paths.trainings.glob("*/checkpoints/step-*.pt")) and time.time() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (paths.root / "out" / "generator.safetensors").exists()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("goes on from step" in text for text in said) == 1
    assert sum("Already trained" in text for text in said) == 1

    resumed = weights(paths.root / "out")
    record = json.loads((paths.root / "out" / "training.json").read_text())
    shutil.rmtree(paths.trainings / record["key"])
    subprocess.run(command, check=True, capture_output=True)
    assert weights(paths.root / "out") == resumed
