"""The executed notebooks of a profile as one HTML page, by nbconvert and the templates beside this file.

The page loads nothing: formulas are MathML, pictures and style are embedded, and its Content-Security-Policy
allows one script, ``template/page.js``, by its hash. The notebooks are ours, so their HTML is trusted.
"""

import base64
import hashlib
import html
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from PIL import Image

from masksr import provenance
from masksr.io import MasksrError, write_atomic
from masksr.params import Params
from masksr.paths import Paths, list_trainings

FOLDER = Path(__file__).parent / "template"
LEFT_OUT = {"remove-cell", "parameters"}  # tags of cells that the page leaves out
CAPTION = re.compile(r"\*(?!\*).+?\*(\n\n|\Z)", re.DOTALL)  # a first paragraph in italics, below a figure
BARS = re.compile("<mo>(&#x02016;|&#x0007C;|[|‖])</mo>")  # as in TeX, bars grow only after \left
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Notebooks of results in reading order: what came out, then why; the rest is folded.
OPEN = ["summary", "table1", "figure5", "figure4", "idea"]
FOLDED = {
    "The argument and the mask": ["argument", "mask"],
    "How sure, and how it was done": ["evidence", "method", "curves", "questions", "test_sets", "weights"],
}


@dataclass(frozen=True)
class Section:
    """One executed notebook of the page.

    anchor: its id; a link to ``10_NAME.ipynb`` leads to the section NAME.
    stage: the stage of dvc.yaml that makes the notebook, for the error where it is missing.
    title: replaces the notebook's own, where many share one: ``ESRGAN, mask paper, seed 0``.
    group: the heading over this section and its neighbours; sections of a group are folded.
    exact: one of results: its pictures keep every pixel, and where it is folded its title shows its answer.
    crops: titles and PNG files, a list for each place, to be compared with a handle below the notebook.
    """

    notebook: Path
    anchor: str
    stage: str
    title: str = ""
    group: str = ""
    exact: bool = False
    crops: tuple[list[tuple[str, bytes]], ...] = ()


def write_report(params: Params, paths: Paths) -> Path:
    """Write ``results/<profile>/report.html`` from the executed notebooks; returns its path.

    Raises MasksrError where a notebook is missing.
    """
    sections, output = list_sections(params, paths), paths.results / "report.html"
    build_report(sections, output, facts={"profile": params.profile} | provenance.made_with(), times=True)
    return output


def write_page_of(paths: Paths) -> Path:
    """Write the page of a profile that was run elsewhere, from its notebooks in ``results`` alone.

    Raises MasksrError where there are none.
    """
    sections = [section for section in _of_results(paths, {}) if section.notebook.is_file()]
    if not sections:
        known = sorted({path.parent.name for path in (paths.root / "results").glob("*/summary.ipynb")})
        raise MasksrError(f"{paths.results} has no executed notebooks; these have: {', '.join(known)}")
    output, made_of = paths.results / "report.html", f"the notebooks in results/{paths.profile} alone"
    build_report(sections, output, facts={"profile": paths.profile, "made of": made_of})
    return output


def list_sections(params: Params, paths: Paths) -> list[Section]:
    """List the notebooks in reading order: results, then what was done to get them, in folded groups."""
    sections = _of_results(paths, {"figure4": tuple(read_crops(paths.runs / "figure4"))})

    def fold(group: str, title: str, notebook: Path, stage: str) -> None:
        anchor = re.sub(r"[^\w.-]+", "-", f"{stage}-{title}")
        sections.append(Section(notebook, anchor, stage, title, group))

    for name in (params.data.train, params.data.validation, *params.data.test):
        stage = "test_data" if name in params.data.test else "data"
        fold("Photographs", name, paths.executed("data", name), stage)
    groups = {"start": "Pretrained generators"}
    groups |= {"train": "Trainings of Table 1", "sweep": "Trainings of Figure 5"}
    evaluations = [("Sanity checks of the metric", paths.executed("ends"), "ends")]
    for one in list_trainings(params, paths):
        stage, title, name = one.stage.partition("@")[0], params.models[one.model].title, one.folder.name
        if stage == "train":
            title += ", no mask" if one.mask == "none" else f", mask {one.mask}"
        if stage == "sweep":
            title = f"k = {one.k}, b = {one.b}"
        title += f", seed {one.seed}"
        fold(groups[stage], title, paths.executed(stage, name), stage)
        if stage != "start":
            evaluated = "evaluate" if stage == "train" else "evaluate_sweep"
            evaluations.append((title, paths.executed(evaluated, name), evaluated))
    for evaluation in evaluations:
        fold("Evaluations", *evaluation)
    return sections


def _of_results(paths: Paths, crops: Mapping[str, Any]) -> list[Section]:
    executed = {name: paths.executed(name) for name in ("test_sets", "weights")}
    sections = []
    for group, names in ({"": OPEN} | FOLDED).items():
        for name in names:
            file = executed.get(name, paths.results / f"{name}.ipynb")
            sections.append(Section(file, name, name, group=group, exact=True, crops=crops.get(name, ())))
    return sections


