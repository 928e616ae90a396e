"""The mask at work, on networks of random weights: every number against its definition, every figure drawn."""

import json
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

from masksr import params
from masksr import plots as figures
from masksr.fetch.sets import build_pack
from masksr.inspection import gradient, masks, networks, pictures, tables
from masksr.models.build import build_discriminator, build_generator, load_generator, save_generator, seed_for
from masksr.params import Mask
from masksr.paths import Paths
from masksr.training.losses import generator_loss

ROOT = Path(__file__).parents[1]
PLAIN = Mask(kind="none")


@pytest.fixture(scope="module", autouse=True)
def few_patches():
    with pytest.MonkeyPatch.context() as here, matplotlib.rc_context():
        here.setattr(networks, "PATCHES", 4)
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
    settings, paths = params.load(root / "params.yaml"), Paths(root, "mini")
    build_pack("rocket", paths.set("rocket"))
    for (model, when), folder in networks.folders(settings, paths).items():
        folder.mkdir(parents=True)
        size = settings.models[model].generator
        generator = build_generator(size, 4, seed=when == "end")
        save_generator(generator, size, folder / "generator.safetensors")
        rows = {"step": [10, 20], "mask_mean": [0.6, 0.7], "mask_saturated": [0.1, 0.2], "psnr": [np.nan, 20.0]}
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    return settings, paths


@pytest.fixture(scope="module")
def samples(project):
    return networks.on_patches(*project)


@pytest.fixture(scope="module")
def mask(project):
    return networks.inspected_mask(project[0])[1]


