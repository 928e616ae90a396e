"""The mask at work, on networks of random weights: the notebook runs, and its numbers are those of the definition."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from notebook_cells import run_cells
from small_trainings import random_project

from masksr import params
from masksr.models.build import build_discriminator, seed_for
from masksr.params import Mask
from masksr.training.losses import generator_loss


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names of 02_mask, run."""
    settings, paths = random_project(tmp_path_factory.mktemp("a project"))
    return run_notebook(settings, paths)


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
