import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from masksr import params
from masksr import plots as figures
from masksr.plots import data, style
from masksr.results import scores
from masksr.results.evidence import sweep_intervals as intervals

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
    assert isinstance(figure, figures.Picture)
    assert figure.alt.endswith(".") and not re.search(r"\bnan\b", figure.alt), "what it shows, in words"
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
    row = figures.CropRow(picture(64, 96), (0, 0, 32), crop, "random, seed 0", "set: photo")
    figure = drawn(figures.figure4([row] * rows, titles, lines))
    axes = figure.axes
    assert [ax.get_title() for ax in axes] == ["random, seed 0", *titles] * rows
    assert axes[0].get_xlabel() == "set: photo" and "set: photo (random, seed 0), 32 pixels a side" in figure.alt
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
    return pd.DataFrame(rows, columns=scores.COLUMNS)


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


def sweep(ks, bs, sets, seeds, images=4):
    """Differences that rise with k; the plain model has 3.5 everywhere."""
    columns = pd.MultiIndex.from_product([sets, map(str, range(images))], names=["set", "image"])
    rest = RNG.normal(0, 0.01, (len(ks), len(bs), len(seeds), len(columns)))
    differences = {
        (float(k), float(b)): pd.DataFrame(0.1 * i + rest[i, j], index=seeds, columns=columns)
        for i, k in enumerate(ks)
        for j, b in enumerate(bs)
    }
    points = [(k, b, s, x, 3.5 + d.loc[s, x].mean()) for (k, b), d in differences.items() for s in seeds for x in sets]
    columns = ["k", "b", "seed", "set", "pi"]
    plain = pd.DataFrame([(s, x, 3.5) for s in seeds for x in sets], columns=columns[2:])
    return pd.DataFrame(points, columns=columns), plain, "PI (stand-in)", intervals(differences)


@pytest.mark.parametrize(
    ("ks", "bs", "scale", "sets", "seeds"),
    [
        ([0.2], [0.5], "linear", ["a"], [0]),
        ([0.2, 2, 20], [0, 0.5], "log", ["a", "b"], [0, 1]),
        ([0, 0.2, 20], [0.5], "symlog", ["a", "b"], [0]),
    ],
)
def test_figure5(ks, bs, scale, sets, seeds):
    figure = drawn(figures.figure5(*sweep(ks, bs, sets, seeds)))
    upper, lower = ([ax for ax in figure.axes if ax.axison and ax.get_xlabel() == x and ax.lines] for x in "kb")
    assert [ax.get_title() for ax in upper] == [*sets, *(["mean"] if len(sets) > 1 else [])]
    assert upper[0].get_xscale() == scale and upper[0].get_ylim() == lower[0].get_ylim()
    assert upper[0].get_ylabel() == "PI (stand-in)\n(lower is better)"
    legends = [texts(ax) for ax in figure.axes if ax.get_legend()]
    assert legends == [["plain", *(f"b = {b:g}" for b in bs)], ["plain", *(f"k = {k:g}" for k in ks)]]
    bands = [ax for ax in upper if ax.collections]
    assert len(bands) == len(upper), "an interval for every set"
    maps = [ax for ax in figure.axes if any(text.get_text().startswith(("+", style.MINUS)) for text in ax.texts)]
    assert len(maps) == (len(upper) if len(ks) > 1 and len(bs) > 1 else 0)


def test_the_map_of_figure5_has_every_difference_and_says_which_are_decided():
    points, plain, label, sure = sweep([1, 2, 4], [0.25, 0.5], ["a", "b"], [0, 1, 2, 3], images=30)
    figure = drawn(figures.figure5(points, plain, label, sure))
    shown = next(ax for ax in reversed(figure.axes) if ax.texts)
    cells = {text.get_position(): text for text in shown.texts}
    assert len(cells) == 6
    for column, mean in enumerate([0.0, 0.1, 0.2]):
        for row in range(2):
            text = cells[column + 0.5, row + 0.5]
            assert float(text.get_text().replace(style.MINUS, "-")) == pytest.approx(mean, abs=0.02)
            assert (text.get_weight() == "bold") == (column > 0)
    norm = shown.collections[0].norm
    assert norm.vmin == -norm.vmax, "centred at no difference"


def test_sets_of_two_images_have_no_band_and_say_so():
    figure = drawn(figures.figure5(*sweep([1, 2], [0.5], ["a", "b"], [0], images=2)))
    upper = [ax for ax in figure.axes if ax.axison and ax.get_xlabel() == "k"]
    assert [[text.get_text() for text in ax.texts] for ax in upper] == [["2 images: no band"]] * 2 + [[]]
    assert [bool(ax.collections) for ax in upper] == [False, False, True]


def test_figure5_shows_means_and_never_hides_a_missing_set_in_one():
    points, plain, label, _ = sweep([1, 2], [0.5], ["a", "b"], [0])
    points["pi"] = [2.0, 4.0, 2.0, np.nan]
    columns = pd.MultiIndex.from_product([["a", "b"], ["0", "1", "2"]], names=["set", "image"])
    known = pd.DataFrame(0.0, index=[0], columns=columns)
    failed = known.copy()
    failed["b"] = np.nan
    sure = intervals({(1.0, 0.5): known, (2.0, 0.5): failed})
    mean = next(ax for ax in drawn(figures.figure5(points, plain, label, sure)).axes if ax.get_title() == "mean")
    line = next(line for line in mean.lines if line.get_label() == "b = 0.5")
    np.testing.assert_array_equal(np.asarray(line.get_ydata(), float), [3.0, np.nan])


def test_figure5_of_nothing_but_nan_draws():
    points, plain, label, sure = sweep([0.2, 2], [0.25, 0.5], ["a"], [0, 1])
    nothing = {"difference": np.nan, "low": np.nan, "high": np.nan, "images": 0, "verdict": "not measured"}
    drawn(figures.figure5(points.assign(pi=np.nan), plain.assign(pi=np.nan), label, sure.assign(**nothing)))


def test_colours_are_fixed_for_the_papers_models_and_differ():
    assert figures.colours(["edsr", "mine"])["edsr"] == figures.colours(["esrgan", "edsr"])["edsr"]
    assert len(set(figures.colours(["esrgan", "pesr", "edsr", "a", "b", "c"]).values())) == 6
    assert style.mask_style("none")["linestyle"] == "--" and style.mask_style("paper")["linestyle"] == "-"


def test_eight_masks_of_one_model_stay_a_figure_and_no_tower():
    row = figures.CropRow(picture(40, 40), (0, 0, 16), [picture(4, 4), *[picture(16, 16)] * 9])
    masked = [f"ESRGAN+Mask (relative_{n})" for n in range(7)]
    figure = figures.figure4([row, row], ["LR", "ESRGAN", *masked, "HR"], lines=8)
    width, height = drawn(figure).get_size_inches()
    assert height < 1.5 * width
    edges = [ax.title.get_window_extent() for part in figure.subfigs for ax in part.axes]
    assert all(edge.x0 >= 0 and edge.y1 <= figure.bbox.height and edge.x1 <= figure.bbox.width for edge in edges)


def test_intervals_a_few_times_longer_than_their_differences_are_shown_whole():
    cell = {"model": "esrgan", "mask": "paper", "variant": "ESRGAN+Mask", "set": "cat", "metric": "PI"}
    found = pd.DataFrame([cell | {"difference": 0.01, "low": -0.06, "high": 0.08, "verdict": "undecided"}])
    (ax,) = figures.effects(found).axes
    low, high = ax.get_xlim()
    assert low < -0.06 and high > 0.08
