"""Equation 8 and its controls, checked by an independent formula and by what must hold for every image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_trainings import mask as settings
from torch import Tensor

from masksr.training.mask import apply_mask, error_mask


def pair(seed: int = 0, size: int = 9, pixel_range: float = 1.0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, 3, size, size + 2, generator=rng) * pixel_range for _ in range(2))


def masked(sr: Tensor, hr: Tensor, pixel_range=1.0, rng: torch.Generator | None = None, **changes) -> Tensor:
    return error_mask(sr, hr, settings(**changes), pixel_range=pixel_range, rng=rng)


@given(k=st.floats(0, 10), b=st.floats(-0.5, 1), seed=st.integers(0, 50), per_channel=st.booleans())
def test_it_is_equation_8(k: float, b: float, seed: int, per_channel: bool) -> None:
    sr, hr = pair(seed)
    error = (sr.double().numpy() - hr.double().numpy()) ** 2
    if not per_channel:
        error = error.sum(axis=1, keepdims=True) / 3
    found = masked(sr, hr, k=k, b=b, per_channel=per_channel).numpy()
    np.testing.assert_allclose(found, np.minimum(np.maximum(k * error + b, 0), 1), atol=1e-5)


@given(k=st.floats(0.01, 100), seed=st.integers(0, 20))
def test_k_on_255_is_k_on_1_over_255_squared(k: float, seed: int) -> None:
    sr, hr = pair(seed)
    expected = masked(sr, hr, k=k, b=0.2, error_range="1", pixel_range=1.0)
    same = [
        masked(sr, hr, k=k / 255**2, b=0.2, error_range="255", pixel_range=1.0),
        masked(255 * sr, 255 * hr, k=k / 255**2, b=0.2, error_range="native", pixel_range=255.0),
        masked(255 * sr, 255 * hr, k=k, b=0.2, error_range="1", pixel_range=255.0),
    ]
    for mask in same:
        torch.testing.assert_close(mask, expected, atol=1e-5, rtol=1e-4)


def test_relative_error_does_not_know_the_pixel_range() -> None:
    sr, hr = pair()
    one = masked(sr, hr, k=0.3, b=0.1, error_range="relative")
    torch.testing.assert_close(one, masked(255 * sr, 255 * hr, k=0.3, b=0.1, error_range="relative"))
    assert masked(hr, hr, k=0.3, b=0.1, error_range="relative").unique().tolist() == pytest.approx([0.1])


def test_a_window_is_the_mean_of_the_neighbours_inside_the_image() -> None:
    sr, hr = pair()
    error = (sr - hr).square().mean(dim=1)
    mask = masked(sr, hr, k=1.0, b=0.0, window=3)
    assert mask[0, 0, 4, 5].item() == pytest.approx(error[0, 3:6, 4:7].mean().item(), rel=1e-5)
    assert mask[1, 0, 0, 0].item() == pytest.approx(error[1, :2, :2].mean().item(), rel=1e-5)


@given(seed=st.integers(0, 20), per_channel=st.booleans())
def test_controls_keep_the_mean_and_the_values(seed: int, per_channel: bool) -> None:
    sr, hr = pair(seed)
    mask = masked(sr, hr, per_channel=per_channel)
    constant = masked(sr, hr, kind="constant", per_channel=per_channel)
    torch.testing.assert_close(constant.mean(dim=(1, 2, 3)), mask.mean(dim=(1, 2, 3)))
    assert constant.std(dim=(1, 2, 3)).max() < 1e-6
    rng = torch.Generator().manual_seed(seed)
    shuffled = masked(sr, hr, rng=rng, kind="shuffled", per_channel=per_channel)
    assert shuffled.shape == mask.shape and not torch.equal(shuffled, mask)
    assert torch.equal(shuffled.flatten(2).sort(dim=2)[0], mask.flatten(2).sort(dim=2)[0])


def test_apply_mask() -> None:
    sr, hr = pair()
    mask = masked(sr, hr, k=1.0, b=0.1)
    sr.requires_grad_()
    fake, real = apply_mask(sr, hr, mask, "both")
    assert torch.equal(fake, mask * sr) and torch.equal(real, mask * hr)
    fake, real = apply_mask(sr, hr, mask, "sr")
    assert torch.equal(fake, mask * sr) and torch.equal(real, hr)
    fake, real = apply_mask(sr, hr, mask, "gradient")
    assert torch.equal(fake, sr) and torch.equal(real, hr)
    fake.sum().backward()
    torch.testing.assert_close(sr.grad, mask.expand_as(sr))


@pytest.mark.parametrize("per_channel", [False, True])
@given(b=st.floats(0.02, 0.98), seed=st.integers(0, 50))
def test_random_has_the_mean_and_nothing_else_of_the_mask(per_channel: bool, b: float, seed: int) -> None:
    sr, hr = pair(seed, size=60)
    rng = torch.Generator().manual_seed(seed)
    of = settings(kind="random", b=b, per_channel=per_channel)
    found, mask = error_mask(sr, hr, of, rng=rng), masked(sr, hr, b=b, per_channel=per_channel)
    assert found.shape == mask.shape and (found >= 0).all() and (found <= 1).all()
    assert (found.mean((1, 2, 3)) - mask.mean((1, 2, 3))).abs().max() < 0.05
    assert torch.equal(found, error_mask(sr, hr, of, rng=torch.Generator().manual_seed(seed)))
