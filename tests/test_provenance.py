"""What came from what: dvc.lock knows it for each profile, and verify names what is no longer so."""

import shutil
from pathlib import Path

import pytest
from tiny_project import change, run

from masksr import provenance
from masksr.__main__ import main
from masksr.io import MasksrError


def test_what_changed_is_named_whatever_profile_params_yaml_has(project: Path, monkeypatch, capsys) -> None:
    """What is not here is not missed: see the clone in test_pipeline."""
    monkeypatch.chdir(project)

    def check(says: str) -> None:
        shutil.copy("params.yaml", "profiles/mini.yaml")
        for _ in ("of params.yaml", "of another profile"):
            assert main(["verify", "mini"]) == bool(says)
            out, error = capsys.readouterr()
            assert (says or "mini: all files that are here are as recorded") in out
            assert ("1 differences in mini" in error) == bool(says)
            change(project, "profile", value="mine")
        change(project, "profile", value="mini")

    change(project, "train", "log_every", value=7)  # which no result depends on
    check("")
    change(project, "train", "steps_per_epoch", value=30)
    check("parameters: train.steps_per_epoch is modified")
    change(project, "train", "steps_per_epoch", value=2)
    with Path("results/mini/table1.csv").open("a") as table:
        table.write(" ")
    check("table1@mini: results/mini/table1.csv is modified")
    run(project, "git", "checkout", "--", ".")
    before, report = Path("dvc.lock").read_text().split("  report@mini:")
    dependency = "path: results/mini/questions.ipynb\n      hash: md5\n      md5: "
    Path("dvc.lock").write_text(f"{before}  report@mini:{report.replace(dependency, f'{dependency}0', 1)}")
    check("report@mini: results/mini/questions.ipynb is not the one that this was made from")
    Path("dvc.lock").unlink()
    with pytest.raises(MasksrError, match=r"dvc\.lock: has no stage of the profile mini; `dvc repro` with"):
        provenance.verify("mini")
