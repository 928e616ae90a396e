"""The page in Chromium: does its script run, and does it print? Skipped where no Chromium is installed."""

from __future__ import annotations

import io
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from masksr.errors import MasksrError
from masksr.report import pdf
from masksr.report.page import Section, build_report

TABLE = "<table><thead><tr><th>set</th></tr></thead><tbody><tr><td>2</td></tr><tr><td>10</td></tr></tbody></table>"
WILD = "<script>document.title = 'x'</script><img src='https://a.example/i.png' onerror=\"document.title = 'x'\">"


@pytest.mark.slow
def test_the_script_runs_no_other_does_and_the_page_prints(tmp_path):
    try:
        pdf.find_chromium()
    except MasksrError as error:
        pytest.skip(str(error))
    Image.new("RGB", (8, 8)).save(picture := io.BytesIO(), "PNG")
    shown = [new_output("display_data", data={"text/html": html}) for html in (TABLE, WILD)]
    cells = [
        new_markdown_cell("# T\n\n$$x^2 \\tag{1}$$\n\n" + "Text. " * 3000),
        new_code_cell("x", outputs=shown),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    places = ([(name, picture.getvalue()) for name in ("LR", "plain", "masked")],)
    sections = [
        Section(tmp_path / "a.ipynb", "a", "a", crops=places),
        Section(tmp_path / "a.ipynb", "b", "b", group="Folded"),
    ]
    page = tmp_path / "report.html"
    build_report(sections, page, title="T", subtitle="S", facts={}, digests={}, times=[])

    text = pdf.run_chromium(page, "--dump-dom", "--enable-logging=stderr", "--virtual-time-budget=3000")
    dom = BeautifulSoup(text, "html.parser")
    assert dom.title.get_text() == "T", "scripts of notebooks do not run"
    assert dom.html["class"] == ["js"] and dom.select_one(".theme").get_text() in ("dark", "light")
    assert dom.select_one(".table th > button").get_text() == "set"
    assert "Uncaught" not in text

    pdf.write_pdf(page, tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) >= 2


def test_without_a_page_or_a_chromium_there_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(MasksrError, match="make it with: make report"):
        pdf.write_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    with pytest.raises(MasksrError, match="no-such-program is no program"):
        pdf.find_chromium()
