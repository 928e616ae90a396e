"""The benchmark compares equal steps, and all of it runs; that of a GPU on a CPU, with what is there."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from small_trainings import copy, small
from test_step import FP32, batch
from tiny_project import ROOT, run
from torch import nn

from benchmarks import __main__ as command
from benchmarks import first_gpu, trainings
from benchmarks.steps import STEPS, TITLES, Case, as_published, networks
from masksr.models.build import read_weights
from masksr.params import Mask
from masksr.paths import Paths
from masksr.training import train
from masksr.training.step import adversarial_step

CASE = {model: Case(model, 16, 2, tiny=True) for model in TITLES}


class Recorder:
    """An optimiser that takes no step but keeps the gradients it would have used."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def zero_grad(self) -> None:
        self.network.zero_grad()

    def step(self) -> None:
        named = self.network.named_parameters()
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("model", TITLES)
def test_the_public_step_has_masksrs_losses_and_gradients(model: str, close: float = 1e-12) -> None:
    mine, public = networks(CASE[model]), networks(CASE[model])
    for n in (mine, public):
        for network in (n.generator, n.discriminator, n.vgg):
            network.double()
    as_published(model, public)
    lr, hr = (images.double() for images in batch(mine.generator.pixel_range))
    options = {"loss": mine.loss, "mask": Mask(kind="none"), "pixel_range": mine.generator.pixel_range}
    found = adversarial_step(mine.generator, mine.discriminator, mine.vgg, lr, hr, **options, autocast=FP32)
    recorders = Recorder(public.generator), Recorder(public.discriminator)
    losses = STEPS[model](public, lr, hr, *recorders)
    for name in ("loss_g", "loss_d"):
        assert losses[name] == pytest.approx(found[name].item(), rel=close)
    for name in {"l1", "vgg54", "gan", "tv"} & set(found):
        assert losses[name] == pytest.approx(getattr(mine.loss, name) * found[name].item(), rel=close)
    for network, recorder in zip((mine.generator, mine.discriminator), recorders, strict=True):
        grads = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
        whole, other = (torch.cat([g[name].flatten() for name in grads]) for g in (grads, recorder.gradients))
        assert (whole - other).norm() <= close * other.norm()


@pytest.mark.slow
def test_every_section_runs(tmp_path: Path) -> None:
    assert command.main(["--quick", "-o", str(tmp_path / "here")]) == 0
    found = json.loads((tmp_path / "here.json").read_text())
    assert {entry["section"] for entry in found} == {"machine", "steps", "patches", "quality"}
    assert sum(entry["section"] == "steps" for entry in found) == 2 * len(TITLES)
    assert all(entry["differs"] < 1e-6 for entry in found if entry["section"] == "quality")


# What a machine lends beside torch and its needs; all else that the environment here has is not there.
THERE = """
numpy scipy pandas PIL skimage imageio lazy_loader tifffile safetensors tqdm threadpoolctl requests urllib3 certifi idna
charset_normalizer matplotlib seaborn dateutil six torch torchgen functorch triton sympy mpmath networkx jinja2
markupsafe filelock fsspec typing_extensions packaging setuptools pkg_resources psutil yaml distutils
"""
THERE += "pydantic pydantic_core annotated_types typing_inspection ruamel masksr benchmarks"  # carried
BLOCKED = f"""
import sys, runpy
from importlib.metadata import packages_distributions
for name in packages_distributions():
    if name not in {THERE!r}.split() and not name.startswith(("_", "cuda", "nvidia")):
        sys.modules[name] = None  # not to be imported
"""


def test_training_needs_nothing_of_the_pipeline() -> None:
    modules = "masksr.training.train, masksr.results.evaluate, benchmarks.first_gpu, benchmarks.trainings"
    run(ROOT, sys.executable, "-c", f"{BLOCKED}import {modules}")


@pytest.mark.slow
def test_every_section_passes_on_a_cpu(tmp_path: Path) -> None:
    code = f"{BLOCKED}sys.argv[0] = 'first_gpu'; "
    code += "runpy.run_module('benchmarks.first_gpu', run_name='__main__', alter_sys=True)"
    run(ROOT, sys.executable, "-c", code, "--out", str(tmp_path), "--minutes", "30")
    found = json.loads((tmp_path / "first_gpu.json").read_text())
    assert [entry for entry in found if entry["passed"] is False] == []
    assert {entry["section"] for entry in found} == set(first_gpu.SECTIONS)
    table = (tmp_path / "first_gpu.md").read_text().splitlines()
    assert len(table) == len(found) + 2


def test_a_training_of_another_machine_is_taken_with_its_record(paths: Paths, tmp_path: Path, monkeypatch) -> None:
    params, there = small(), copy(paths, "there", "data", "runs")
    how = (params, "esrgan", params.masks["none"], 0)
    train.train_gan(*how, there, there.variant("esrgan", "none", 0))
    trainings.pack(there, params, tmp_path)
    with zipfile.ZipFile(tmp_path / "trainings-0.zip") as archive:
        archive.extractall(tmp_path)
    with pytest.raises(SystemExit, match="unpack the archives of that profile there"):
        trainings.take(params, paths, tmp_path / "runs")
    packed = tmp_path / there.variant("esrgan", "none", 0).relative_to(there.root)
    record = json.loads((packed / "training.json").read_text())
    record["inputs"]["train"]["gradient_checkpointing"] = False  # as an older version wrote it
    for inputs, wrong in ({"device": "cuda"}, False), ({"device": "cuda", "seed": 1}, True):
        (packed / "training.json").write_text(json.dumps(record | {"inputs": record["inputs"] | inputs}))
        if wrong:
            with pytest.raises(SystemExit, match="esrgan-none-0 was trained with other inputs: device, seed"):
                trainings.take(params, paths, tmp_path)
        else:
            assert trainings.take(params, paths, tmp_path) == 0
    monkeypatch.setattr(train, "fit", None)  # nothing is trained here
    taken = train.train_gan(*how, paths, paths.variant("esrgan", "none", 0))
    assert taken["inputs"]["device"] == "cuda"
    half = read_weights(packed / trainings.HALF)
    ours = read_weights(paths.variant("esrgan", "none", 0) / "generator.safetensors")
    assert all(value.dtype == torch.float16 and torch.equal(ours[key], value.float()) for key, value in half.items())
