"""Figures: what they draw, the same bytes twice, and what a notebook shows of them."""

import io
import json
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from masksr import params
from masksr.plots import curves, images, intervals, style

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)
MASK = params.load(ROOT / "profiles/mini.yaml").masks["paper"]
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
    table = pd.DataFrame({"phase": "ESRGAN, error mask", "step": step, "learning_rate": 1e-4, "loss_g": 1.0 / step})
    table["psnr"] = np.where(step % 50 == 0, 25.0, np.nan)
    return table.assign(**columns)


def panels(figure):
    return {ax.get_ylabel(): ax for ax in figure.axes if ax.axison}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_curves_of_a_masked_gan():
    loss = params.load(ROOT / "params.yaml").models["esrgan"].loss.model_copy(update={"gan": 5e-3})
    axes = panels(drawn(curves.training_curves(history(**GAN, psnr_bicubic=24.0), MASK, loss=loss)))
    assert list(axes) == [
        "loss of G", "loss of D", "output of D (logit)", "mask", "learning rate", "validation PSNR-Y (dB)",
    ]  # fmt: skip
    generator = axes["loss of G"]
    assert legend(generator) == ["sum", "VGG54", "GAN", "L1"] and generator.get_yscale() == "log"
    assert any(np.allclose(line.get_ydata(), 0.7 * 5e-3) for line in generator.lines), "weighted, as in the sum"
    assert legend(axes["output of D (logit)"]) == ["HR", "SR"]
    assert legend(axes["mask"]) == ["mean", "share at 0 or 1"]
    assert legend(axes["validation PSNR-Y (dB)"]) == ["SR", "bicubic"]
    assert "mask" not in panels(curves.training_curves(history(**GAN), params.Mask(kind="none")))


def test_phases_follow_each_other_also_two_of_one_name():
    first, second = history(20, phase="x2 L1", l1=0.1), history(30, phase="x4 L1", l1=0.2)
    figure = drawn(curves.training_curves(pd.concat([first, second], ignore_index=True)))
    assert list(panels(figure)) == ["loss of G", "learning rate", "validation PSNR-Y (dB)"]
    ax = panels(figure)["loss of G"]
    ends = sorted((line.get_xdata()[0], line.get_xdata()[-1]) for line in ax.lines if len(line.get_xdata()) > 2)
    assert ends == [(10, 200), (210, 500)] and ax.get_legend() is None, "the only part is the sum"
    assert "x2 L1 | x4 L1" in figure.get_supxlabel()
    twice = curves._with_phases(pd.concat([history(20), history(20)], ignore_index=True))
    assert twice["number"].nunique() == 2 and twice["at"].iloc[-1] == 400


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
    drawn(curves.training_curves(table, MASK))


def effects(**changes):
    cell = {"model": "esrgan", "mask": "paper", "variant": "ESRGAN+Mask", "metric": "PI", "difference": 0.01}
    rows = [cell | {"set": name, "low": -0.06, "high": 0.08, "verdict": "undecided"} for name in ("cat", "dog")]
    return pd.DataFrame(rows).assign(**changes)


def test_an_interval_is_shown_whole_and_filled_where_it_is_decided():
    (ax, _) = drawn(intervals.effects(effects())).axes
    assert ax.get_xlim()[0] < -0.06 and ax.get_xlim()[1] > 0.08
    assert ax.lines[-1].get_fillstyle() == "none" and ax.get_title() == "cat"
    (ax, _) = intervals.effects(effects(verdict="better")).axes
    assert ax.lines[-1].get_fillstyle() == "full"
    (ax, _) = intervals.effects(effects(low=-9.0, high=9.0)).axes
    assert ax.get_xlim() == pytest.approx((-0.1, 0.1)), "points are worth seeing"


@pytest.mark.parametrize("count", [1, 7])
def test_contact_sheet_shows_every_image(count):
    shown = [(f"image_{i}_with_quite_a_long_name.png", picture(40 + 30 * i, 60)) for i in range(count)]
    figure = drawn(images.contact_sheet(shown))
    assert sum(bool(ax.images) for ax in figure.axes) == count
    assert all("60" in ax.get_xlabel() for ax in figure.axes if ax.images)
    assert max(images.thumbnail(picture(300, 900), 450).shape) == 450


def test_crops_cut_the_same_place_at_both_scales():
    hr = picture(64, 96)
    figure = drawn(images.compare_crops({"LR": hr[::4, ::4], "bicubic": 255 - hr, "HR": hr}, 32))
    photograph, lr, bicubic, truth = figure.axes
    assert lr.images[0].get_array().shape == (8, 8, 3)
    assert (truth.images[0].get_array() == hr[16:48, 32:64]).all()
    assert bicubic.get_xlabel().endswith("dB") and lr.get_xlabel() == truth.get_xlabel() == " "
    assert photograph.patches[0].get_bbox().bounds == (31.5, 15.5, 32, 32)
    with pytest.raises(ValueError, match="leaves the image"):
        images.cut(hr, (40, 0, 32))


def drawing():
    return intervals.effects(effects())


def photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    return images.compare_crops({"LR": pixels[::4, ::4], "SR": 255 - pixels, "HR": pixels}, 16)


@pytest.mark.parametrize("make", [drawing, photograph])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes_without_date_or_version(make, kind):
    figure = make()
    figure.set_label("What it shows.")
    content = style.encode(figure, kind)
    again = make()
    again.set_label("What it shows.")
    assert content == style.encode(figure, kind) == style.encode(again, kind)
    if kind == "png":
        assert Image.open(io.BytesIO(content)).info["Description"] == "What it shows."
    else:
        assert b"What it shows." in content
        assert b"<dc:date>" not in content
    assert b"Matplotlib" not in content


def test_a_notebook_has_drawings_as_svg_too_and_photographs_as_pixels_alone(monkeypatch):
    figure = drawing()
    assert style._output(figure, "png") == (style.encode(figure, "png"), {})
    figure.set_label("What it shows.")
    assert style._output(figure, "svg") == (style.encode(figure, "svg").decode(), {"alt": "What it shows."})
    assert style._output(photograph(), "svg") is None
    monkeypatch.setattr(style, "LONGEST_SVG", 1000)
    assert style._output(figure, "svg") is None, "too many bytes"


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_code_cell_of_a_notebook_fits_a_screen(notebook):
    for cell in json.loads(notebook.read_bytes())["cells"]:
        assert cell["cell_type"] != "code" or len(cell["source"]) <= 45, "".join(cell["source"])
