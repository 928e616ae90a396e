"""The mask that expects its error: its loss is least at the mean error of all images that share an LR patch."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_step import FP32, MASK, batch, networks

from masksr.params import Mask
from masksr.training.mask import expectation_loss, squared_error
from masksr.training.step import adversarial_step


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=20))
def test_the_loss_is_least_at_the_mean_of_the_errors(errors: list[float]) -> None:
    error = torch.tensor(errors, dtype=torch.float64)
    at_mean, *others = (
        expectation_loss(torch.full_like(error, math.log(guess)), error)
        for guess in (error.mean(), 1.1 * error.mean(), 0.9 * error.mean(), error.median() * 2)
    )
    assert all(at_mean <= other + 1e-12 for other in others)


@pytest.mark.parametrize("name", ["esrgan", "pesr", "edsr"])
def test_a_step_with_it_is_the_step_with_the_error_it_expects(name: str) -> None:
    """Where the network expects the very error, the masks agree, and so do all gradients of G and D."""
    torch.manual_seed(0)
    g, d, vgg, loss = networks(name)
    lr, hr = batch(g.pixel_range)
    found = []
    for kind in ("error", "expected"):
        copies, mask = [copy.deepcopy(network) for network in (g, d)], Mask(kind=kind, **MASK)
        with torch.no_grad():
            knows = (squared_error(g(lr), hr, mask) / g.pixel_range**2).log()
        oracle = Oracle(knows)
        step = adversarial_step(
            *copies, vgg, lr, hr, loss=loss, mask=mask, pixel_range=g.pixel_range, autocast=FP32,
            expectation=oracle if kind == "expected" else None,
        )  # fmt: skip
        found.append([p.grad for network in copies for p in network.parameters() if p.requires_grad])
        assert ("expectation" in step) == (kind == "expected")
        assert (oracle.log_error.grad is not None) == (kind == "expected")
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm() + 1e-7


class Oracle(torch.nn.Module):
    def __init__(self, log_error: torch.Tensor) -> None:
        super().__init__()
        self.log_error = torch.nn.Parameter(log_error)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.log_error
