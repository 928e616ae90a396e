from __future__ import annotations

import base64
import hashlib
import io
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from masksr.errors import MasksrError
from masksr.report import Section, build_report
from masksr.report.markdown import mathml

PANDAS = """<div><style scoped>.dataframe tbody tr th {vertical-align: top}</style>
<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>set</th><th>PI</th></tr></thead>
<tbody><tr><th>0</th><td>Set5</td><td>3.25</td></tr><tr><th>1</th><td>Set14</td><td>-1e-3</td></tr></tbody></table></div>"""


def png(size: int = 160) -> str:
    """A smooth picture, base64: PNG stores it worse than WebP."""
    y, x = np.mgrid[:size, :size]
    pixels = np.stack([x, y, (x * y) % 251], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.encodebytes(buffer.getvalue()).decode()


def code(source: str = "1", *outputs, tags=(), **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags), **metadata})


def shown(**data):
    return new_output("display_data", data={mime.replace("_", "/"): value for mime, value in data.items()})


def printed(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


@pytest.fixture
def build(tmp_path):
    """Write notebooks (lists of cells, text being markdown), build the page and return it parsed."""

    def save(name: str, *cells) -> Path:
        path = tmp_path / f"{name}.ipynb"
        made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        nbformat.write(new_notebook(cells=made), path)
        return path

    def build(*cells, more: tuple[Section, ...] = (), section=None, **options) -> BeautifulSoup:
        first = Section(save("first", *cells), **(section or {}))
        options = {"title": "T", "subtitle": "", "facts": {"torch": "2.14"}, "abstract": ""} | options
        build_report([first, *more], tmp_path / "out/report.html", **options)
        return BeautifulSoup((tmp_path / "out/report.html").read_text(encoding="utf-8"), "html.parser")

    build.save = save
    return build


def test_formulas_become_mathml_and_money_stays_text(build):
    page = build(
        "# Title\n\nFrom $5 to $6, <b>bold</b> & $x_1 < y_2 * z_3$ is `code $a$ here`.\n\n"
        "$$m = \\operatorname{clip}(k e + b, 0, 1) \\tag{8}$$\n\n"
        "\\begin{align} a &= b \\tag{1}\\\\ c &= d \\tag{2}\\end{align}\n\n```python\nprint('$x$')\n```\n"
    )
    text = page.main.get_text()
    assert "From $5 to $6, bold & " in text
    assert "code $a$ here" in text and "print('$x$')" in text
    inline, block, align = page.main.find_all("math")
    assert inline.get_text() == "x1<y2*z3" and inline.find("em") is None
    assert block["display"] == "block" and block.parent.select_one(".number").get_text() == "(8)"
    assert len(align.find_all("mtr")) == 2 and "(1)" in align.get_text()


def test_mathml_refuses_what_it_cannot_convert():
    for wrong in (r"\nosuchcommand{x}", r"\frac{1}{"):
        with pytest.raises(ValueError, match="formula"):
            mathml(wrong)


def test_a_wrong_formula_is_shown_as_source_with_a_warning(build):
    with pytest.warns(UserWarning, match="nosuchcommand"):
        page = build(r"Here $\nosuchcommand{x} < 1$.")
    assert page.main.select_one("code.tex").get_text() == r"\nosuchcommand{x} < 1"


def test_the_page_runs_and_loads_nothing(build):
    wild = (
        '<p onclick="x()">ok</p><script>alert(1)</script><iframe src="https://a.example"></iframe>'
        '<img src="https://a.example/i.png" alt="far"><link rel="stylesheet" href="https://a.example/c.css">'
        '<p style="background: url(https://a.example/b.png)">styled</p><style>@import "https://a.example/d.css";</style>'
        '<svg><image href="https://a.example/e.png"/></svg><a href="javascript:alert(1)">js</a>'
    )
    page = build(f"# T\n\n{wild}\n\n[paper](https://doi.org/10.1)", code("x", shown(text_html=wild)))
    loading = [
        (element.name, name)
        for element in page.find_all(True)
        for name, value in element.attrs.items()
        if ("http" in str(value) or "javascript:" in str(value)) and element.name != "a"
    ]
    assert not loading
    assert not page.find_all(["iframe", "object", "embed"])
    (script,) = page.find_all("script")
    own = base64.b64encode(hashlib.sha256(script.string.encode()).digest()).decode()
    assert not [name for element in page.find_all(True) for name in element.attrs if name.startswith("on")]
    assert not re.search(r"url\(|@import", str(page))
    assert {link["href"] for link in page.find_all("a") if "//" in link["href"]} == {
        "https://doi.org/10.1",
        "https://a.example/i.png",
    }
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy and "http" not in policy
    assert f"script-src 'sha256-{own}'" in policy and "alert" not in script.string


def test_ids_are_unique_and_every_link_arrives(build):
    cells = ("# Train\n\nSee [loss](#Loss), [other](02_other.ipynb), [gone](nowhere.md).", "## Loss", "## Loss")
    own = code("x", shown(text_html='<table id="T_1"><tr><td id="T_1_c">1</td></tr></table>'))
    more = (
        Section(build.save("01_train", *cells, own), group="All", open=False),
        Section(build.save("train-2", *cells, own), group="All", title="Second"),
        Section(build.save("02_other", "# 5 others", own)),
    )
    page = build(*cells, own, more=more)
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert not [name for name in ids if name[0].isdigit()]
    inner = [link["href"][1:] for link in page.find_all("a", href=re.compile("^#"))]
    assert set(inner) <= set(ids)
    assert page.main.find("a", string="other")["href"] == "#other"
    assert page.main.find("a", string="gone") is None and "gone" in page.main.get_text()


def test_one_h1_and_no_heading_level_is_skipped(build):
    more = (Section(build.save("b", "# B", "# Again a first", "### Third"), group="G"),)
    page = build("## Starts at two", "#### Far below", "# Above", more=more)
    levels = [int(heading.name[1]) for heading in page.find_all(re.compile("^h[1-6]$"))]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.html["lang"] == "en"


def test_images_keep_every_pixel_in_fewer_bytes(build):
    encoded = png()
    page = build("# T", code("plot", shown(image_png=encoded)), "**Figure 1.** What *to see*.\n\nMore.")
    figure = page.main.find("figure")
    head, _, data = figure.img["src"].partition(",")
    assert head == "data:image/webp;base64"
    assert len(data) < len(encoded)
    pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in (encoded, data)]
    assert np.array_equal(*pixels)
    assert (figure.img["width"], figure.img["height"]) == ("160", "160")
    assert figure.img["alt"] == figure.figcaption.get_text() == "Figure 1. What to see."
    assert "More." in page.main.get_text() and page.main.get_text().count("Figure 1.") == 1


