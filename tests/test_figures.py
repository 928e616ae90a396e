import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from masksr import figures, params, quality_table
from masksr.figures import data, style

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def report_style():
    before = matplotlib.rcParams.copy()
    figures.use_style()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcParams.update(before)


def drawn(figure):
    """The figure, after it was drawn without a single warning."""
    assert isinstance(figure, Figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def texts(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def labels(figure):
    return [ax.get_ylabel() for ax in figure.axes if ax.axison]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_contact_sheet_shows_every_image(count):
    images = [(f"image_{i}_with_quite_a_long_name.png", picture(40 + 30 * i, 60)) for i in range(count)]
    figure = drawn(figures.contact_sheet(images))
    assert sum(bool(ax.images) for ax in figure.axes) == count
    assert all("60" in ax.get_xlabel() for ax in figure.axes if ax.images)


def test_large_images_are_made_smaller_for_the_report():
    assert max(style.thumbnail(picture(300, 900), 450).shape) == 450


@pytest.mark.parametrize("box", [None, (8, 16, 32)])
def test_degradation_shows_one_place_three_times(box):
    hr = picture(64, 96)
    shown = [ax.images[0].get_array() for ax in drawn(figures.degradation(hr, hr[::4, ::4], hr, box)).axes]
    top, left, size = box or (0, 16, 64)
    assert (shown[0] == hr[top : top + size, left : left + size]).all()
    assert shown[1].shape == (size // 4, size // 4, 3) and (shown[2] == shown[0]).all()


def test_patch_pairs_stand_above_each_other():
    figure = drawn(figures.patch_pairs(np.zeros((10, 3, 8, 8), np.uint8), np.zeros((10, 3, 32, 32), np.uint8)))
    assert len(figure.axes) == 16
    assert [figure.axes[i].images[0].get_array().shape[0] for i in (0, 8)] == [8, 32]


def test_the_textures_of_figure_2_are_one_class():
    textures, lr = data._textures()
    assert len({texture.tobytes() for texture in textures.values()}) == 4
    assert {texture.mean() for texture in textures.values()} == {lr}  # block means agree with bicubic here
    assert sum(bool(ax.images) for ax in drawn(figures.equivalence_class()).axes) == 6


def history(steps=40, **columns):
    step = np.arange(1, steps + 1) * 10
    table = pd.DataFrame({"phase": "ESRGAN, error mask", "step": step, "learning_rate": 1e-4, "loss_g": 1.0 / step})
    table["psnr"] = np.where(step % 50 == 0, 25.0, np.nan)
    return table.assign(**columns)


MASK = params.Mask(
    kind="error", k=0.2, b=0.5, error_range="native", window=1, per_channel=False, apply="both", detach=True
)
GAN = {"vgg54": 0.2, "gan": 0.7, "l1": 0.05, "loss_d": 0.6, "d_real": 1.0, "d_fake": -1.0}
GAN |= {"mask_mean": 0.6, "mask_saturated": 0.1}


def test_curves_of_a_masked_gan():
    figure = drawn(figures.training_curves(history(**GAN, psnr_bicubic=24.0), MASK))
    assert labels(figure) == [
        "loss of G", "loss of D", "output of D (logit)", "mask", "learning rate", "validation PSNR-Y (dB)",
    ]  # fmt: skip
    generator, _, logits, mask, _, psnr = figure.axes
    assert texts(generator) == ["sum", "VGG54", "GAN", "L1"] and generator.get_yscale() == "log"
    assert texts(logits) == ["HR", "SR"]
    assert texts(mask) == ["mean", "share at 0 or 1", "b = 0.5"]
    assert texts(psnr) == ["SR", "bicubic"]


def test_parts_are_drawn_with_their_weights_when_these_are_given():
    loss = params.load(ROOT / "params.yaml").models["esrgan"].loss.model_copy(update={"gan": 5e-3})
    line = figures.training_curves(history(**GAN), MASK, loss=loss).axes[0].lines[2]
    assert line.get_label() == "GAN" and line.get_ydata()[0] == pytest.approx(0.7 * 5e-3)


def test_a_plain_gan_has_no_mask_panel():
    assert "mask" not in labels(drawn(figures.training_curves(history(**GAN), params.Mask(kind="none"))))


def test_the_phases_of_a_start_follow_each_other():
    first = history(20, phase="EDSR start, x2 L1", l1=0.1)
    second = history(30, phase="EDSR start, x4 L1", l1=0.2)
    figure = drawn(figures.training_curves(pd.concat([first, second], ignore_index=True)))
    assert labels(figure) == ["loss of G", "learning rate", "validation PSNR-Y (dB)"]
    before, after, boundary = figure.axes[0].lines
    assert before.get_xdata()[-1] == 200 and after.get_xdata()[[0, -1]].tolist() == [210, 500]
    assert list(boundary.get_xdata()) == [200, 200]
    assert texts(figure.axes[0]) == ["L1"]
    assert "x2 L1 | EDSR start, x4 L1" in figure.get_supxlabel()


def test_two_phases_of_one_name_are_two_phases():
    both = pd.concat([history(20), history(20)], ignore_index=True)
    assert figures.training_curves(both).axes[0].lines[1].get_xdata()[0] == 210


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(columns=["phase", "step"]),
        history(1, **GAN),
        history(**dict.fromkeys(GAN, np.nan), loss_g=np.nan),
        history(**(GAN | {"gan": 0.0})),
    ],
    ids=["empty", "one row", "nan", "zero"],
)
def test_curves_of_odd_histories_draw(table):
    drawn(figures.training_curves(table, MASK))


@pytest.mark.parametrize("shape", [(40, 60), (3, 40, 60)])
def test_mask_over_photograph(shape):
    hr, mask = picture(40, 60), RNG.random(shape)
    figure = drawn(figures.mask_over_photograph(hr, hr, mask, RNG.random(shape)))
    assert [ax.get_title() for ax in figure.axes[:5]] == ["HR", "SR", "squared error", "mask", f"mask {style.TIMES} HR"]
    heat = figure.axes[3].images[0]
    assert heat.get_clim() == (0, 1)
    assert (figure.axes[4].images[0].get_array() <= hr).all()
    assert sum(bar.get_height() for bar in figure.axes[5].patches) == pytest.approx(100)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_mask_without_error_draws(value):
    hr, mask = picture(40, 60), np.full((40, 60), 0.5)
    drawn(figures.mask_over_photograph(hr, hr, mask, np.full((40, 60), value)))


def test_mask_response_saturates_where_equation_8_does():
    small, large = drawn(figures.mask_response(0.2, 0.5)).axes[0].lines[:2]
    levels = np.asarray(large.get_xdata())
    assert levels[np.argmax(large.get_ydata() == 1)] == pytest.approx(np.sqrt(0.5 / 0.2), rel=0.02)
    assert np.interp(20, levels, small.get_ydata()) == pytest.approx(0.5, abs=0.002)
    assert "1 from 1.6 levels on" in large.get_label() and "at most 0.70" in small.get_label()


@pytest.mark.parametrize(("k", "b"), [(0, 1), (20, 0), (0.2, 1.5), (0.2, -1)])
def test_mask_response_of_any_k_and_b(k, b):
    drawn(figures.mask_response(k, b, [1, 255, 2]))


def test_crops_cut_the_same_place_at_both_scales():
    hr = picture(64, 96)
    figure = drawn(figures.crops([("LR", hr[::4, ::4]), ("bicubic", hr), ("HR", hr)], (16, 32, 32)))
    photograph, lr, bicubic, truth = figure.axes
    assert lr.images[0].get_array().shape == (8, 8, 3)
    assert (truth.images[0].get_array() == hr[16:48, 32:64]).all()
    assert bicubic.get_xlabel() == "identical" and lr.get_xlabel() == " "
    assert photograph.patches[0].get_bbox().bounds == (31.5, 15.5, 32, 32)


def test_a_crop_outside_its_image_is_refused():
    with pytest.raises(ValueError, match="leaves the image"):
        figures.crops([("HR", picture(64, 96))], (40, 0, 32))


@pytest.mark.parametrize(("variants", "lines", "rows"), [(2, None, 2), (6, None, 1), (9, 3, 2), (5, 2, 1)])
def test_figure4_has_a_column_per_model(variants, lines, rows):
    titles = ["LR", *(f"v{i}" for i in range(variants)), "HR"]
    crop = [picture(32, 32) for _ in titles]
    row = figures.CropRow(picture(64, 96), (0, 0, 32), crop)
    figure = drawn(figures.figure4([row] * rows, titles, lines))
    axes = figure.axes
    assert [ax.get_title() for ax in axes] == ["", *titles] * rows
    assert axes[1 + 1].get_xlabel().endswith("dB") and axes[len(titles)].get_xlabel() == " "
    if lines == 3:  # three masks of a model below each other
        assert len({round(ax.get_position().x0, 3) for ax in axes[2:5]}) == 1


def measurements(p, images=2):
    rows = []
    variants = [(m, k, s) for m in p.table1.models for k in [*p.table1.masks, "start"] for s in p.table1.seeds]
    for name in p.data.test:
        for model, mask, seed in [*variants, ("HR", "none", 0), ("bicubic", "none", 0)]:
            for image in range(images):
                pi = {"HR": 2.0, "bicubic": 7.0}.get(model, 3.0) + 0.1 * RNG.random()
                row = [model, mask, seed, name, str(image), 4.0, 8.0, pi, 25.0, 0.7, 12.0]
                rows.append([*row, "official", "official", ""])
    return pd.DataFrame(rows, columns=quality_table.COLUMNS)


def profile(sets, seeds, masks):
    base = params.load(ROOT / "params.yaml")
    models = base.models | {"mine": base.models["esrgan"].model_copy(update={"title": "Mine"})}
    table = params.Table1(models=["esrgan", "mine"], masks=masks, seeds=seeds)
    return base.model_copy(
        update={"data": base.data.model_copy(update={"test": sets}), "models": models, "table1": table}
    )


@pytest.mark.parametrize(
    ("sets", "seeds", "masks"),
    [(["a"], [0], ["none"]), (["a", "b"], [0, 1], ["none", "paper"]), (list("abcde"), [3], ["none", "x", "y"])],
)
def test_table1_dots(sets, seeds, masks):
    p = profile(sets, seeds, masks)
    figure = drawn(figures.table1_dots(measurements(p), p))
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in shown] == sets
    assert [label.get_text() for label in shown[0].get_yticklabels()] == ["ESRGAN", "Mine"]
    assert "lower is better" in figure.get_supxlabel() and figure.get_supxlabel().startswith("PI")
    assert {text.get_text() for text in shown[0].texts} == {"HR", "bicubic"}
    assert len(figure.legends[0].get_texts()) == len(masks) + 1


