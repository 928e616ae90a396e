"""What makes trainings faster or smaller changes nothing: recomputed blocks, batches in parts, compiled networks."""

# ruff: noqa: F811  (a fixture is imported, then named by its tests)
from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_training import paths, prepared, small  # noqa: F401  (the fixtures of the trainings)
from torch import nn

from masksr.errors import MasksrError
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import Params
from masksr.paths import Paths
from masksr.training import train as training

NETWORKS = {"rrdb": lambda: RRDBNet(8, 2, 4), "edsr": lambda: EDSR(2, 8), "pesr": lambda: PESR(2, 8)}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_recomputed_blocks_give_the_same_bits_and_keep_less(name: str, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    lr = torch.rand(2, 3, 12, 13) * network.pixel_range
    found, kept = [], []
    for recompute in (False, True):
        network.recompute = recompute
        saved: list[int] = []

        def count(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.nbytes)
            return tensor

        network.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                sr = network(lr)
            kept.append(sum(saved))
        sr.square().mean().backward()
        found.append([sr.detach(), *(p.grad.clone() for p in network.parameters() if p.requires_grad)])
    assert all(map(torch.equal, *found))
    assert kept[1] < kept[0]


def trained(params: Params, here: Paths, model: str, name: str) -> dict[str, torch.Tensor]:
    other = Paths(here.root.parent / name, "mini")
    shutil.copytree(here.root / "data", other.root / "data")
    training.train_start(params, model, 0, other)
    training.train_gan(params, model, params.masks["paper"], 0, other, other.variant(model, "paper", 0))
    return load_file(other.variant(model, "paper", 0) / "generator.safetensors")


def test_a_training_with_recomputed_blocks_ends_in_the_same_bits(paths: Paths) -> None:
    plain, recomputed = (
        trained(small(gradient_checkpointing=on), paths, "esrgan", f"recompute {on}") for on in (False, True)
    )
    assert all(torch.equal(plain[key], recomputed[key]) for key in plain)


@pytest.mark.parametrize("model", ["esrgan", "pesr"])
def test_a_batch_in_parts_takes_the_same_step(paths: Paths, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without batch statistics and relativistic means, which are those of a part, only rounding differs."""
    seen = []

    class Recorded(torch.optim.SGD):
        def __init__(self, parameters, **_) -> None:
            super().__init__(parameters, lr=0.0)

        def step(self) -> None:
            seen.append([p.grad.clone() for p in self.param_groups[0]["params"]])

    monkeypatch.setattr(torch.optim, "Adam", Recorded)
    for parts in (1, 2):
        params = small(4, steps_per_epoch=1, validate_every=1, checkpoint_every=1, accumulate=parts)
        other = Paths(paths.root.parent / f"parts {parts}", "mini")
        shutil.copytree(paths.root / "data", other.root / "data")
        training.train_start(params, model, 0, other)
    for whole, in_parts in zip(*seen, strict=True):
        assert (in_parts - whole).norm() <= 1e-4 * whole.norm()


def test_parts_that_do_not_fit_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train.accumulate: must divide models\.esrgan\.batch \(2\)"):
        small(accumulate=2)


@pytest.mark.slow
def test_compiled_networks_train_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured as graphs, without the compiler that would take a minute here: all of a step can be captured."""
    real, compiled = nn.Module.compile, []

    def captured(self: nn.Module, **settings) -> None:
        compiled.append(type(self).__name__)
        real(self, backend="aot_eager", fullgraph=True, **settings)

    monkeypatch.setattr(nn.Module, "compile", captured)
    plain, graphs = (trained(small(compile=on), paths, "esrgan", f"compile {on}") for on in (False, True))
    assert set(compiled) == {"RRDBNet", "VGGStyleDiscriminator", "VGG19Features"}
    for key in plain:
        torch.testing.assert_close(graphs[key], plain[key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_cuda_graphs_are_asked_for_and_told_where_a_step_begins(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs themselves need a GPU; without one the same trainings must go through."""
    real, modes, marked = nn.Module.compile, [], []

    def captured(self: nn.Module, *, mode: str | None, **settings) -> None:
        modes.append(mode)
        real(self, backend="aot_eager", **settings)

    monkeypatch.setattr(nn.Module, "compile", captured)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    plain, graphs = (trained(small(compile=how), paths, "esrgan", f"{how}") for how in (True, "reduce-overhead"))
    assert set(modes) == {None, "reduce-overhead"} and marked
    assert all(torch.equal(plain[key], graphs[key]) for key in plain)


def test_a_compiler_that_is_missing_is_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler")

    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: real(self, backend=broken))
    with pytest.raises(MasksrError, match=r"train\.compile does not work here .*Set it to false"):
        trained(small(compile=True), paths, "pesr", "broken")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_says_what_to_change(paths: Paths, monkeypatch, error: Exception) -> None:
    def full(*_, **__):
        raise error

    monkeypatch.setattr(training, "adversarial_step", full)
    params = small()
    with pytest.raises(MasksrError, match=r"2 LR patches of 16 x 16.*accumulate.*gradient_checkpointing.*masksr cost"):
        training.train_gan(params, "esrgan", params.masks["paper"], 0, paths, paths.root / "out")
