"""The page in Chromium: what a reader sees, moves and prints. Skipped where no Chromium is installed."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from masksr.errors import MasksrError
from masksr.plots import crops
from masksr.plots.crops import CropRow
from masksr.report import Section, build_report, pdf, sliders

headless = pytest.importorskip("tests.headless", reason="pipes to Chromium need fcntl", exc_type=ImportError)

TABLE = """<table class="dataframe"><thead><tr><th></th><th>set</th><th>PI</th></tr></thead><tbody>
<tr><th>0</th><td>Set14</td><td>9.5</td></tr><tr><th>1</th><td>Set5</td><td>nan</td></tr>
<tr><th>2</th><td>Urban100</td><td>10.25</td></tr><tr><th>3</th><td>BSD100</td><td>−3e-1</td></tr></tbody></table>"""  # noqa: RUF001
SPANNED = TABLE.replace("<th>set</th><th>PI</th>", '<th colspan="2">set</th>')
WILD = """<script>document.title = "hacked"</script><img src="https://a.example/i.png" onerror="document.title = 'x'">
<svg onload="document.title = 'x'"><image href="https://a.example/e.png"/></svg>
<p style="background: url(https://a.example/b.png)">styled</p>"""
HOSTILE_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="200pt" height="60pt" onload="document.title='x'">
<script>parent.document.title = "x"</script><image href="https://a.example/s.png"/>
<rect width="99" height="9"/></svg>"""

CONTRASTS = """(() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = at => {
        const colour = getComputedStyle(at).backgroundColor;
        return (rgb(colour)[3] ?? 1) > 0.9 || !at.parentElement ? colour : behind(at.parentElement);
    };
    const text = "p, a, h1, h2, h3, code, th, td, summary, .theme, figcaption, .highlight span";
    return [...document.querySelectorAll(text)]
        .filter(e => e.textContent.trim() && e.checkVisibility() && !e.closest(".pictures"))
        .map(e => {
            const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(behind(e)))];
            return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)];
        });
})()"""


def code(*outputs, source="x = 1"):
    return new_code_cell(source, outputs=list(outputs), execution_count=1)


def shown(**data):
    return new_output("display_data", data={mime.replace("__", "/"): value for mime, value in data.items()})


def section(folder: Path, name: str, *cells, **options) -> Section:
    made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    nbformat.write(new_notebook(cells=made), folder / f"{name}.ipynb")
    return Section(folder / f"{name}.ipynb", **options)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("a page")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16 if n else 4,) * 2 + (3,), dtype=np.uint8) for n in range(5)]
    titles = ["LR", "ESRGAN", "ESRGAN+Mask", "<b>odd</b>", "HR"]
    crops.save([CropRow(pictures[4], (0, 0, 16), pictures)] * 2, titles, folder / "crops")
    details = crops.load(folder / "crops")
    long = "a_very_long_word_" * 20
    sections = [
        section(
            folder,
            "idea",
            "# The idea\n\nSee [the loss](02_loss.ipynb) and `" + long + "`.\n\n$$m = k e + b \\tag{8}$$\n\n" + WILD,
            code(shown(text__html=TABLE), shown(text__html=SPANNED), shown(text__html=WILD)),
            code(shown(**{"image__svg+xml": HOSTILE_SVG})),
            "## Far\n\n" + "Text. " * 2000,
        ),
        Section(Path("compare"), text=sliders.text(details), html=sliders.html(details)),
        section(folder, "02_loss", "# Loss", "## Inside", code(source="y = 2"), group="Trainings", open=False),
    ]
    output = folder / "report.html"
    build_report(sections, output, title="T", subtitle="*sub*", facts={"torch": "2"}, abstract="A.", notice="**mini**")
    return output