def drawing(length: int = 0) -> str:
    return f'<svg width="720pt" height="36pt" viewBox="0 0 720 36"><script>x()</script><!--{" " * length}--></svg>'


def test_a_drawing_is_preferred_to_its_pixels_while_it_is_small(build):
    pixels, name = png(16), "image/svg+xml"
    page = build(
        "# T",
        code("a", shown(image_png=pixels, **{name: drawing()})),
        code("b", shown(image_png=pixels, **{name: drawing(400_000)})),
        code("c", shown(**{name: drawing(400_000)})),
    )
    images = page.main.find_all("img")
    assert [re.match("data:([^;]+)", image["src"])[1] for image in images] == [name, "image/png", name]
    assert (images[0]["width"], images[0]["height"]) == ("16", "16"), "as its pixels would be"
    assert (images[2]["width"], images[2]["height"]) == ("960", "48")
    assert not page.main.find(["svg", "script"])


def test_the_size_of_a_drawing_is_its_own_or_none(build):
    roots = ['stroke-width="3" width="200" height="100px"', 'width="1.2.3" height="2"', 'width="100%" height="2"']
    page = build("# T", *(code("a", shown(**{"image/svg+xml": f"<svg {root}></svg>"})) for root in roots))
    sizes = [(image.get("width"), image.get("height")) for image in page.main.find_all("img")]
    assert sizes == [("200", "100"), (None, None), (None, None)]