def test_table1_dots_without_any_pi():
    p = profile(["a", "b"], [0, 1], ["none", "paper"])
    drawn(figures.table1_dots(measurements(p).assign(pi=np.nan), p))


def sweep(ks, bs, sets, seeds):
    points = [(k, b, s, x, 3 + RNG.random()) for k in ks for b in bs for s in seeds for x in sets]
    plain = [(s, x, 3.5) for s in seeds for x in sets]
    columns = ["k", "b", "seed", "set", "pi"]
    return pd.DataFrame(points, columns=columns), pd.DataFrame(plain, columns=columns[2:])


@pytest.mark.parametrize(
    ("ks", "bs", "scale", "sets", "seeds"),
    [
        ([0.2], [0.5], "linear", ["a"], [0]),
        ([0.2, 2, 20], [0, 0.5], "log", ["a", "b"], [0, 1]),
        ([0, 0.2, 20], [0.5], "symlog", ["a", "b"], [0]),
    ],
)
def test_figure5(ks, bs, scale, sets, seeds):
    figure = drawn(figures.figure5(*sweep(ks, bs, sets, seeds), "PI (stand-in)"))
    columns = len(sets) + (len(sets) > 1)
    upper, lower = figure.axes[:columns], figure.axes[columns + 1 : -1]
    assert [ax.get_title() for ax in upper] == [*sets, *(["mean"] if len(sets) > 1 else [])]
    assert {ax.get_xlabel() for ax in upper} == {"k"} and {ax.get_xlabel() for ax in lower} == {"b"}
    assert upper[0].get_xscale() == scale
    assert upper[0].get_ylabel() == "PI (stand-in)\n(lower is better)"
    assert texts(figure.axes[columns]) == ["plain", *(f"b = {b:g}" for b in bs)]
    assert texts(figure.axes[-1]) == ["plain", *(f"k = {k:g}" for k in ks)]
    assert upper[0].get_ylim() == lower[0].get_ylim()


