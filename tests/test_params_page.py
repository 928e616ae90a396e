"""docs/params.md is made from the types of params.yaml; here nobody forgets to make it again."""

from pathlib import Path

import pytest

from masksr.cli import main
from masksr.tools import params_page

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/params.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params"]) == 0
    assert capsys.readouterr().out == PAGE, f"out of date; run: {params_page.COMMAND} > docs/params.md"
