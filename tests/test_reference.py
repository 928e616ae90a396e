"""docs/params.md is made from the types of params.yaml; here nobody forgets to make it again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from masksr import params
from masksr.__main__ import main
from masksr.tools import reference

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs/params.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> dict[str, dict[str, str]]:
    """The rows under a heading by their keys; each a dict by column."""
    text = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    head, _, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0].strip("`"): dict(zip(map(str.strip, head), row, strict=True)) for row in cells}


def test_the_page_is_what_the_types_say(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params"]) == 0
    assert page == capsys.readouterr().out, f"docs/params.md is out of date; run: {reference.COMMAND} > docs/params.md"


def test_every_key_of_mini_stands_there_with_its_meaning_and_value(page: str) -> None:
    rows = {"": table(page, "`params.yaml`")}
    for heading in re.findall(r"^## (`.+)$", page, flags=re.MULTILINE):
        rows[heading] = table(page, heading)
    assert all(row["meaning"] for section in rows.values() for row in section.values())

    def keys(content: object) -> set[str]:
        if isinstance(content, list):
            return set().union(*map(keys, content))
        return set(content).union(*map(keys, content.values())) if isinstance(content, dict) else set()

    profile = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    named_by_the_user = {name for section in ("models", "masks", "cluster") for name in profile[section]}
    assert keys(profile) - named_by_the_user <= {key for section in rows.values() for key in section}


def test_some_rows_as_a_reader_finds_them(page: str) -> None:
    """Written out, so that a mistake in how the page is made shows."""
    lr_patch = table(page, "`models.MODEL`")["lr_patch"]
    assert lr_patch["takes"] == "a whole number > 0 [LR pixels]"
    assert (lr_patch["paper"], lr_patch["mini"]) == ("ESRGAN, PESR: 64; EDSR: 48", "24")
    mask = table(page, "`masks.MASK`")
    assert (mask["k"]["left out"], mask["k"]["paper"], mask["kind"]["left out"]) == ("`0.0`", "0.2", "—")
    assert mask["error_range"]["takes"] == "`native`, `1`, `255`, `relative`"
    assert mask["error_range"]["paper"] == "open; ours: native"
    assert table(page, "`data`")["limit"]["takes"] == "a whole number > 0, or `null` [images]"
    assert table(page, "`train`")["compile"]["takes"] == "`true`, `false`, or `reduce-overhead`"
    assert table(page, "`models.MODEL.start`")["init"]["mini"] == "null"
    assert table(page, "`sweep`")["k"]["takes"].startswith("a list, at least one; each a number ≥ 0 ")
    edsr = table(page, "`models.MODEL.generator` with `architecture: edsr`")
    assert list(edsr) == ["architecture", "n_resblocks", "n_feats", "res_scale"]
    assert table(page, "`models.MODEL.loss`")["tv"]["paper"] == "ESRGAN, EDSR: 0.0; PESR: 1.0e-6"


def test_every_link_leads_to_a_heading(page: str) -> None:
    slugs = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", page, re.M)}
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) > 10 and set(links) <= slugs


def test_only_a_mask_may_leave_keys_out() -> None:
    schema = params.Params.model_json_schema()
    sections = schema["$defs"].items()
    optional = {name for name, section in sections if set(section["properties"]) - set(section["required"])}
    assert optional == {"Mask"}, "the page says so in its first lines (masksr/tools/reference.py)"
