"""The page: what becomes of the cells of notebooks, which ones it holds, and whether its script runs."""

import base64
import hashlib
import io
import re

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from masksr.io import MasksrError
from masksr.notebook import INJECTED
from masksr.paths import Paths
from masksr.report import page as report_page
from masksr.report.page import Section, build_report, formula

TABLE = """<table border="1" class="dataframe"><thead><tr><th>set</th><th>PI</th></tr></thead>
<tbody><tr><td>Set5</td><td>3.25</td></tr><tr><td>Set14</td><td>-1e-3</td></tr></tbody></table>"""
WILD = "<script>document.title = 'x'</script>"
WILD += "<img src='https://a.example/i.png' onerror=\"document.title = 'x'\">"


def png(size: int = 160) -> bytes:
    """A smooth picture, which PNG stores worse than WebP."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((size, size)).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def code(source: str, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def output(kind: str, content, metadata=None):
    if kind in ("stdout", "stderr"):
        return new_output("stream", name=kind, text=content)
    content = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    return new_output("display_data", data={kind: content}, metadata=metadata or {})


@pytest.fixture
def build(tmp_path):
    """Write notebooks (lists of cells, text being markdown), build the page and return it parsed."""

    def build(**notebooks) -> BeautifulSoup:
        sections = []
        for name, (cells, options) in notebooks.items():
            made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
            nbformat.write(new_notebook(cells=made), tmp_path / f"{name}.ipynb")
            sections.append(Section(tmp_path / f"{name}.ipynb", name, name, **options))
        pages = []
        for _ in range(2):
            build_report(sections, tmp_path / "report.html", facts={"masksr": "0.2"})
            pages.append((tmp_path / "report.html").read_bytes())
        assert pages[0] == pages[1], "the same notebooks give the same bytes"
        return BeautifulSoup(pages[0], "html.parser")

    return build


def test_formulas_are_mathml_links_arrive_and_nothing_is_loaded(build):
    formulas = "$x_1 < y_2$\n\n$$m = \\operatorname{clip}(k e, 0, 1) \\tag{8}$$\n\n| a |\n|--:|\n| $z$ |"
    cells = ["# T\n\nSee [other](../02_other.ipynb), [gone](nowhere.ipynb).", "## Loss"]
    cells.append("## Loss\n\n" + formulas)
    page = build(train=(cells, {}), other=(["# Others", "## Loss"], {"group": "All", "title": "Second"}))
    inline, block, cell = page.main.find_all("math")
    assert inline.get_text() == "x1<y2" and cell.find_parent("td")
    assert block["display"] == "block" and block.parent.select_one(".number").get_text() == "(8)"
    for wrong in (r"\nosuchcommand{x} < 1", r"\frac{1}{"):
        assert BeautifulSoup(formula(wrong, "inline"), "html.parser").code.get_text() == wrong
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.find_all("a", href=re.compile("^#"))} <= set(ids)
    assert page.main.find("a", string="other")["href"] == "#other" and not page.find("a", string="gone")
    assert not [element for element in page.find_all(src=True) if not element["src"].startswith("data:")]
    script = base64.b64encode(hashlib.sha256(page.script.string.encode()).digest()).decode()
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{script}'" in policy
    folded = page.main.select_one("details.section")
    assert folded.h3.get_text() == "Second" and folded.h4 and not folded.has_attr("open")


def test_pictures_keep_their_pixels_and_are_described_by_their_caption(build):
    named = output("image/png", png(16), {"image/png": {"alt": "By <the> cell"}})
    named.data["image/svg+xml"] = "<svg/>"
    cells = ["# T", code("p", output("image/png", png())), "*What $to$ see.*\n\nMore.", code("p", named)]
    page = build(a=(cells, {"exact": True}), b=(cells, {"group": "G"}))
    figure, other, folded, _ = page.main.find_all("figure")
    kind, _, content = figure.img["src"].partition(",")
    shown = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    assert "webp" in kind and np.array_equal(shown, Image.open(io.BytesIO(png())))
    assert len(folded.img["src"]) < len(figure.img["src"]), "folded sections need fewer bytes"
    assert other.img["class"] == ["chart"] and not figure.img.has_attr("class"), "charts turn dark, pictures do not"
    assert figure.img["alt"] == "What $to$ see." and figure.figcaption.find("math")
    assert other.img["alt"] == "By <the> cell" and not other.figcaption
    assert other.img["src"].startswith("data:image/svg+xml"), "a drawing is preferred to its pixels"
    assert page.main.get_text().count("What to see") == 2 and "More." in page.main.get_text()


def test_code_folds_tags_hide_parameters_are_shown_and_crops_compared(build):
    outputs = [output("stderr", "a <warning>"), output("text/html", TABLE), output("text/plain", "<Axes: >")]
    cells = [
        "# T",
        code("model = 'edsr'  # absent", tags=["parameters"]),
        code(f"{INJECTED}\nmodel = 'pesr'", tags=["injected-parameters"]),
        code("secret", output("stdout", "secret out"), tags=["remove-cell"]),
        code("hidden", output("stdout", "visible out"), tags=["hide-input"]),
        code("kept", *outputs),
        new_markdown_cell("## Less\n\nIn short.", metadata={"tags": ["fold"]}),
        code("more", output("stdout", "out of more")),
        code("secret", tags=["remove-cell"]),
        "## Open",
    ]
    crops = [("LR", png(4)), ("ESRGAN", png(16)), ("ESRGAN+<Mask>", png(16)), ("HR", png(16))]
    page = build(a=(cells, {"crops": (crops, crops)}))
    text = page.main.get_text()
    assert not [word for word in ("secret", "hidden", "absent", "Axes") if word in text]
    assert page.select_one("pre.parameters").get_text() == "model = 'pesr'" and "visible out" in text
    kept, messages, _ = page.main.select("details.code")
    assert page.select_one("details.fold > summary > h3").get_text() == "Less"
    assert "out of more" in (folded := page.select_one("details.fold").get_text()) and "Open" not in folded
    assert "kept" in kept.get_text() and "a <warning>" in messages.get_text()
    assert page.select_one(".table table.dataframe")
    assert len(page.select(".compare")) == 2
    for side, name in (("left", "ESRGAN"), ("right", "ESRGAN+<Mask>")):
        assert page.select_one(f".compare figure.{side}").get_text(strip=True) == name
        assert page.select_one(f".compare select.{side} option[selected]").get_text() == name


def test_a_broken_notebook_or_no_chromium_is_one_error(tmp_path, monkeypatch):
    (tmp_path / "a.ipynb").write_text("{")
    with pytest.raises(MasksrError, match=r"a\.ipynb: not a notebook that can be read.*`dvc repro table1`"):
        build_report([Section(tmp_path / "a.ipynb", "a", "table1")], tmp_path / "report.html")
    with pytest.raises(MasksrError, match="make it with: make report"):
        report_page.write_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    with pytest.raises(MasksrError, match="no-such-program is no program"):
        report_page.find_chromium()


def test_a_profile_that_was_run_elsewhere_has_a_page_of_its_committed_notebooks(tmp_path):
    paths = Paths(tmp_path, "far")
    with pytest.raises(MasksrError, match=r"far has no executed notebooks; these have: $"):
        report_page.write_page_of(paths)
    for name in ("summary", "evidence"):
        paths.results.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[new_markdown_cell(f"# Of {name}")]), paths.results / f"{name}.ipynb")
    page = BeautifulSoup(report_page.write_page_of(paths).read_bytes(), "html.parser")
    titles = [page.select_one(heading).get_text() for heading in ("section h2", "details h3")]
    assert titles == ["Of summary", "Of evidence"]
    assert "the notebooks in results/far alone" in page.main.get_text() and "times.csv" not in page.main.get_text()


@pytest.mark.slow
def test_in_chromium_the_script_runs_no_other_does_and_the_page_prints(build, tmp_path):
    try:
        report_page.find_chromium()
    except MasksrError as error:
        pytest.skip(str(error))
    cells = ["# T\n\n" + "Text. " * 3000, code("x", output("text/html", TABLE), output("text/html", WILD))]
    place = [(name, png(8)) for name in ("LR", "plain", "masked")]
    build(a=(cells, {"crops": (place,)}), b=(cells, {"group": "Folded"}))
    page = tmp_path / "report.html"
    options = "--dump-dom", "--enable-logging=stderr", "--virtual-time-budget=3000"
    text = report_page.run_chromium(page, *options)
    dom = BeautifulSoup(text, "html.parser")
    assert dom.title.get_text() != "x", "scripts of notebooks do not run"
    assert dom.html["class"] == ["js"] and dom.select_one(".theme").get_text() in ("dark", "light")
    assert dom.select_one(".table th > button").get_text() == "set"
    assert "Uncaught" not in text
    report_page.write_pdf(page, tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
