"""The mask at work, on networks of random weights: every number against its definition; then the notebook."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from notebook_cells import run_cells

from masksr import params
from masksr.fetch.find import build_pack
from masksr.models.checkpoints import build_discriminator, build_generator, load_generator, save_generator, seed_for
from masksr.params import Mask
from masksr.paths import Paths
from masksr.results import inspection
from masksr.training.losses import generator_loss

ROOT = Path(__file__).parents[1]
PLAIN = Mask(kind="none")
matplotlib.use("Agg")


@pytest.fixture(scope="module", autouse=True)
def few_patches():
    with pytest.MonkeyPatch.context() as here, matplotlib.rc_context():
        here.setattr(inspection, "PATCHES", 4)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A profile whose starts and variants have random weights; the ends differ a little from the starts."""
    root = tmp_path_factory.mktemp("a project")
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["models"]["esrgan"]["generator"] |= {"num_feat": 8, "num_grow_ch": 4}
    content["models"]["pesr"]["generator"] |= {"depth": 1, "num_channels": 8}
    content["models"]["edsr"]["generator"] |= {"n_resblocks": 1, "n_feats": 8}
    for model in content["models"].values():
        model["lr_patch"], model["discriminator"]["num_feat"] = 16, 4
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / "dvc.yaml").touch()
    (root / "notebooks").mkdir()
    (root / "notebooks/mask_module.svg").write_bytes((ROOT / "notebooks/mask_module.svg").read_bytes())
    settings, paths = params.load(root / "params.yaml"), Paths(root, "mini")
    build_pack("rocket", paths.set("rocket"))
    for (model, when), folder in inspection.folders(settings, paths).items():
        folder.mkdir(parents=True)
        size = settings.models[model].generator
        save_generator(build_generator(size, 4, seed=when == "end"), size, folder / "generator.safetensors")
        rows = {"step": [10, 20], "mask_mean": [0.6, 0.7], "mask_saturated": [0.1, 0.2], "psnr": [np.nan, 20.0]}
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    return settings, paths


@pytest.fixture(scope="module")
def samples(project):
    return inspection.on_patches(*project)


@pytest.fixture(scope="module")
def starts(samples):
    return {sample.model: sample.patches(slice(None, None, 2)) for sample in samples if sample.when == "start"}


@pytest.fixture(scope="module")
def mask(project):
    return inspection.inspected_mask(project[0])[1]