def noise(size: int) -> str:
    """A picture with as many details as a photograph."""
    smooth = np.random.default_rng(0).integers(0, 256, (size // 8, size // 8, 1), dtype=np.uint8).repeat(3, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(smooth).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_photographs_lose_bytes_and_hardly_anything_else_where_a_section_is_folded(build):
    cell, title = code("x", shown(image_png=noise(256))), "# T"
    folded = Section(build.save("data", title, cell), open=False)
    page = build(title, cell, more=(folded,))
    exact, small = (image["src"].partition(",")[2] for image in page.main.find_all("img"))
    assert len(small) < len(exact) / 2
    read = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")) for text in (exact, small)]
    assert np.abs(read[0].astype(int) - read[1]).mean() < 3


def test_a_section_of_text_and_the_place_of_a_notebook(build, tmp_path):
    more = (Section(Path("method"), text="# Method\n\n$k$ & [first](first.ipynb) <script>x()</script>", html="<hr>"),)
    page = build("# First", more=more)
    method = page.main.find(id="method").parent
    assert method.find("math") and method.find("hr") and method.find("a")["href"] == "#first"
    assert not method.find("script")
    (place,) = page.select(".source a")
    assert (
        place.get_text() == "first.ipynb" and (tmp_path / "out" / place["href"]).resolve() == tmp_path / "first.ipynb"
    )


def test_every_image_is_described(build):
    image = shown(image_png=png(16))
    page = build(
        "# T", code("x", image, alt="By <the> cell"), "## Loss", code("x", image), code("x", image, caption="C $k$")
    )
    assert [img["alt"] for img in page.main.find_all("img")] == ["By <the> cell", "Figure in the section “Loss”", "C k"]


def test_numbers_of_tables_stand_right(build):
    page = build("# T\n\n| a | b |\n|---|--:|\n| $x$ | 2 |\n", code("x", shown(text_html=PANDAS)))
    markdown, pandas = page.main.find_all("table")
    assert markdown.find("math")
    classes = [
        [("number" in cell.get("class", [])) for cell in row.find_all(["th", "td"])] for row in pandas.find_all("tr")
    ]
    assert classes == [[False, False, True]] * 3
    assert all("table" in table.parent["class"] for table in (markdown, pandas))
    assert "border" not in pandas.attrs and page.main.find("style") is None


def test_style_of_a_styler_follows_its_table(build):
    html = "<style>#T_a_c {font-weight: bold}</style><table id='T_a'><tr><td id='T_a_c'>1</td></tr></table>"
    page = build("# T", code("x", shown(text_html=html)))
    assert f"#{page.main.find('td')['id']} {{" in page.main.find("style").string


def test_sections_fold_and_code_hides_behind_a_word(build):
    folded = Section(build.save("train", "# Train", code("x = 1")), title="ESRGAN + mask", summary="PI < 5", open=False)
    page = build("# T", code("import a"), code("b = 2", printed("done")), more=(folded,))
    details = page.main.select_one("details.section")
    assert not details.has_attr("open")
    assert details.summary.get_text(" ", strip=True) == "ESRGAN + mask PI < 5"
    (first,) = page.main.section.select("details.code")  # two cells, one word
    assert not first.has_attr("open")
    assert "import a" in first.get_text() and "b = 2" in first.get_text()
    assert "done" not in first.get_text() and "done" in page.main.section.get_text()


def test_tags_are_respected(build):
    page = build(
        "# T",
        code("secret", printed("secret out"), tags=["remove-cell"]),
        code("hidden", printed("visible out"), tags=["hide-input"]),
        code("kept", printed("dropped out"), tags=["remove-output"]),
        code("model = 'edsr'  # which\nk: float = 0.2\nseed = 0", tags=["parameters"]),
        code("model = 'pesr'\nother = f(1)", tags=["injected-parameters"]),
    )
    text = page.main.get_text()
    assert "visible out" in text and "kept" in text
    assert not [word for word in ("secret", "hidden", "dropped", "which") if word in text]
    line = page.main.select_one("dl.parameters")
    values = {row.dt.get_text(): row.dd.get_text() for row in line.find_all("div")}
    assert values == {"model": "pesr", "k": "0.2", "seed": "0", "other": "f(1)"}


def test_progress_goes_and_messages_are_small(build):
    bars = " 50%|##   | 5/10 [00:01<00:01, 3.2it/s]\r100%|#####| 10/10 [00:02<00:00]\n"
    output = [
        printed(bars, "stderr"),
        printed(bars + "a <warning>\n", "stderr"),
        printed("one\rtwo\n\x1b[1mbold\x1b[0m\n"),
    ]
    page = build("# T", code("x", *output))
    assert "it/s" not in page.main.get_text() and "%|" not in page.main.get_text()
    (messages,) = page.main.select("details.messages")
    assert "a <warning>" in messages.get_text()
    assert page.main.find_all("pre")[-1].get_text() == "two\nbold"


def test_abstract_is_the_first_markdown_cell_once(build):
    page = build("# Title\n\nWhat we found.", "Then more.", abstract=None, notice="**mini**", subtitle="*sub* & co")
    assert page.select_one("#abstract").get_text(strip=True) == "What we found."
    assert page.get_text().count("What we found.") == 1
    assert page.select_one(".subtitle").get_text() == "sub & co" and page.select_one(".notice strong")
    assert page.footer.find("dd").get_text() == "2.14"


def test_same_notebooks_same_bytes(build, tmp_path):
    cells = ("# T\n\n$x$ [a](#T)", code("p = {1, 2}", shown(image_png=png()), shown(text_html=PANDAS)))
    build(*cells)
    first = (tmp_path / "out/report.html").read_bytes()
    build(*cells)
    assert (tmp_path / "out/report.html").read_bytes() == first
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([new_code_cell("1")], "has not been executed"),
        ([code("1"), new_code_cell("2")], r"not executed to its end \(cell 2"),
        (
            [code("1", new_output("error", ename="ValueError", evalue="bad", traceback=[]))],
            "cell 1 ended in ValueError: bad",
        ),
    ],
)
def test_a_notebook_that_may_not_stand_in_a_report(build, tmp_path, cells, message):
    with pytest.raises(MasksrError, match=message) as caught:
        build(*cells, section={"stage": "table1"})
    assert "dvc repro table1" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_or_broken_notebook(build, tmp_path):
    with pytest.raises(MasksrError, match=r"gone\.ipynb: .*does not exist.*`dvc repro`"):
        build("# T", more=(Section(tmp_path / "gone.ipynb"),))
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(MasksrError, match=r"broken\.ipynb: not a readable notebook"):
        build("# T", more=(Section(tmp_path / "broken.ipynb"),))


def test_a_notebook_of_prose_alone_needs_no_execution(build):
    assert build("Only words, no heading.", section={"anchor": "open questions"}).main.h2["id"] == "open-questions"
