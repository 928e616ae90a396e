"""Members of a class are members to the last byte, and smooth places have others than textured ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from notebook_cells import run_cells

from masksr.data.bicubic import imresize
from masksr.fetch.find import build_pack

CELLS = run_cells("01_argument", "01_argument-01", "project")
project = CELLS["project"]
SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))


PIXELS = SIDES.flatmap(lambda sides: arrays(np.uint8, (4 * sides[0], 4 * sides[1], 3)))


@given(PIXELS, st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_whatever_is_called_found_shrinks_to_the_patch_in_every_byte(hr, seed):
    lr = imresize(hr, 1 / 4)
    rng = np.random.default_rng(seed)
    candidates = np.stack([hr, rng.integers(0, 256, hr.shape), rng.normal(128, 300, hr.shape)])
    members, found = project(lr, candidates, steps=50)
    for member, is_member in zip(members, found, strict=True):
        assert np.array_equal(imresize(member, 1 / 4), lr) == is_member
    assert found[0] and np.array_equal(members[0], hr), "what is a member already stays as it is"
    patch = imresize(hr // 2 + 64, 1 / 4)  # where there is room, any texture finds its place
    assert project(patch, rng.integers(0, 256, (3, *hr.shape)))[1].all()


def test_the_change_is_the_smallest_and_the_detail_stays():
    rng = np.random.default_rng(0)
    candidate, lr = rng.integers(90, 166, (32, 32, 3)), np.full((8, 8, 3), 130, np.uint8)
    members, found = project(lr, candidate[None])
    change = np.moveaxis(members[0] - candidate.astype(float), 2, 0)
    shrinking = CELLS["shrinking"](32)
    seen = np.linalg.pinv(shrinking) @ shrinking
    lost = change - seen @ change @ seen  # the smallest change has nothing in the null space, but for the rounding
    assert found.all() and np.sqrt(np.square(lost).mean()) < 0.6 < 4 < np.sqrt(np.square(change).mean())


def test_smooth_and_textured_places_differ_in_what_is_probable(tmp_path):
    cells = run_cells("01_argument", "01_argument-01", "project", "classes", "places", "neighbours")
    pack = build_pack("rocket", tmp_path / "rocket")
    smooth, textured = cells["by_detail"](pack, [0.1, 0.9])
    cells["places"] = cells["draw_places"]([pack])
    cells["pool"] = cells["without_mean"]([place.lr_of_photograph for place in cells["places"]])
    cells["contrast"] = np.linalg.norm(cells["pool"], axis=1).clip(min=1e-3)
    spreads = []
    for place in (smooth, textured):
        found = cells["probable"](place, 9)
        assert all(np.array_equal(imresize(member, 1 / 4), place.lr) for member in found.members)
        assert found.names[0] == "the photograph" and np.array_equal(found.members[0], place.hr)
        spreads.append(np.sqrt(found.variance.mean()))
    assert 4 * spreads[0] < spreads[1] and not smooth.overlaps(textured)
