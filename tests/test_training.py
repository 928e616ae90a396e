"""Trainings end to end on small packs: they learn, can be stopped, are done once; options change nothing."""

import shutil
from itertools import product
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_trainings import copy, small, weights, with_start
from tiny_project import ROOT
from torch import nn

from masksr.fetch.find import build_pack
from masksr.io import MasksrError, file_digest
from masksr.models.build import load_generator, save_weights
from masksr.models.edsr import EDSR
from masksr.params import Gan, Params
from masksr.paths import Paths
from masksr.source import find_modules
from masksr.training import train as training
from masksr.training.device import allow_tf32


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_a_gan_training_leaves_weights_history_and_record(paths: Paths, model: str) -> None:
    params, folder = small(), paths.variant(model, "paper", 0)
    record = training.train_gan(params, model, params.masks["paper"], 0, paths, folder)
    tables = folder / "history.csv", folder / "validation.csv", paths.live(folder)
    history, validation, live = map(pd.read_csv, tables)
    assert history.step.tolist() == [2, 4, 6, 8]
    assert history.learning_rate.tolist() == [1e-4, 1e-4, 5e-5, 5e-5]
    needed = ["loss_g", "loss_d", "d_real", "d_fake", "vgg54", "gan", "l1", "mask_mean", "mask_saturated"]
    assert history[needed].notna().all(axis=None)
    assert validation.step.tolist() == [4, 8] and validation[["psnr", "psnr_bicubic"]].notna().all(axis=None)
    assert live.step.tolist() == [2, 4, 6, 8] and live.images_per_s.notna().all()
    assert not {"images_per_s", "psnr", "gpus"} & set(history)
    assert history.mask_mean.between(0.5, 1).all()
    assert record["weights"] == file_digest(folder / "generator.safetensors")
    generator = load_generator(folder / "generator.safetensors")
    assert generator(torch.rand(1, 3, 8, 9)).shape == (1, 3, 32, 36)