def test_every_network_sees_the_same_bounded_patches(project, samples):
    settings, paths = project
    assert [(s.model, s.when, s.native) for s in samples] == [
        (model, when, "1" if model == "esrgan" else "255")
        for model in ("esrgan", "pesr", "edsr")
        for when in ("start", "end")
    ]
    for sample in samples:
        assert sample.lr.shape == (4, 3, 16, 16) and sample.sr.shape == (4, 3, 64, 64)
        torch.testing.assert_close(sample.hr * (255 / sample.pixel_range), samples[2].hr)
    generator = load_generator(paths.variant("pesr", "paper", 0) / "generator.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(samples[3].sr, generator(samples[3].lr), rtol=1e-4, atol=1e-3)
    for sample in inspection.on_a_photograph(settings, paths):
        assert sample.lr.shape[2:] == inspection.LARGEST_PHOTOGRAPH
        assert sample.hr.shape == sample.sr.shape == (1, 3, *(4 * side for side in inspection.LARGEST_PHOTOGRAPH))


def test_the_table_says_what_equation_8_gives(samples, mask):
    table = inspection.mask_table(samples, mask).set_index(["model", "when", "error_range"])
    for sample in samples:
        error = sample.error().double().numpy()
        counted = {"1": error / 255**2, "255": error, "relative": error / error.mean()}
        for reading, values in counted.items():
            expected = np.clip(0.2 * values + 0.5, 0, 1)
            row = table.loc[sample.model, sample.when, reading]
            assert row["mean"] == pytest.approx(expected.mean(), abs=1e-4)
            assert row["sd"] == pytest.approx(expected.std(), abs=1e-4)
            assert row["at_one"] == pytest.approx((expected >= 1).mean(), abs=1e-3)
            assert row["near_b"] == pytest.approx((expected < 0.51).mean(), abs=1e-3)
            assert row["native"] == (reading == sample.native)
            halfway = np.clip(row["k_halfway"] * values + 0.5, 0, 1).mean()
            assert halfway == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("mean", [0.4, 0.5, 1.0])
def test_a_mean_that_no_k_gives_is_nan(samples, mask, mean):
    assert np.isnan(inspection.k_for_mean(samples[0], mask, "255", mean))


def test_brightness_tells_fakes_apart_where_only_they_are_masked(samples, mask):
    perfect = replace(samples[0], sr=samples[0].hr)
    half = mask.model_copy(update={"k": 0.0})  # b = 0.5 everywhere
    for apply, expected in {"both": 0.5, "gradient": 0.5, "sr": None}.items():
        changed = half.model_copy(update={"apply": apply})
        fake, real = (x.mean(dim=(1, 2, 3)).numpy() for x in inspection.discriminator_inputs(perfect, changed))
        darker = inspection.share_darker(fake, real)
        assert darker == pytest.approx((fake[:, None] < real[None]).mean() if expected is None else expected)


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_the_gradient_is_that_of_the_first_step(project, starts, mask, model):
    """Of m * x it is m times the gradient at m * x; with apply: gradient, m times the plain one."""
    recipe, sample = project[0].models[model], starts[model]
    both = mask.model_copy(update={"error_range": "relative"})
    m = sample.mask(both, "relative")
    discriminator = build_discriminator(recipe.discriminator, 64, seed_for(3, "discriminator"))
    fake = (m * sample.sr).requires_grad_()
    logits = discriminator((m * sample.hr).detach()), discriminator(fake)
    generator_loss(recipe.loss.gan_type, *logits, recipe.loss.focal_gamma).backward()
    torch.testing.assert_close(inspection.gradient_at_sr(sample, both, recipe, 3), m * fake.grad)

    plain = inspection.gradient_at_sr(sample, PLAIN, recipe, 3)
    only = both.model_copy(update={"apply": "gradient"})
    assert torch.equal(inspection.gradient_at_sr(sample, only, recipe, 3), m * plain)
    ones = both.model_copy(update={"k": 0.0, "b": 1.0})
    assert torch.equal(inspection.gradient_at_sr(sample, ones, recipe, 3), plain)


def test_the_gradient_table_keeps_its_promises(project, starts, mask):
    table = inspection.gradient_table(list(starts.values()), mask, project[0])
    assert len(table) == 3 * len(inspection.compared_masks(mask)) == 24
    for _, rows in table.groupby("model"):
        rows = rows.set_index("mask")
        assert rows["size"][inspection.NO_MASK] == 1
        # A weight that rises with the error can only move the gradient to where the error is large.
        assert rows["share"]["relative, apply: gradient"] >= rows["share"][inspection.NO_MASK]
        assert 0.5 <= rows["size"]["relative, apply: gradient"] <= 1
        assert rows["share"].between(0, 1).all() and rows["correlation"].between(-1, 1).all()


@pytest.mark.parametrize(
    ("models", "changes"),
    [(["esrgan", "pesr", "edsr"], {}), (["pesr"], {"b": 0.0, "per_channel": True}), (["esrgan"], {"k": 0.0, "b": 1.0})],
)
def test_the_notebook_runs_as_it_stands_for_any_mask(project, monkeypatch, capsys, models, changes):
    settings, paths = project
    masks = settings.masks | {"paper": settings.masks["paper"].model_copy(update=changes)}
    table1 = settings.table1.model_copy(update={"models": models})
    changed = settings.model_copy(update={"masks": masks, "table1": table1})
    monkeypatch.chdir(paths.root)
    monkeypatch.setattr(params, "load", lambda: changed)
    run_cells("31_mask")
    plt.close("all")
    assert f"masks.paper: k = {masks['paper'].k:g}, b = {masks['paper'].b:g}" in capsys.readouterr().out
    assert len(pd.read_csv(paths.results / "mask.csv")) == 6 * len(models)