def test_figure5_shows_means_and_never_hides_a_missing_set_in_one():
    points = pd.DataFrame(
        [(1.0, 0.5, 0, "a", 2.0), (1.0, 0.5, 0, "b", 4.0), (2.0, 0.5, 0, "a", 2.0), (2.0, 0.5, 0, "b", np.nan)],
        columns=["k", "b", "seed", "set", "pi"],
    )
    plain = pd.DataFrame({"seed": [0, 0], "set": ["a", "b"], "pi": [3.0, np.nan]})
    mean = drawn(figures.figure5(points, plain, "PI")).axes[2]
    assert mean.get_title() == "mean"
    np.testing.assert_array_equal(np.asarray(mean.lines[0].get_ydata(), float), [3.0, np.nan])


def test_figure5_of_nothing_but_nan_draws():
    points, plain = sweep([0.2, 2], [0.5], ["a"], [0, 1])
    drawn(figures.figure5(points.assign(pi=np.nan), plain.assign(pi=np.nan), "PI"))


def test_colours_are_fixed_for_the_papers_models_and_differ():
    assert figures.colours(["edsr", "mine"])["edsr"] == figures.colours(["esrgan", "edsr"])["edsr"]
    assert len(set(figures.colours(["esrgan", "pesr", "edsr", "a", "b", "c"]).values())) == 6
    assert style.mask_style("none")["linestyle"] == "--" and style.mask_style("paper")["linestyle"] == "-"
