"""The patch sampler: aligned pairs, eight orientations, uniform places, and nothing to remember."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masksr.data.patches import PatchSampler, validation_patches
from masksr.io import MasksrError


class MapPack:
    """A made-up pack; an LR pixel tells its place: (row, column, image). HR repeats it scale^2 times."""

    folder, scale = Path("maps"), 4

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes
        self.names = [f"image{number}" for number in range(len(sizes))]

    def __len__(self) -> int:
        return len(self.sizes)

    def lr(self, index: int, scale: int = 4) -> np.ndarray:
        self.scale = scale
        rows, columns = np.indices(self.sizes[index])
        return np.stack([rows, columns, np.full_like(rows, index)], axis=2).astype(np.uint8)

    def hr(self, index: int) -> np.ndarray:
        return self.lr(index, self.scale).repeat(self.scale, axis=0).repeat(self.scale, axis=1)


def origin(patch: torch.Tensor) -> tuple[int, int, int, str]:
    """(image, top, left, orientation) of an LR patch; the last is where its first column and row lead to."""
    rows, columns, images = patch.int()
    assert images.min() == images.max()
    steps = {"south": rows[-1, 0] - rows[0, 0], "east": columns[-1, 0] - columns[0, 0]}
    down = next((name if step > 0 else f"-{name}" for name, step in steps.items() if step), "")
    mirrored = (rows[0, -1] - rows[0, 0]) < 0 or (columns[0, -1] - columns[0, 0]) < 0
    return int(images[0, 0]), int(rows.min()), int(columns.min()), down + " mirrored" * bool(mirrored)


PACK = MapPack((20, 30), (16, 16), (40, 12))


def sampler(pack=PACK, *, lr_size=8, scale=4, batch=16, seed=0) -> PatchSampler:
    return PatchSampler(pack, lr_size=lr_size, scale=scale, batch=batch, seed=seed)


@given(
    lr_size=st.integers(1, 12), scale=st.sampled_from([2, 4]), batch=st.integers(1, 9),
    seed=st.integers(0, 2**63), step=st.integers(0, 2**40),
)
def test_lr_and_hr_show_the_same_place_in_the_same_orientation(lr_size, scale, batch, seed, step):
    lr, hr = sampler(lr_size=lr_size, scale=scale, batch=batch, seed=seed).batch(step)
    assert lr.shape == (batch, 3, lr_size, lr_size) and lr.dtype == hr.dtype == torch.uint8
    assert hr.shape == (batch, 3, lr_size * scale, lr_size * scale)
    assert lr.is_contiguous() and hr.is_contiguous()
    assert torch.equal(hr, lr.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3))
    for patch in lr:
        image, top, left, _ = origin(patch)
        height, width = PACK.sizes[image]
        assert top + lr_size <= height and left + lr_size <= width
        square = [[r, c, image] for r in range(top, top + lr_size) for c in range(left, left + lr_size)]
        assert sorted(patch.flatten(1).T.tolist()) == square


@given(st.integers(0, 2**63), st.integers(0, 2**40))
def test_a_batch_knows_its_seed_and_step_and_nothing_else(seed, step):
    used = sampler(seed=seed)
    next_lr, lr = used.batch(step + 1)[0], used.batch(step)[0]
    assert torch.equal(lr, sampler(seed=seed).batch(step)[0])
    assert not torch.equal(lr, next_lr) and not torch.equal(lr, sampler(seed=seed + 1).batch(step)[0])


def test_the_patches_of_a_seed_stay_the_same_across_versions():
    """A resumed training sees what it would have seen; a change here breaks that for every checkpoint."""
    lr, _ = sampler(seed=7, batch=3).batch(3)
    assert [origin(patch) for patch in lr] == [(1, 4, 0, "-east"), (0, 4, 16, "south"), (2, 1, 4, "-east")]


def is_uniform(counts: Counter, kinds: int) -> bool:
    """Pearson's chi-square, five standard deviations wide."""
    expected = counts.total() / kinds
    square = sum((count - expected) ** 2 for count in counts.values()) + (kinds - len(counts)) * expected**2
    return abs(square / expected - (kinds - 1)) < 5 * (2 * kinds) ** 0.5


def test_images_places_and_orientations_are_drawn_equally_often_and_independently():
    one = sampler(batch=100, seed=1)
    many = [origin(patch) for step in range(60) for patch in one.batch(step)[0]]
    assert is_uniform(Counter((image, turn) for image, _, _, turn in many), 3 * 8)
    for number, (height, width) in enumerate(PACK.sizes):
        rows, columns = height - 8 + 1, width - 8 + 1
        places = Counter((top, left) for image, top, left, _ in many if image == number)
        assert is_uniform(places, rows * columns)
        edges = {0, rows - 1} if rows > 1 else {0}
        assert edges <= {top for top, _ in places} and {0, columns - 1} <= {left for _, left in places}


def test_an_image_smaller_than_a_patch_is_named_at_once():
    with pytest.raises(MasksrError, match=r"image2 is 40 x 12 LR pixels at x4, smaller than .* 13 x 13"):
        sampler(lr_size=13)  # 12, with one place down the side, is among the sizes above


@given(
    sizes=st.lists(st.tuples(st.integers(8, 60), st.integers(8, 60)), min_size=1, max_size=6),
    count=st.integers(1, 20), scale=st.sampled_from([2, 4]),
)
def test_validation_patches_are_fixed_aligned_and_spread_over_the_images(sizes, count, scale):
    pack = MapPack(*sizes)
    lr, hr = validation_patches(pack, lr_size=8, scale=scale, count=count)
    again, _ = validation_patches(pack, lr_size=8, scale=scale, count=count)
    assert lr.shape == (count, 3, 8, 8) and torch.equal(lr, again)
    assert torch.equal(hr, lr.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3))
    origins = [origin(patch) for patch in lr]
    assert {turn for *_, turn in origins} == {"south"}
    shares = Counter(image for image, *_ in origins)
    assert len(shares) == min(count, len(sizes)) and max(shares.values()) - min(shares.values()) <= 1