@pytest.fixture(scope="module")
def tab():
    try:
        with headless.chromium() as tab:
            yield tab
    except MasksrError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_requested_nothing_complains_nothing_sticks_out(tab, page, width, scheme):
    tab.look(width, scheme=scheme)
    tab.open(page)
    asked = [
        event["params"]["request"]["url"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    complaints = [
        event["params"]
        for event in tab.events
        if event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    ]
    assert not complaints
    assert tab.js("document.title") == "T", "what a notebook holds must not run"
    assert tab.js("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(tab, page, scheme):
    """At least 4.5 to 1, as WCAG 2 asks of text: body, links, captions, navigation, code, buttons."""
    tab.look(1400, scheme=scheme)
    tab.open(page)
    contrasts = tab.js(CONTRASTS)
    assert len(contrasts) > 20
    assert not [found for found in contrasts if found[0] < 4.5]
    paper = tab.js("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_button_turns_dark_to_light_and_back(tab, page):
    tab.look(1400, scheme="dark")
    tab.open(page)
    seen = [tab.js("getComputedStyle(document.body).backgroundColor")]
    for _ in range(2):
        tab.js("document.querySelector('.theme').click()")
        seen.append(tab.js("getComputedStyle(document.body).backgroundColor"))
    assert seen[1] == "rgb(255, 255, 255)" != seen[0] == seen[2]


def test_neither_a_notebooks_class_names_nor_an_odd_address_stop_the_script(tab, tmp_path):
    wild = code(shown(text__html='<div class="compare">a</div><div class="compare"><p class="pictures">b</p></div>'))
    build_report(
        [section(tmp_path, "n", "# N", wild)], output := tmp_path / "r.html", title="T", subtitle="s", facts={}
    )
    tab.look(1400, scheme="dark")
    tab.open(output, "#%")
    assert [e for e in tab.events if e.get("method") == "Runtime.exceptionThrown"] == []
    assert tab.js("document.querySelector('.theme').textContent") == "light", "the last line of the script was reached"


def test_the_slider_moves_by_key_and_mouse_and_shows_what_is_chosen(tab, page):
    tab.look(1400)
    tab.open(page)
    cut = "getComputedStyle(document.querySelector('.pictures .right')).clipPath"
    assert "50%" in tab.js(cut)
    tab.js("document.querySelector('.compare input').focus()")
    tab.press("ArrowRight")
    assert "51%" in tab.js(cut)
    tab.js("document.querySelector('.pictures').scrollIntoView({block: 'center'})")
    box = tab.js("document.querySelector('.pictures').getBoundingClientRect().toJSON()")
    y = box["y"] + box["height"] / 2
    tab.mouse(box["x"] + box["width"] / 2, y, to=(box["x"] + box["width"] / 4, y))
    assert "25%" in tab.js(cut) and tab.js("document.querySelector('.compare input').value") == "25"
    shown = ".compare:first-child .pictures > :is(.left, .right)"
    titles = f"[...document.querySelectorAll('{shown}')].map(figure => figure.textContent)"
    assert tab.js(titles) == ["ESRGAN", "ESRGAN+Mask"]
    choose = "(s => { s.value = 'HR'; s.dispatchEvent(new Event('change')); })"
    tab.js(choose + "(document.querySelector('.compare select.right'))")
    assert tab.js(titles) == ["ESRGAN", "HR"]
    assert tab.js("document.querySelector('.compare input').getAttribute('aria-valuetext')") == "25 % ESRGAN, then HR"
    assert "51%" not in tab.js("getComputedStyle(document.querySelectorAll('.pictures .right')[1]).clipPath")


def test_a_table_sorts_by_its_headings_numbers_as_numbers(tab, page):
    tab.look(1400)
    tab.open(page)
    column = "[...document.querySelectorAll('table.dataframe')[0].tBodies[0].rows].map(r => r.cells[%d].textContent)"
    focus = "document.querySelectorAll('table.dataframe')[0].tHead.rows[0].cells[%d].firstChild.focus()"
    states, orders = [], []
    tab.js(focus % 2)
    for _ in range(3):
        tab.press("Enter")
        orders.append(tab.js(column % 2))
        states.append(tab.js("document.querySelector('th[aria-sort]')?.ariaSort ?? ''"))
    assert orders == [
        ["−3e-1", "9.5", "10.25", "nan"],  # noqa: RUF001
        ["10.25", "9.5", "−3e-1", "nan"],  # noqa: RUF001
        ["9.5", "nan", "10.25", "−3e-1"],  # noqa: RUF001
    ]
    assert states == ["ascending", "descending", ""]
    tab.js(focus % 1)
    tab.press("Enter")
    assert tab.js(column % 1) == ["BSD100", "Set5", "Set14", "Urban100"]
    joined = "document.querySelectorAll('table.dataframe')[1].querySelector('button')"
    assert tab.js(joined) is None, "under joined headings a column is not one thing"


def test_links_arrive_also_in_what_is_folded(tab, page):
    tab.look(1400)
    tab.open(page)
    tab.js("document.querySelector('main a[href=\"#loss\"]').click()")
    tab.js("new Promise(done => setTimeout(done, 100))")
    assert tab.js("document.querySelector('details.section').open")
    assert tab.js("Math.abs(document.getElementById('loss').getBoundingClientRect().top) < innerHeight")
    tab.open(page, "#loss--inside")
    assert tab.js("document.querySelector('details.section').open")
    aims = "[...document.querySelectorAll('a[href^=\"#\"]')].map(link => link.hash.slice(1))"
    assert tab.js(f"{aims}.filter(id => !document.getElementById(id))") == []


def test_without_script_or_on_paper_the_pair_stands_side_by_side(tab, page):
    places = """(() => {
        const find = selector => document.querySelector(selector);
        const [a, b] = ["left", "right"].map(side => find(".pictures ." + side).getBoundingClientRect());
        const displays = [".compare input", ".theme"].map(selector => getComputedStyle(find(selector)).display);
        return [a.right <= b.left, a.top === b.top, ...displays]; })()"""
    tab.look(1400, media="print")
    tab.open(page)
    assert tab.js(places) == [True, True, "none", "none"]
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.look(400)
        tab.reload()
        assert tab.js("document.documentElement.className") == ""
        assert tab.js(places) == [True, True, "none", "none"]
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_policy_allows_our_script_and_no_other(tab, page):
    tab.open(page)
    tab.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))")
    assert tab.js("document.title") == "T"


def test_it_prints_to_pages_with_numbers(page, tmp_path):
    try:
        pdf.chromium()
    except MasksrError as error:
        pytest.skip(str(error))
    pdf.write_pdf(page, tmp_path / "results/report.pdf")
    content = (tmp_path / "results/report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["report.pdf"]
