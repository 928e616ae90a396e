"""30_summary: every sentence of it is computed from the results, and follows them."""

from itertools import product

import pandas as pd
import pytest
import yaml
from notebook_cells import run_as_jupyter
from tiny_project import ROOT, copy_sources


@pytest.fixture
def summarize(tmp_path, monkeypatch):
    """Run 30_summary on results made up here, and return what it shows."""
    copy_sources(tmp_path, ["data/paper.yaml", "dvc.yaml"])
    results = tmp_path / "results/mini"
    results.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text(encoding="utf-8"))

    def summarize(masked=5.5, verdict="undecided (one seed)", kind="stand-in", **changes) -> str:
        """masked: PI with a mask; plain it is 5. changes: of params.yaml, SECTION__KEY=value."""
        for path, value in changes.items():
            section, key = path.split("__")
            settings[section][key] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        names = settings["table1"]["models"], settings["table1"]["masks"], ["left", "right"]
        quality = pd.DataFrame(product(*names), columns=["model", "mask", "image"])
        quality = quality.assign(set="cat", psnr=30.0)
        quality["pi"] = quality["mask"].eq("none").map({True: 5.0, False: masked})
        effects = quality.query("image == 'left' and mask != 'none'")[["model", "mask"]]
        tables = {
            "quality": quality.assign(niqe_weights=kind, ma_weights=kind),
            "evidence": effects.assign(low=-0.3, high=0.1, verdict=verdict),
            "claims": pd.DataFrame({"claim": ["A wins", "B wins"], "verdict": ["not run", "mixed here"]}),
        }
        for name, table in tables.items():
            table.to_csv(results / f"{name}.csv", index=False)
        return " ".join("\n".join(run_as_jupyter("30_summary")).split())

    return summarize


FOUND = [
    *("\u22120.41 for PESR", "6 trainings for [Table 1]", "1 mask (*paper*), 1 seed.", "“A wins”"),
    *("2 images of 1 test set", "PI (stand-in) changes by +0.50 to +0.50", "3 undecided (one seed)"),
    *("one seed says nothing", "1 not run, 1 mixed here", "no evidence for or against the paper"),
]


@pytest.mark.parametrize(("changes", "words"), [
    ({}, FOUND), ({"verdict": "better", "masked": 4.0}, ["\u22121.00 to \u22121.00", "3 better"]),
    ({"table1__masks": ["none"], "figure4__largest_difference": 0}, ["nothing was compared"]),
    ({"table1__seeds": [0, 1, 2]}, ["other seeds, of which 3 were run"]),
    ({"sweep__k": [1.0], "kind": "official"}, ["2 pairs of k and b", "The mean PI changes"]),
])
def test_every_sentence_follows_its_data(summarize, changes, words):
    text = summarize(**changes)
    assert not [word for word in words if word not in text]
