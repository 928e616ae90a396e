"""The paper's own figures, read from ``data/paper.yaml``: what it measured, what it set, what it leaves open.

Nothing in here was computed by us; every table that shows one of these numbers says whose it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from masksr import project
from masksr.errors import MasksrError


@cache
def _read(path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MasksrError(f"{path}: cannot be read ({error.strerror}); it belongs to the project's files") from None


def _paper() -> dict[str, Any]:
    return _read(project.root() / "data/paper.yaml")


def citation() -> str:
    """The paper in one line."""
    c = citation_fields()
    authors = ", ".join(c["authors"]) + (" et al." if c["and_others"] else "")
    where = f"{c['journal']} {c['volume']}({c['issue']}), {c['year']}, doi {c['doi']}"
    return f"{authors}, “{c['title']}” ({c['title_original']}), {where}"


def citation_fields() -> dict[str, Any]:
    """The parts of ``citation``: authors, and_others, title, journal, volume, issue, year, doi."""
    return dict(_paper()["citation"])


def mask() -> dict[str, float]:
    """k and b of equation 8 as used for Table 1."""
    return dict(_paper()["mask"])


def sets() -> list[str]:
    """The test sets, in the paper's order."""
    return list(_paper()["table1"]["sets"])


def match_set(name: str) -> str | None:
    """The paper's name of the test set that we call ``name``; None where it is not one of the paper's.

    ``DIV2K_valid`` is its DIV2K; ``DIV2K_train`` is not.
    """
    for own, others in _paper()["table1"]["sets"].items():
        if _plain(name) in map(_plain, [own, *others]):
            return own
    return None


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def table1() -> pd.DataFrame:
    """Table 1 as printed: columns variant, model, mask, metric and a column of PI per test set."""
    rows = pd.DataFrame(_paper()["table1"]["rows"])
    rows.insert(3, "metric", _paper()["table1"]["metric"])
    return rows


def mask_effect() -> pd.DataFrame:
    """What the mask changed in Table 1, PI with minus PI without: a row per model, negative is better."""
    table, columns = table1().set_index("model"), sets()
    with_mask, plain = (table.loc[table["mask"] == kind, columns] for kind in ("paper", "none"))
    effect = (with_mask - plain.loc[with_mask.index]).round(2)  # the digits that were printed
    effect.insert(0, "variant", table.loc[table["mask"] == "paper", "variant"])
    return effect.reset_index()


def settings() -> list[dict[str, Any]]:
    """Section 3.1: setting, parameter (a dotted path of params.yaml) and the paper's value, per model or for all."""
    return list(_paper()["settings"])


def open_questions() -> list[dict[str, Any]]:
    """What the paper leaves open: question, parameter, default (ours), others and why."""
    return list(_paper()["open_questions"])


def claims() -> list[dict[str, Any]]:
    """What the paper claims: claim, source, test (how ``masksr.results.claims`` checks it), model, why, notebook."""
    return list(_paper()["claims"])
