"""Further measures: pyiqa is the oracle where it needs no weights; else only what is said without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyiqa
import pytest
import torch
from skimage import data

from benchmarks.quality import niqe_of, random_ma
from masksr.io import MasksrError
from masksr.quality import further, measures
from masksr.quality.weights import QualityWeights
from masksr.results import evaluate
from masksr.results.scores import COLUMNS, measure_titles, read_quality

HR = data.cat()[40:168, 60:188]
SR = np.clip(HR + np.random.default_rng(0).normal(0, 9, HR.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["gmsd", "vif", "entropy", "piqe"])
def test_the_value_is_pyiqas_of_the_picture_without_its_border(name: str) -> None:
    (measure,) = further.load([name])
    theirs = pyiqa.create_metric(name, device="cpu")
    pictures = [torch.from_numpy(x[4:-4, 4:-4].transpose(2, 0, 1).copy())[None] / 255 for x in (SR, HR)]
    expected = theirs(*pictures) if theirs.metric_mode == "FR" else theirs(pictures[0])
    assert measure(SR, HR) == (float(expected), None) == measure(SR, HR)
    assert measures.known()[name] == (theirs.metric_mode == "FR", theirs.lower_better)


def test_a_picture_without_the_measure_has_a_reason() -> None:
    value, problem = further.load(["vif"])[0](SR[:20, :20], HR[:20, :20])
    assert np.isnan(value) and problem.startswith("vif: ") and "\n" not in problem


def test_random_crops_are_the_same_each_time() -> None:
    class Draws(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return torch.rand(1) + float(np.random.rand())

    measure = further.Measure("entropy", Draws(), further.CPU)
    before = torch.get_rng_state()
    assert measure(SR) == measure(SR)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lpisp"], "no measure 'lpisp' .did you mean 'lpips'"),
        (["psnr"], "psnr would be measured twice"),
        (["lpips", "lpips"], "twice"),
        (["fid"], "fid is not a measure of one picture"),
    ],
)
def test_a_wrong_name_is_one_line(names: list[str], expected: str) -> None:
    with pytest.raises(MasksrError, match=expected):
        further.load(names)


def test_weights_that_cannot_be_had_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in further.NO_NETWORK:
        monkeypatch.setenv(variable, "")  # what it is set to ends with this test
    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MasksrError, match=r"^the measure lpips cannot be had .*--also"):
        further.load(["lpips"])


# ---- In tables ---------------------------------------------------------------------------------------------


def test_columns_come_after_the_others_and_without_any_nothing_changes(tmp_path: Path) -> None:
    weights = QualityWeights(niqe_of(data.astronaut()), random_ma(levels=5, trees=5), "stand-in", "stand-in")
    labels = {"model": "esrgan", "mask": "none", "seed": 0, "set": "cat", "image": "a"}
    plain, more = (
        pd.DataFrame([labels | row for row in evaluate.score_images([(SR, HR)], weights, further.load(also))])
        for also in ([], ["gmsd", "entropy"])
    )
    assert {*plain} == {*COLUMNS} == {*more} - {"gmsd", "entropy"}
    pd.testing.assert_frame_equal(plain, more[plain.columns])
    evaluate.write_quality(plain.assign(seed=1), tmp_path / "plain.csv")
    evaluate.write_quality(more, tmp_path / "more.csv")
    read = read_quality([tmp_path / "plain.csv", tmp_path / "more.csv"])
    assert read["gmsd"].isna().tolist() == [True, False]
    assert (measure_titles(read)["gmsd"], measure_titles(read)["entropy"]) == ("GMSD ↓", "ENTROPY ↑")
    assert read["gmsd"][1] == pytest.approx(further.load(["gmsd"])[0](SR, HR)[0], rel=1e-9)
    (tmp_path / "wrong.csv").write_text((tmp_path / "more.csv").read_text().replace("gmsd", "gmsdd"))
    with pytest.raises(MasksrError, match="unknown columns: gmsdd"):
        read_quality([tmp_path / "wrong.csv"])
