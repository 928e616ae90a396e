"""The notebooks of the method: 02_mask on networks of random weights, and 01_argument's LR classes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from notebook_cells import run_cells
from small_trainings import random_project

from masksr import params
from masksr.data.bicubic import imresize
from masksr.models.build import build_discriminator, seed_for
from masksr.params import Mask
from masksr.training.losses import generator_loss


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return run_notebook(*random_project(tmp_path_factory.mktemp("a project")))


def run_notebook(settings, paths):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(paths.root)
        patch.setattr(params, "load", lambda: settings)
        names = run_cells("02_mask")
    plt.close("all")
    return names


def test_the_table_says_what_equation_8_gives(names):
    for sample in names["patches"]:  # every network sees the same
        torch.testing.assert_close(sample.hr * (255 / sample.pixel_range), names["patches"][2].hr)
    assert all(sample.sr.shape == (1, 3, 4 * 32, 4 * 48) for sample in names["photographs"])
    table = names["table"].set_index(["model", "when", "error_range"])
    assert len(table) == len(pd.read_csv(names["paths"].results / "mask.csv")) == 18
    assert len(names["shares"]) == 3 * len(names["masks"]) and names["shares"]["share"].between(0, 1).all()
    for sample in names["patches"]:
        error = sample.error().double().numpy()
        counted = {"1": error / 255**2, "255": error, "relative": error / error.mean()}
        for reading, values in counted.items():
            expected = np.clip(0.2 * values + 0.5, 0, 1)
            row = table.loc[sample.model, sample.when, reading]
            assert row["mean"] == pytest.approx(expected.mean(), abs=1e-4)
            assert row["sd"] == pytest.approx(expected.std(), abs=1e-4)
            assert row["at_one"] == pytest.approx((expected >= 1).mean(), abs=1e-3)
            assert row["near_b"] == pytest.approx((expected < 0.51).mean(), abs=1e-3)
            halfway = np.clip(row["k_halfway"] * values + 0.5, 0, 1).mean()
            assert halfway == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_the_gradient_is_that_of_the_first_step(names, model):
    """Of m * x it is m times the gradient at m * x; with apply: gradient, m times the plain one."""
    recipe, gradient_at_sr = names["settings"].models[model], names["gradient_at_sr"]
    sample = next(one for one in names["starts"] if one.model == model)
    both = names["mask"].model_copy(update={"error_range": "relative"})
    m = sample.mask(both, "relative")
    discriminator = build_discriminator(recipe.discriminator, 64, seed_for(3, "discriminator"))
    fake = (m * sample.sr).requires_grad_()
    logits = discriminator((m * sample.hr).detach()), discriminator(fake)
    generator_loss(recipe.loss.gan_type, *logits, recipe.loss.focal_gamma).backward()
    torch.testing.assert_close(gradient_at_sr(sample, both, 3), m * fake.grad)
    plain = gradient_at_sr(sample, Mask(kind="none"), 3)
    only = both.model_copy(update={"apply": "gradient"})
    assert torch.equal(gradient_at_sr(sample, only, 3), m * plain)


def test_the_notebook_runs_for_any_mask(names):
    settings, changes = names["settings"], {"b": 0.0, "per_channel": True}
    masks = settings.masks | {"paper": settings.masks["paper"].model_copy(update=changes)}
    table1 = settings.table1.model_copy(update={"models": ["pesr"]})
    changed = run_notebook(settings.model_copy(update={"masks": masks, "table1": table1}), names["paths"])
    assert len(changed["table"]) == 6 and changed["table"]["k_halfway"].notna().all()


CELLS = run_cells("01_argument", "01_argument-01", "project")
project = CELLS["project"]
SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))
PIXELS = SIDES.flatmap(lambda sides: arrays(np.uint8, (4 * sides[0], 4 * sides[1], 3)))


@given(PIXELS, st.integers(0, 2**32 - 1))
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
    lost = change - seen @ change @ seen  # the smallest change has nothing in the null space, but rounding
    assert found.all() and np.sqrt(np.square(lost).mean()) < 0.6 < 4 < np.sqrt(np.square(change).mean())
