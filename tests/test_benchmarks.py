"""The benchmark compares equal steps, all of it runs, and its findings keep their form."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import __main__ as command
from benchmarks.harness import Findings
from benchmarks.reference_steps import STEPS, PublicTraining, as_published
from benchmarks.steps import TITLES, Case, networks
from masksr.params import Mask
from masksr.training.step import adversarial_step

FP32 = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
CASE = {model: Case(model, 16, 2, tiny=True) for model in TITLES}


# ---- The reference is the same step ----------------------------------------------------------------------------------


def batch(pixel_range: float) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    lr, hr = (torch.rand(3, 3, side, side, generator=rng) * pixel_range for side in (16, 64))
    return lr, hr


class Recorder:
    """An optimiser that takes no step but keeps the gradients it would have used."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def zero_grad(self) -> None:
        self.network.zero_grad()

    def step(self) -> None:
        named = self.network.named_parameters()
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("model", TITLES)
def test_the_public_step_has_masksrs_losses_and_gradients(model: str, precision: torch.dtype, close: float) -> None:
    mine, public = networks(CASE[model]), networks(CASE[model])
    for n in (mine, public):
        for network in (n.generator, n.discriminator, n.vgg):
            network.to(precision)
    as_published(model, public)
    lr, hr = (images.to(precision) for images in batch(mine.generator.pixel_range))
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


def test_the_public_steps_do_the_superfluous_work() -> None:
    counts = {}
    for model in TITLES:
        public, calls = networks(CASE[model]), []
        public.discriminator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        before = [p.clone() for p in public.generator.parameters()]
        training = PublicTraining(model, public, 1e-4, ema=0.999)
        training.step(*batch(public.generator.pixel_range))
        counts[model] = len(calls)
        assert any(p.grad is not None for p in public.vgg.parameters()) == (model == "pesr")
        triples = zip(before, public.generator.parameters(), training.average.parameters(), strict=True)
        for old, new, mean in triples:
            torch.testing.assert_close(mean, 0.999 * old + 0.001 * new)
    assert counts == {"esrgan": 5, "pesr": 4, "edsr": 3}


@pytest.mark.slow
def test_every_section_runs(tmp_path: Path) -> None:
    assert command.main(["--quick", "--only", "steps,patches,quality", "-o", str(tmp_path / "here")]) == 0
    found = json.loads((tmp_path / "here.json").read_text())
    assert {entry["section"] for entry in found} == {"machine", "steps", "patches", "quality"}
    assert sum(entry["section"] == "steps" for entry in found) == 2 * len(TITLES)
    assert all(entry["differs"] < 1e-6 for entry in found if entry["section"] == "quality")


def test_findings_are_written_when_they_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings(tmp_path / "new" / "abacus")
    found.add("steps", "A", True, ms=1.23456, kernels=[1, 2])
    found.add("steps", "B", False, error="too slow")
    assert json.loads((tmp_path / "new/abacus.json").read_text())[0]["kernels"] == [1, 2]
    assert (tmp_path / "new/abacus.md").read_text() == (
        "| section | what | passed | numbers |\n|:--|:--|:--|:--|\n"
        "| steps | A | yes | ms 1.23 |\n| steps | B | **no** | error too slow |\n"
    )
    assert found.failed == ["B"]
    assert "| steps | A | yes |" in capsys.readouterr().out