def drawn(figure):
    assert isinstance(figure, Figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()


def test_every_network_sees_the_same_bounded_patches(project, samples):
    _, paths = project
    assert [(s.model, s.when, s.native) for s in samples] == [
        (model, when, "1" if model == "esrgan" else "255")
        for model in ("esrgan", "pesr", "edsr")
        for when in ("start", "end")
    ]
    for sample in samples:
        assert sample.lr.shape == (networks.PATCHES, 3, 16, 16) and sample.sr.shape == (networks.PATCHES, 3, 64, 64)
        torch.testing.assert_close(sample.hr * (255 / sample.pixel_range), samples[2].hr)
    folder = paths.variant("pesr", "paper", 0)
    generator = load_generator(folder / "generator.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(samples[3].sr, generator(samples[3].lr), rtol=1e-4, atol=1e-3)


def test_large_patches_and_photographs_are_cut(project):
    settings, paths = project
    large = {name: model.model_copy(update={"lr_patch": 64}) for name, model in settings.models.items()}
    only = settings.table1.model_copy(update={"models": ["edsr"]})
    for sample in networks.on_patches(settings.model_copy(update={"models": large, "table1": only}), paths):
        assert sample.lr.shape[2:] == (networks.LARGEST_PATCH,) * 2
    for sample in networks.on_a_photograph(settings, paths):
        assert sample.lr.shape[2:] == networks.LARGEST_PHOTOGRAPH
        assert sample.hr.shape == sample.sr.shape == (1, 3, *(4 * side for side in networks.LARGEST_PHOTOGRAPH))


def test_the_inspected_mask_is_the_first_of_table_1(project):
    settings, _ = project
    assert networks.inspected_mask(settings) == ("paper", settings.masks["paper"])
    plain = settings.table1.model_copy(update={"masks": ["none"]})
    assert networks.inspected_mask(settings.model_copy(update={"table1": plain})) == ("none", settings.masks["paper"])


def test_the_table_says_what_equation_8_gives(samples, mask):
    table = masks.mask_table(samples, mask).set_index(["model", "when", "error_range"])
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


def test_k_and_the_range_are_one_number(samples, mask):
    sample = samples[0]
    in_1, in_255, relative = (masks.k_for_mean(sample, mask, reading, 0.7) for reading in networks.READINGS)
    assert in_1 == pytest.approx(in_255 * 255**2, rel=1e-4)
    assert relative == pytest.approx(in_255 * sample.error().double().mean().item(), rel=1e-4)


@pytest.mark.parametrize("mean", [0.4, 0.5, 1.0])
def test_a_mean_that_no_k_gives_is_nan(samples, mask, mean):
    assert np.isnan(masks.k_for_mean(samples[0], mask, "255", mean))


def test_over_the_range_lie_all_readings(samples, mask):
    sample = samples[3]
    relative = masks.over_range([sample], mask)["relative"].iloc[0]
    line = masks.over_range([sample], mask, [1, 255, relative])
    table = masks.mask_table([sample], mask)
    np.testing.assert_allclose(line[["mean", "sd"]], table[["mean", "sd"]], rtol=1e-4)


def test_histograms_hold_every_pixel(samples, mask):
    shares = masks.histograms(samples, mask).groupby(["model", "when", "error_range"])["share"].sum()
    assert len(shares) == 18
    np.testing.assert_allclose(shares, 1)


def test_brightness_tells_fakes_apart_where_only_they_are_masked(samples, mask):
    perfect = networks.replace(samples[0], sr=samples[0].hr)
    half = mask.model_copy(update={"k": 0.0})  # b = 0.5 everywhere
    table = gradient.brightness_table([perfect], half).query("error_range == '1'").set_index("apply")
    assert table["told_apart"][["both", "gradient"]].tolist() == [0.5, 0.5]
    assert table["fake"]["sr"] == pytest.approx(table["real"]["sr"] / 2, rel=1e-5)
    levels = samples[0].hr.mean(dim=(1, 2, 3)).numpy()
    pairs = levels[:, None] / 2 < levels[None]
    assert table["told_apart"]["sr"] == pytest.approx(pairs.mean())


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_the_gradient_is_that_of_the_first_step(project, samples, mask, model):
    """Of m * x it is m times the gradient at m * x; with apply: gradient, m times the plain one."""
    settings, _ = project
    recipe = settings.models[model]
    sample = next(s for s in gradient.starts(samples) if s.model == model)
    both = mask.model_copy(update={"error_range": "relative"})
    m = sample.mask(both, "relative")

    discriminator = build_discriminator(recipe.discriminator, 64, seed_for(3, "discriminator"))
    fake = (m * sample.sr).requires_grad_()
    logits = discriminator((m * sample.hr).detach()), discriminator(fake)
    generator_loss(recipe.loss.gan_type, *logits, recipe.loss.focal_gamma).backward()
    torch.testing.assert_close(gradient.at_sr(sample, both, recipe, 3), m * fake.grad)

    plain = gradient.at_sr(sample, PLAIN, recipe, 3)
    only = both.model_copy(update={"apply": "gradient"})
    assert torch.equal(gradient.at_sr(sample, only, recipe, 3), m * plain)
    ones = both.model_copy(update={"k": 0.0, "b": 1.0})
    assert torch.equal(gradient.at_sr(sample, ones, recipe, 3), plain)


def test_batch_normalisation_undoes_a_constant_mask(project, samples, mask):
    recipe = project[0].models["pesr"]
    sample = next(s for s in gradient.starts(samples) if s.model == "pesr")
    half = mask.model_copy(update={"k": 0.0})
    plain = gradient.at_sr(sample, PLAIN, recipe, 0)
    difference = gradient.at_sr(sample, half, recipe, 0) - plain
    assert difference.norm() < 1e-2 * plain.norm()


def test_the_gradient_table_keeps_its_promises(project, samples, mask):
    settings, _ = project
    table = gradient.gradient_table(samples, mask, settings)
    assert len(table) == 3 * len(gradient.variants(mask)) == 24
    for _, rows in table.groupby("model"):
        rows = rows.set_index("mask")
        assert rows["size"][gradient.PLAIN] == 1
        # A weight that rises with the error can only move the gradient to where the error is large.
        assert rows["share"]["relative, apply: gradient"] >= rows["share"][gradient.PLAIN]
        assert 0.5 <= rows["size"]["relative, apply: gradient"] <= 1
        assert rows["share"].between(0, 1).all() and rows["correlation"].between(-1, 1).all()
    pd.testing.assert_frame_equal(table, gradient.gradient_table(samples, mask, settings))


@pytest.mark.parametrize(("b", "share"), [(0, 1), (0.5, 0.4), (1, 0.25), (-1, 1), (2, 0.25)])
def test_the_ceiling_of_b(b, share):
    assert gradient.largest_share(b) == pytest.approx(share)


def test_variants_cover_every_apply_once(mask):
    for apply in gradient.APPLIES:
        named = gradient.variants(mask.model_copy(update={"apply": apply, "detach": apply == "gradient"}))
        assert {m.apply for m in named.values() if m.kind == "error"} == set(gradient.APPLIES)
        for one in named.values():
            Mask.model_validate(one.model_dump() if one.kind != "none" else {"kind": "none"})


def test_numbers_are_printed_as_people_write_them():
    printed = {820.0: "820", 0.00193: "0.0019", 2.44: "2.4", float("nan"): "—", 1730.0: "1700"}
    assert {value: tables._two_digits(value) for value in printed} == printed


def test_the_words_follow_the_numbers(project):
    row = {"model": "esrgan", "when": "end", "error_range": "1", "native": True, "k": 0.2, "b": 0.5}
    row |= {"mean": 0.5, "sd": 0.0, "k_halfway": 91.0}
    for near_b, at_one, words in [(0.99, 0, "99.0% of the pixels are within 0.01 of b = 0.5; hardly a mask"),
                                  (0.1, 0.6, "60.0% of the pixels are clipped at 1; partly a mask"),
                                  (0.3, 0.1, "a mask")]:  # fmt: skip
        table = pd.DataFrame([row | {"near_b": near_b, "at_one": at_one}])
        assert words in tables.in_words(table, project[0]).data


def test_written_files_are_named(project, samples, mask, capsys):
    settings, paths = project
    tables.write(masks.mask_table(samples, mask), pd.DataFrame({"share": [0.25]}), settings, paths)
    assert capsys.readouterr().out == "wrote results/mini/mask.csv\nwrote results/mini/mask_gradient.csv\n"


@pytest.mark.parametrize(
    ("models", "changes"),
    [
        (["esrgan", "pesr", "edsr"], {"b": 0.0, "per_channel": True}),
        (["esrgan"], {"k": 0.0}),
        (["pesr"], {"b": 1.0, "window": 5}),
    ],
)
def test_every_figure_and_table_for_any_mask(project, mask, models, changes):
    settings, paths = project
    settings = settings.model_copy(update={"table1": settings.table1.model_copy(update={"models": models})})
    mask = mask.model_copy(update=changes)
    figures.use_style()
    samples, photographs = networks.on_patches(settings, paths), networks.on_a_photograph(settings, paths)
    flow = pictures.flow(samples, mask)
    drawn(figures.framework(flow, "A network", settings.models["pesr"].loss))
    drawn(figures.mask_module(flow))
    histories = networks.histories(settings, paths)
    drawn(figures.mask_over_training(pictures.over_training(photographs, histories, mask, settings)))
    drawn(figures.mask_readings(pictures.readings(photographs, mask, settings)))
    drawn(figures.mask_histograms(masks.histograms(samples, mask), settings, networks.READINGS))
    drawn(figures.mask_over_range(masks.over_range(samples, mask), settings, k=mask.k, b=mask.b))
    drawn(figures.discriminator_inputs(pictures.inputs(samples, mask)))
    drawn(figures.gradient_maps(pictures.gradient_maps(samples, mask, settings)))
    table = masks.mask_table(samples, mask)
    assert len(tables.readings(table, settings)) == 3 * len(models)
    assert len(tables.k_needed(table, settings)) == len(models)
    assert len(tables.in_words(table, settings).data.splitlines()) == len(models)
    brightness = gradient.brightness_table(samples, mask)
    assert len(tables.brightness(brightness, settings)) == 3 * len(models)
    shares = gradient.gradient_table(samples, mask, settings)
    assert list(tables.gradients(shares, settings)) == ["mask", *(settings.models[model].title for model in models)]
    drawn(figures.gradient_shares(shares, settings, b=mask.b, largest=gradient.largest_share(mask.b)))


def test_the_notebook_runs_as_it_stands(project, monkeypatch, capsys):
    monkeypatch.chdir(project[1].root)
    cells = json.loads((ROOT / "notebooks/31_mask.ipynb").read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            exec("".join(cell["source"]), names)
    assert "masks.paper: k = 0.2, b = 0.5" in capsys.readouterr().out
