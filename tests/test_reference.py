"""docs/params.md is made from the types of params.yaml; here nobody forgets to make it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from masksr import params
from masksr.cli import main
from masksr.tools import reference

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/params.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params"]) == 0
    assert capsys.readouterr().out == PAGE, f"out of date; run: {reference.COMMAND} > docs/params.md"


def test_only_a_mask_may_leave_keys_out() -> None:
    sections = params.Params.model_json_schema()["$defs"].items()
    optional = {name for name, section in sections if set(section["properties"]) - set(section["required"])}
    assert optional == {"Mask"}, "the page says so in its first lines (masksr/tools/reference.py)"
