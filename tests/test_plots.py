"""Figures: what they draw, the same bytes twice, and what a notebook shows of them."""

import io
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from notebook_cells import code_cells
from PIL import Image
from tiny_project import ROOT

from masksr import params
from masksr.plots import charts, images, style

RNG = np.random.default_rng(0)
MINI = params.load(ROOT / "profiles/mini.yaml")
MASK = MINI.masks["paper"]
GAN = {"vgg54": 0.2, "gan": 0.7, "l1": 0.05, "loss_d": 0.6, "d_real": 1.0, "d_fake": -1.0}
GAN |= {"mask_mean": 0.6, "mask_saturated": 0.1}


@pytest.fixture(autouse=True)
def report_style():
    with matplotlib.rc_context():
        style.use_style()
        yield
    plt.close("all")


def drawn(figure):
    """The figure, after it was drawn without a single warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def history(steps=40, **columns):
    step = np.arange(1, steps + 1) * 10
    table = pd.DataFrame({"phase": "ESRGAN", "step": step, "learning_rate": 1e-4, "loss_g": 1.0 / step})
    table["psnr"] = np.where(step % 50 == 0, 25.0, np.nan)
    return table.assign(**columns)


def panels(figure):
    return {ax.get_ylabel(): ax for ax in figure.axes if ax.axison}


def test_curves_of_a_masked_gan():
    (cell,) = [cell for cell in code_cells("13_train") if cell["id"] == "13_train-curves"]
    exec("".join(cell["source"]), names := {"style": style, "plt": plt, "sns": sns})
    loss = MINI.models["esrgan"].loss.model_copy(update={"gan": 5e-3})
    axes = panels(drawn(names["draw_curves"](history(**GAN, psnr_bicubic=24.0), MASK, loss)))
    assert axes.keys() == names["PANELS"].keys()
    legend = axes["loss of G"].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["sum", "VGG54", "GAN", "L1"]
    assert any(np.allclose(line.get_ydata(), 0.7 * 5e-3) for line in axes["loss of G"].lines)
    assert "mask" not in panels(names["draw_curves"](history(**GAN), params.Mask(kind="none"), loss))
    for table in history(1, **GAN), history(**GAN | {"gan": 0.0}):
        drawn(names["draw_curves"](table, MASK, loss))


def effects(**changes):
    cell = {"model": "esrgan", "mask": "paper", "variant": "ESRGAN+Mask", "metric": "PI", "difference": 0.01}
    cell |= {"low": -0.06, "high": 0.08, "verdict": "undecided"}
    rows = [cell | {"set": name} for name in ("cat", "dog")]
    return charts.effects(pd.DataFrame(rows).assign(**changes))


def test_an_interval_is_shown_whole_and_filled_where_it_is_decided():
    ax = drawn(effects()).axes[0]
    assert ax.get_xlim()[0] < -0.06 and ax.get_xlim()[1] > 0.08
    assert ax.lines[-1].get_fillstyle() == "none" and ax.get_title() == "cat"
    assert effects(verdict="better").axes[0].lines[-1].get_fillstyle() == "full"
    points = effects(low=-9.0, high=9.0).axes[0]
    assert points.get_xlim() == pytest.approx((-0.1, 0.1)), "points are worth seeing"


def test_sheets_show_every_image_and_crops_the_same_place_at_both_scales():
    figure = drawn(images.contact_sheet([(f"image_{i}", picture(40 + 30 * i, 60)) for i in range(7)]))
    assert sum(bool(ax.images) and "60" in ax.get_xlabel() for ax in figure.axes) == 7
    hr = picture(64, 96)
    figure = drawn(images.compare_crops({"LR": hr[::4, ::4], "bicubic": 255 - hr, "HR": hr}, 32))
    photograph, lr, bicubic, truth = figure.axes
    assert lr.images[0].get_array().shape == (8, 8, 3)
    assert (truth.images[0].get_array() == hr[16:48, 32:64]).all()
    assert bicubic.get_xlabel().endswith("dB") and lr.get_xlabel() == truth.get_xlabel() == " "
    assert photograph.patches[0].get_bbox().bounds == (31.5, 15.5, 32, 32)


def photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    return images.compare_crops({"LR": pixels[::4, ::4], "SR": 255 - pixels, "HR": pixels}, 16)


@pytest.mark.parametrize("make", [effects, photograph])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes_without_date_or_version(make, kind):
    figure, again = make(), make()
    for each in (figure, again):
        each.set_label("What it shows.")
    content = style.encode(figure, kind)
    style.encode(figure, "png")  # which lets pictures be transparent, and then leaves them as they were
    assert content == style.encode(figure, kind) == style.encode(again, kind)
    assert b"What it shows." in content and b"<dc:date>" not in content and b"Matplotlib" not in content


def test_pictures_are_transparent_around_them_and_charts_are_not():
    alpha = [Image.open(io.BytesIO(style.encode(make(), "png"))).getchannel("A") for make in (effects, photograph)]
    assert [of.getpixel((0, 0)) for of in alpha] == [255, 0] and alpha[1].getextrema() == (0, 255)
