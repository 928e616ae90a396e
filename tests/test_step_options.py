"""What makes trainings faster or smaller changes nothing: recomputed blocks, batches in parts, compiled networks."""

import pytest
import torch
from safetensors.torch import load_file
from small_trainings import copy, small
from torch import nn

from masksr.io import MasksrError
from masksr.params import Params
from masksr.paths import Paths
from masksr.training import train as training


def trained(params: Params, here: Paths, name: str) -> dict[str, torch.Tensor]:
    other = copy(here, name, "data", "runs")
    training.train_gan(params, "esrgan", params.masks["paper"], 0, other, other.root / "out")
    return load_file(other.root / "out/generator.safetensors")


def test_recomputed_blocks_give_the_same_bits(paths: Paths) -> None:
    settings = {f"{on}": small(steps_per_epoch=1, gradient_checkpointing=on) for on in (False, True)}
    plain, recomputed = (trained(params, paths, name) for name, params in settings.items())
    assert all(torch.equal(recomputed[key], value) for key, value in plain.items())


@pytest.mark.parametrize("model", ["esrgan", "pesr"])
def test_a_batch_in_parts_takes_the_same_step(paths: Paths, model: str, monkeypatch) -> None:
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
        training.train_start(params, model, 0, copy(paths, f"parts {parts}", "data"))
    for whole, in_parts in zip(*seen, strict=True):
        assert (in_parts - whole).norm() <= 1e-4 * whole.norm()


@pytest.mark.slow
def test_compiled_networks_train_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured as graphs, without the compiler that would take a minute here: all of a step can be captured.

    CUDA graphs need a GPU; that they are asked for, and told where a step begins, can be seen without one.
    """
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
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler")

    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: real(self, backend=broken))
    with pytest.raises(MasksrError, match=r"train\.compile does not work here"):
        trained(small(compile=True), paths, "broken")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_says_what_to_change(paths: Paths, monkeypatch, error: Exception) -> None:
    def full(*_, **__):
        raise error

    monkeypatch.setattr(training, "adversarial_step", full)
    with pytest.raises(MasksrError, match=r"2 LR patches of 16 pixels.*accumulate.*gradient_checkpointing"):
        trained(small(), paths, "full")
