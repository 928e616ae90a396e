"""Figures as files and as outputs of cells: which formats, the same bytes, and words for who cannot see them."""

import ast
import base64
import inspect
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from masksr import plots as figures
from masksr.plots import picture
from masksr.plots.style import new_figure

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(figures, inspect.isfunction)
    if "Picture" in str(inspect.signature(function).return_annotation)
}


def drawing():
    return figures.mask_response(0.2, 0.5)


def photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    return figures.crops([("LR", pixels[::4, ::4]), ("SR", 255 - pixels), ("HR", pixels)], (0, 0, 16))


@pytest.mark.parametrize("make", [drawing, photograph])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(make, kind):
    figure = make()
    assert figure.encoded(kind) == figure.encoded(kind) == make().encoded(kind)


@pytest.mark.parametrize("make", [drawing, photograph])
def test_files_say_what_they_show_and_neither_when_nor_by_which_version(make):
    figure = make()
    assert figure.alt
    png = Image.open(io.BytesIO(figure.encoded("png")))
    assert png.info.pop("Description") == figure.alt
    assert set(png.info) <= {"dpi"} and png.info["dpi"][0] == pytest.approx(figure.dpi, abs=0.1)
    svg = figure.encoded("svg").decode()
    assert "<dc:description>" in svg and "<dc:date>" not in svg and "Matplotlib" not in svg and "http://purl" in svg


def test_a_notebook_has_drawings_as_svg_too_and_photographs_as_pixels_alone():
    data, metadata = DisplayFormatter().format(drawn := drawing())
    assert set(data) == {"image/png", "image/svg+xml", "text/plain"} and data["text/plain"] == drawn.alt
    assert base64.b64decode(data["image/png"]) == drawn.encoded("png")
    assert metadata == {kind: {"alt": drawn.alt} for kind in ("image/png", "image/svg+xml")}
    data, metadata = DisplayFormatter().format(shown := photograph())
    assert set(data) == {"image/png", "text/plain"} and metadata == {"image/png": {"alt": shown.alt}}


def test_a_drawing_of_too_many_bytes_is_pixels(monkeypatch):
    monkeypatch.setattr(picture, "LONGEST_SVG", 1000)
    assert "image/svg+xml" not in DisplayFormatter().format(drawing())[0]


def test_photographs_keep_every_pixel():
    """A detail drawn at a whole multiple of its size can be read back, from the PNG and out of the SVG."""
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), np.uint8)
    figure = new_figure(100 / 110, 100 / 110, layout=None)
    ax = figure.add_axes((0, 0, 1, 1))
    figures.style.show(ax, pixels)
    with matplotlib.rc_context({"savefig.dpi": 110}):
        drawn = np.asarray(Image.open(io.BytesIO(figure.encoded("png"))).convert("RGB"))
        svg = figure.encoded("svg").decode()
    np.testing.assert_array_equal(drawn[::2, ::2], pixels)
    inside = svg.partition("data:image/png;base64,")[2].partition('"')[0]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(inside))).convert("RGB"))
    assert found.shape == pixels.shape and (found == pixels).all() | (found[::-1] == pixels).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_drew(name):
    """What it says is looked at where it is drawn; a new function cannot forget it."""
    source = inspect.getsource(FUNCTIONS[name])
    assert ".alt = " in source or "return figure4(" in source


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_of_a_notebook_is_one_of_ours_or_is_described(notebook):
    cells = json.loads(notebook.read_bytes())["cells"]
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or cell["metadata"].get("alt"):
            continue
        tree = ast.parse(source)
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_figures(node.value)}
        assert names <= {"use_style", "style"} | set(FUNCTIONS), f"{notebook.name}: {source}"
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        drawers = {"matplotlib", "seaborn", "plotly"}
        assert not {str(name).partition(".")[0] for name in imported} & drawers, f"{notebook.name} draws by itself"


def _is_figures(node):
    return isinstance(node, ast.Name) and node.id == "figures"