@pytest.mark.parametrize(("settings", "kind", "stop_at"), [
    ({}, "expected", 3), ({"ema": 0.9}, "shuffled", 5),
    ({"accumulate": 2, "ema": 0.9, "gradient_checkpointing": True}, "random", 10),
])
def test_an_interrupted_training_ends_in_the_same_bits(paths, monkeypatch, settings, kind, stop_at) -> None:
    parts = settings.get("accumulate", 1)
    params = small(2 * parts, **settings)
    mask, real, calls = params.masks[kind], training.adversarial_step, []

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    training.train_gan(params, "esrgan", mask, 0, paths, paths.root / "undisturbed")
    other = copy(paths, "other", "data", "runs")
    monkeypatch.setattr(training, "adversarial_step", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train_gan(params, "esrgan", mask, 0, other, other.root / "resumed")
    training.train_gan(params, "esrgan", mask, 0, other, other.root / "resumed")
    assert len(calls) < stop_at + 8 * parts, "it must go on from its checkpoint"
    for name in training.store.OUTPUTS.values():
        assert (other.root / "resumed" / name).read_bytes() == (paths.root / "undisturbed" / name).read_bytes()


def test_equal_trainings_are_done_once_whatever_their_names_and_what_they_show(paths: Paths, monkeypatch) -> None:
    params = small(steps_per_epoch=1)
    training.train_gan(params, "esrgan", params.masks["none"], 0, paths, paths.root / "plain")
    training.train_gan(params, "esrgan", params.masks["paper"], 0, paths, paths.root / "a")
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained twice"))
    params = small(steps_per_epoch=1, log_every=1, validate_every=1, checkpoint_every=1)
    training.train_gan(params, "esrgan", params.mask("paper", 0.2, 0.5), 0, paths, paths.root / "b")
    content = small().model_dump(exclude_unset=True)
    content["models"]["esrgan"]["steps_per_epoch"] = 1  # before train's 4
    own = Params.model_validate(content)
    assert own.train_of("esrgan").steps_per_epoch == 1 and own.train_of("pesr").steps_per_epoch == 4
    training.train_gan(own, "esrgan", own.masks["paper"], 0, paths, paths.root / "c")
    assert weights(paths.root / "a") == weights(paths.root / "b") == weights(paths.root / "c")
    assert weights(paths.root / "a") != weights(paths.root / "plain")


def test_edsr_begins_at_x2_and_keeps_all_but_its_second_upscaling(paths: Paths) -> None:
    only_x2 = with_start("edsr", phases=small().model_dump()["models"]["edsr"]["start"]["phases"][:1])
    training.train_start(only_x2, "edsr", 5, paths)
    assert load_generator(paths.start("edsr", 5) / "generator.safetensors").scale == 4
    x2, file = EDSR(1, 8, 0.1, 2), paths.root / "x2.safetensors"
    save_weights(x2, file)
    training.train_start(with_start("edsr", init=str(file), init_scale=2, phases=[]), "edsr", 6, paths)
    begun = load_generator(paths.start("edsr", 6) / "generator.safetensors").state_dict()
    kept = x2.state_dict()
    assert begun.keys() - kept.keys() == {"tail.0.2.weight", "tail.0.2.bias"}
    assert all(torch.equal(begun[key], value) for key, value in kept.items())
    with pytest.raises(MasksrError, match=r"models.edsr.start.init: there is no file nowhere.pth"):
        training.train_start(with_start("edsr", init="nowhere.pth"), "edsr", 0, paths)


def test_a_loss_that_is_no_longer_finite_stops_and_keeps_the_last_good(paths: Paths, monkeypatch) -> None:
    params, real, count = small(), training.adversarial_step, []

    def spoils(generator, *args, **kwargs):
        count.append(1)
        metrics = real(generator, *args, **kwargs)
        if len(count) == 5:
            next(generator.parameters()).grad[:] = float("nan")
        return metrics

    monkeypatch.setattr(training, "adversarial_step", spoils)
    with pytest.raises(MasksrError, match=r"ESRGAN, error mask.*no longer finite.*Lower the learning rate"):
        training.train_gan(params, "esrgan", params.masks["paper"], 0, paths, paths.root / "out")
    assert not (paths.root / "out" / "generator.safetensors").exists()
    kept = [p.name for p in paths.trainings.glob("*/checkpoints/step-*.pt")]
    assert sorted(name[:13] for name in kept) == ["step-00000002", "step-00000004"]


def test_the_key_knows_the_seed_and_the_data(paths: Paths) -> None:
    params = small()
    keys = {training.train_start(params, "pesr", seed, paths)["key"] for seed in (0, 1)}
    build_pack("cat", paths.set(params.data.train))
    keys.add(training.train_start(params, "pesr", 0, paths)["key"])
    assert len(keys) == 3
    assert training.train_start(small(gradient_checkpointing=True), "pesr", 0, paths)["key"] in keys
    with pytest.raises(MasksrError, match="together"):
        paths.trained("pesr", "paper", 0, k=1.0)


NOT_IN_A_KEY = {"data/images.py", "data/bicubic.py", "training/store.py"}  # a pack's digest stands for two


def test_the_code_in_the_key_is_all_that_computes_in_a_training(tmp_path: Path, monkeypatch) -> None:
    params, folder = small(), ROOT / "masksr"
    reached = {path.relative_to(folder).as_posix() for path in find_modules(ROOT, ["masksr.training.train"])}
    rooms = ("data", "models", "training")
    rooms = {n for n in reached if n.partition("/")[0] in rooms and "__init__" not in n} - NOT_IN_A_KEY
    shutil.copytree(folder, tmp_path / "masksr", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("masksr.__file__", str(tmp_path / "masksr/__init__.py"))
    kinds = product(["esrgan", "edsr"], [None, params.masks["none"], params.masks["paper"]])
    trainings = {(model, mask and mask.kind): (params.models[model], mask) for model, mask in kinds}

    def keys() -> dict[tuple, str]:
        return {name: training.store.training_key({}, *of) for name, of in trainings.items()}

    changed, before = {}, keys()
    for name in rooms:
        (tmp_path / "masksr" / name).write_text((folder / name).read_text() + "\nchanged = 1\n")
        changed[name] = {of for of, key in keys().items() if key != before[of]}
        (tmp_path / "masksr" / name).write_text((folder / name).read_text() + "\n# a comment\n")
        assert keys() == before
    assert all(changed.values())
    assert changed["training/mask.py"] == {("esrgan", "error"), ("edsr", "error")}
    assert changed["training/losses.py"] == {of for of in trainings if of[1]}
    assert changed["models/rrdb.py"] == {of for of in trainings if of[0] == "esrgan"}
    assert changed["training/loop.py"] == trainings.keys()
    mask, own = (tmp_path / "masksr/training" / name for name in ("mask.py", "texture.py"))
    mask.write_text(mask.read_text() + "\nfrom masksr.training import texture\n")  # a part of a mask of one's own
    before, after = (own.write_text(f"x = {number}\n") and keys() for number in (1, 2))
    assert {of for of in before if before[of] != after[of]} == changed["training/mask.py"]


def test_a_damaged_finished_training_is_done_again(paths: Paths) -> None:
    record = training.train_start(small(), "pesr", 0, paths)
    good = weights(paths.start("pesr", 0))
    for folder in (paths.start("pesr", 0), paths.trainings / record["key"]):
        (folder / "generator.safetensors").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    training.train_start(small(), "pesr", 0, paths)
    assert weights(paths.start("pesr", 0)) == good


def test_a_damaged_pack_is_told_before_the_first_step_whatever_phase_reads_it(paths: Paths, monkeypatch) -> None:
    damaged = paths.set("photographs") / "lr_x4.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(training, "fit", None)
    with pytest.raises(MasksrError, match=r"lr_x4\.npy is damaged"):
        training.train_start(small(), "edsr", 1, paths)


def test_phases_see_different_patches_and_masks_the_same(paths: Paths, monkeypatch) -> None:
    params, seeds, real = small(steps_per_epoch=1), [], training.PatchSampler
    monkeypatch.setattr(training, "PatchSampler", lambda *a, **k: (seeds.append(k["seed"]), real(*a, **k))[1])
    training.train_start(params, "edsr", 3, paths)
    for mask in ("none", "paper"):
        training.train_gan(params, "edsr", params.masks[mask], 3, paths, paths.root / mask)
    assert len(seeds) == 4 and len(set(seeds)) == 3 and seeds[2] == seeds[3]


def test_the_discriminator_has_a_learning_rate_of_its_own(paths: Paths) -> None:
    schedule = Gan(epochs=2, learning_rate=1e-3, discriminator_learning_rate=1e-5, halve_at=[1])
    job = training.Job(small(), "esrgan", 0, paths, paths.root / "out")
    of_three = job.training("", [torch.nn.Module()] * 3, None, schedule, 4, "patches")
    assert of_three.learning_rates == [1e-3, 1e-5, 1e-3]  # an expected error's network has the generator's


def trained(params: Params, here: Paths, name: str) -> dict[str, torch.Tensor]:
    other = copy(here, name, "data", "runs")
    training.train_gan(params, "esrgan", params.masks["paper"], 0, other, other.root / "out")
    return load_file(other.root / "out/generator.safetensors")


def test_recomputed_blocks_give_the_same_bits(paths: Paths) -> None:
    plain = trained(small(steps_per_epoch=1), paths, "plain")
    recomputed = trained(small(steps_per_epoch=1, gradient_checkpointing=True), paths, "recomputed")
    assert all(torch.equal(recomputed[key], value) for key, value in plain.items())


@pytest.mark.parametrize("model", ["esrgan", "pesr"])
def test_a_batch_in_parts_takes_the_same_step(paths: Paths, model: str, monkeypatch) -> None:
    """Without batch statistics and relativistic means, which are those of a part, only rounding differs."""
    seen, keys = [], set()

    class Recorded(torch.optim.SGD):
        def __init__(self, parameters, **_) -> None:
            super().__init__(parameters, lr=0.0)

        def step(self) -> None:
            seen.append([p.grad.clone() for p in self.param_groups[0]["params"]])

    monkeypatch.setattr(torch.optim, "Adam", Recorded)
    for parts in (1, 2):
        params = small(4, steps_per_epoch=1, validate_every=1, checkpoint_every=1, accumulate=parts)
        keys.add(training.train_start(params, model, 0, copy(paths, f"parts {parts}", "data"))["key"])
    assert len(keys) == 1, "too little memory for the GAN must not cost the start"
    for whole, in_parts in zip(*seen, strict=True):
        assert (in_parts - whole).norm() <= 3e-4 * whole.norm()  # where SR meets HR rounding turns a sign of L1


@pytest.mark.slow
def test_compiled_networks_train_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured as graphs, without a minute of compiling; that CUDA graphs are asked for shows without a GPU."""
    real, compiled, marked = nn.Module.compile, set(), []

    def captured(self: nn.Module, *, mode: str | None, **settings) -> None:
        compiled.add((type(self).__name__, mode))
        real(self, backend="aot_eager", fullgraph=True, **settings)

    monkeypatch.setattr(nn.Module, "compile", captured)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    modes = {False: None, True: None, "reduce-overhead": "reduce-overhead"}
    plain, graphs, cuda_graphs = (trained(small(compile=how), paths, f"{how}") for how in modes)
    names = ("RRDBNet", "VGGStyleDiscriminator", "VGG19Features")
    assert compiled == {(name, mode) for name in names for mode in modes.values()} and len(marked) == 8
    for key in plain:
        torch.testing.assert_close(graphs[key], plain[key], rtol=1e-3, atol=1e-5)
        assert torch.equal(graphs[key], cuda_graphs[key])


def test_a_compiler_that_is_missing_is_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: real(self, backend=lambda *_, **__: 1 / 0))
    with pytest.raises(MasksrError, match=r"train\.compile does not work here"):
        trained(small(compile=True), paths, "broken")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_says_what_to_change(paths: Paths, monkeypatch, error: Exception) -> None:
    monkeypatch.setattr(training, "adversarial_step", Mock(side_effect=error))
    with pytest.raises(MasksrError, match=r"2 LR patches of 16 pixels.*accumulate.*gradient_checkpointing"):
        trained(small(), paths, "full")


def test_tf32_is_refused_where_there_is_none_and_fp32_does_not_round_to_it() -> None:
    with pytest.raises(MasksrError, match=r"train\.precision: tf32 needs an NVIDIA GPU"):
        allow_tf32(torch.device("cpu"), "tf32")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    allow_tf32(torch.device("cpu"), "fp32")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