def read_crops(folder: Path) -> list[list[tuple[str, bytes]]]:
    """Read what 22_figure4 wrote to ``<row>-<column> <title>.png``: titles and PNG files of each row."""
    rows = groupby(sorted(folder.glob("*.png")), key=lambda file: file.stem.partition("-")[0])
    return [[(file.stem[6:], file.read_bytes()) for file in row] for _, row in rows]


def build_report(sections: Sequence[Section], output: Path, **page: Any) -> None:
    """Write the notebooks of ``sections``, in their order, as one page to ``output``.

    page: facts, see ``template/page.html.j2``. Raises MasksrError for a notebook that is
    missing or unreadable; nothing is written then.
    """
    notebooks = [_read(section) for section in sections]
    exporter = Exporter({section.anchor for section in sections})
    parts = [exporter.render(*pair) for pair in zip(sections, notebooks, strict=True)]
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    text = exporter.environment.get_template("page.html.j2").render(
        page,
        groups=[(name, list(members)) for name, members in groupby(parts, key=lambda part: part["group"])],
        style=(FOLDER / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomic(output, text.encode())


class Exporter(HTMLExporter):
    """Turns one notebook into the HTML of a section."""

    template_name = "template"

    def __init__(self, anchors: Collection[str]) -> None:
        """anchors: of all sections, which links between notebooks may lead to."""
        super().__init__(extra_template_basedirs=[str(FOLDER.parent)])
        tags = {"remove_cell_tags": LEFT_OUT, "remove_input_tags": {"hide-input"}}
        self.register_preprocessor(TagRemovePreprocessor(**tags), enabled=True)
        self.environment.filters["data_url"] = data_url
        self.anchors = anchors

    def render(self, section: Section, notebook: NotebookNode) -> dict[str, Any]:
        """Return what ``template/page.html.j2`` needs of a section."""
        first = notebook.cells[0]
        title, _, first.source = first.source.partition("\n")
        for cell, following in pairwise([*notebook.cells, nbformat.v4.new_markdown_cell()]):
            if cell.cell_type == "code":
                _prepare_outputs(cell, following, exact=section.exact)
        _fold(notebook)
        renderer = Renderer(section.anchor, 3 if section.group else 2, self.anchors)
        self.environment.filters["markdown2html"] = MarkdownWithMath(renderer=renderer).render
        body, _ = self.from_notebook_node(notebook)
        title = section.title or title.lstrip("# ")
        outputs = notebook.cells[-1].get("outputs", []) if section.exact else []
        answer = " ".join("".join(one.text for one in outputs if one.get("name") == "stdout").split())
        return vars(section) | {"title": title, "body": body, "headings": renderer.headings, "answer": answer}


def data_url(content: bytes, kind: str) -> str:
    """Return bytes as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _fold(notebook: NotebookNode) -> None:
    """Mark what the page folds: from a heading whose cell is tagged ``fold`` to the next heading."""
    cells = notebook.cells
    heads = [n for n, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source[:3] == "## "]
    for head, following in pairwise([*heads, len(cells)]):
        if "fold" in cells[head].metadata.get("tags", []):
            title, _, cells[head].source = cells[head].source.partition("\n")
            cells[head].metadata["folds"] = title.lstrip("# ")
            tags = [cell.metadata.get("tags", ()) for cell in cells[:following]]
            cells[max(n for n, of in enumerate(tags) if LEFT_OUT.isdisjoint(of))].metadata["folded"] = True


def _read(section: Section) -> NotebookNode:
    try:
        return nbformat.read(section.notebook, as_version=4)
    except (OSError, ValueError) as error:
        again = f"`dvc repro {section.stage}` makes it"
        raise MasksrError(f"{section.notebook}: not a notebook that can be read ({error}); {again}") from None


def _prepare_outputs(cell: NotebookNode, following: NotebookNode, *, exact: bool) -> None:
    """Make the pictures of a code cell small and give them an alt text; the last one takes the caption.

    The caption is the first paragraph of the next cell, if it is in italics, and is removed there.
    exact: keep every pixel, see ``_draw``.
    """
    for output in cell.outputs:
        if output.output_type == "execute_result":  # the last value of a cell is shown like what it displays
            output.output_type = "display_data"
            del output["execution_count"]
    figures = [o for o in cell.outputs if {"image/png", "image/svg+xml"} & o.get("data", {}).keys()]
    if not figures:
        return
    caption = ""
    if following.cell_type == "markdown" and (found := CAPTION.match(following.source)):
        caption = found[0]
        following.source = following.source[found.end() :]
    for output in figures:
        figure = _draw(output.data, exact=exact)
        alt = next((kind["alt"] for kind in output.metadata.values() if "alt" in kind), caption.strip("*\n "))
        output.data, output.metadata = {"image/png": ""}, {"figure": figure | {"alt": alt}}
    figures[-1].metadata["figure"]["caption"] = caption.strip()


def _draw(data: NotebookNode, *, exact: bool) -> dict[str, Any]:
    """Return a picture as an address of few bytes, with its width and height in pixels where it has them.

    exact: keep every pixel. The page compares super-resolved pictures, where artefacts of a codec would pass
    for those of a network; in the notebooks of single trainings, few bytes matter more.
    """
    figure: dict[str, Any] = {"chart": "image/svg+xml" in data}  # pictures of pixels have no SVG
    drawn = figure["chart"] and (exact or "image/png" not in data)
    if drawn:
        figure["address"] = data_url(data["image/svg+xml"].encode(), "image/svg+xml")
    if "image/png" in data:
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as image:
            figure |= {"width": image.width, "height": image.height}
            if not drawn:
                image.convert("RGBA").save(webp := io.BytesIO(), "WEBP", lossless=exact, quality=80, method=3)
                figure["address"] = data_url(webp.getvalue(), "image/webp")
    return figure


# ---- Markdown that a browser shows without a script: formulas are MathML, links stay in the page -----------
class Renderer(IPythonRenderer):
    """nbconvert's renderer, except for formulas, headings, links, tables and paragraphs that are captions.

    Each serves one section and keeps its headings, id to HTML, as they are rendered.
    """

    def __init__(self, anchor: str, level: int, anchors: Collection[str]) -> None:
        """anchor, level: of the section's own heading. anchors: of all sections, for links to notebooks."""
        super().__init__(escape=False)
        self.anchor, self.level, self.anchors = anchor, level, anchors
        self.headings: dict[str, str] = {}

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        words = re.sub(r"[\W_]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
        name = f"{self.anchor}--{words}"
        while name in self.headings:
            name += "-again"
        self.headings[name] = text
        level = min(level - 1 + self.level, 6)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        notebook = re.fullmatch(r"(?:.*/)?(?:\d+_)?(\w+)\.ipynb(#.*)?", url)
        if not notebook:
            return super().link(text, url, title)
        return f'<a href="#{notebook[1]}">{text}</a>' if notebook[1] in self.anchors else text

    def paragraph(self, text: str) -> str:
        note = re.fullmatch("<em>(?:(?!<em>).)*</em>", text, re.DOTALL)
        return f'<p class="note">{text}</p>\n' if note else f"<p>{text}</p>\n"

    def table(self, text: str) -> str:
        return f'<div class="table"><table>{text}</table></div>\n'


def formula(latex: str, display: str) -> str:
    r"""Convert a formula, without its dollars, to MathML.

    ``\tag{8}`` becomes the number at the right of a block. What cannot be converted is shown as its source.
    """
    number = re.search(r"\\tag\{(\w+)\}", latex)
    try:
        mathml = latex2mathml.converter.convert(re.sub(r"\\tag\{\w+\}", "", latex), display=display)
    except Exception:  # latex2mathml raises a dozen kinds without a common base
        mathml = "<mi>\\"
    if re.search(r"<m[io]>\\", mathml):  # it passes on commands that it does not know
        return f"<code>{html.escape(latex.strip())}</code>"
    mathml = mathml.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \sim is a relation
    mathml = BARS.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', mathml)
    mathml = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r'<mo lspace="0.1em" rspace="0.1em">\1</mo>', mathml)
    if display == "inline":
        return mathml
    right = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<span class="formula">{mathml}{right}</span>'


# ---- The page as PDF, printed by headless Chromium ---------------------------------------------------------
def find_chromium() -> str:
    """Return the program that the variable CHROMIUM names, else the first on the PATH. Raises MasksrError."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else CHROMIUM
    if program := next(filter(None, map(shutil.which, names)), None):
        return program
    raise MasksrError(
        f"the PDF is printed by Chromium, and {' or '.join(names)} is no program that can be started; "
        "install one (on Debian and Ubuntu: apt install chromium), or name it: make pdf CHROMIUM=/path/chrome"
    )


def run_chromium(page: Path, *options: str) -> str:
    """Open ``page`` without a window and return what Chromium says. Raises MasksrError."""
    program = find_chromium()
    options += ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()  # root has none
    with tempfile.TemporaryDirectory(prefix="masksr-chromium-", ignore_cleanup_errors=True) as profile:
        quiet = ["--headless=new", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
        command = [program, *quiet, *options, page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    return done.stdout + done.stderr


def write_pdf(page: Path, output: Path) -> None:
    """Print ``page``, a file that loads nothing, to ``output``. Raises MasksrError where that fails."""
    if not page.is_file():
        raise MasksrError(f"{page} does not exist yet; make it with: make report")
    with tempfile.TemporaryDirectory(prefix="masksr-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder, "page.pdf")
        said = run_chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        if not printed.is_file():
            raise MasksrError(f"Chromium printed no PDF: {said.strip()[-300:]}")
        write_atomic(output, printed.read_bytes())
