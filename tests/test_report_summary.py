"""The summary: its sentences follow the results, and no stand-in passes for evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).parents[1]
MODELS = ("esrgan", "pesr", "edsr")


@pytest.fixture
def summarize(tmp_path, monkeypatch):
    """Run 09_summary on results made up here, and return what it shows."""
    (tmp_path / "data").mkdir()
    for name in ("data/paper.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    results = tmp_path / "results/mini"
    results.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "notebooks/09_summary.ipynb").read_text(encoding="utf-8"))
    settings = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text(encoding="utf-8"))

    def summarize(masked=5.5, verdict="undecided (one seed)", kind="stand-in", **changes) -> str:
        """masked: PI with a mask; plain it is 5. changes: of params.yaml, SECTION__KEY=value."""
        for path, value in changes.items():
            section, key = path.split("__")
            settings[section][key] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        weights = {"psnr": 30.0, "niqe_weights": kind, "ma_weights": kind}
        rows = [
            {"model": model, "mask": mask, "set": "cat", "image": image, "pi": masked if mask != "none" else 5.0}
            for model in MODELS
            for mask in settings["table1"]["masks"]
            for image in ("left", "right")
        ]
        cells = [{"model": row["model"], "mask": row["mask"], "low": -0.3, "high": 0.1} for row in rows[::2]]
        effects = pd.DataFrame(cells).assign(verdict=verdict).query("mask != 'none'")
        claims = pd.DataFrame({"claim": ["A wins", "B wins"], "verdict": ["not run", "mixed here"]})
        for name, table in {
            "quality": pd.DataFrame(rows).assign(**weights), "evidence": effects, "claims": claims
        }.items():
            table.to_csv(results / f"{name}.csv", index=False)
        shell, shown = InteractiveShell.instance(), []
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                done = shell.run_cell("".join(cell["source"]))
                done.raise_error()
                shown.append(done.result.data if done.result else "")
        return " ".join("\n".join(shown).split())

    return summarize


def test_it_tells_what_was_claimed_run_and_found_and_how_sure(summarize):
    text = summarize()
    for sentence in (
        "−0.41 for PESR",  # noqa: RUF001
        "6 trainings for [Table 1]",
        "1 mask (*paper*), 1 seed.",
        "2 images of 1 test set",
        "PI (stand-in) changes by +0.50 to +0.50",
        "3 undecided (one seed)",
        "0.2 in the median",
        "one seed says nothing",
        "1 not run, 1 mixed here",
        "“A wins”",
        "make profile-mini",
        "10.11835/j.issn.1000-582X.2023.05.010",
        "no evidence for or against the paper",
    ):
        assert sentence in text


def test_official_weights_are_not_called_stand_ins(summarize):
    text = summarize(kind="official", weights__vgg="imagenet", weights__vgg_width=1.0)
    assert "stand-in" not in text and "no evidence" not in text and "The mean PI changes" in text


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"verdict": "better"}, "3 better"),
        ({"masked": 4.0}, "−1.00 to −1.00"),  # noqa: RUF001
        ({"table1__masks": ["none", "constant"]}, "1 mask (*constant*)"),
        ({"table1__masks": ["none"], "figure4__largest_difference": 0}, "nothing was compared"),
        ({"table1__seeds": [0, 1, 2]}, "other seeds, of which 3 were run"),
        ({"sweep__k": [1.0]}, "2 pairs of k and b"),
    ],
)
def test_every_sentence_follows_its_data(summarize, changes, now):
    assert now not in summarize() and now in summarize(**changes)
