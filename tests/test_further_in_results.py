"""Further measures in quality.csv, tables, verdicts and figures."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from skimage import data

from masksr import params
from masksr.errors import MasksrError
from masksr.quality import further
from masksr.quality.weights import QualityWeights
from masksr.results import evaluate, evidence
from masksr.results.scores import COLUMNS, measure_titles, read_quality
from masksr.results.typeset import to_markdown
from masksr.tools.score import run as score_run

ROOT = Path(__file__).parents[1]
HR = data.cat()[40:168, 60:188]
SR = np.clip(HR + np.random.default_rng(0).normal(0, 9, HR.shape), 0, 255).astype(np.uint8)
WITHOUT_WEIGHTS = ["gmsd", "fsim", "vif", "nlpd", "vsi", "ssimc", "entropy", "piqe"]


class OneSet:
    """A set of two pictures."""

    names = ("a", "b")

    def __len__(self) -> int:
        return 2

    def hr(self, number: int) -> np.ndarray:
        return (HR, HR[:, ::-1])[number]


@pytest.fixture(scope="module")
def yardsticks() -> QualityWeights:
    from masksr.quality.weights import load_weights

    if not (folder := ROOT / "data/weights/mini/quality").is_dir():
        pytest.skip("the profile mini has no weights of NIQE and Ma yet")
    return load_weights(folder)


def evaluated(weights: QualityWeights, also: list[str]) -> pd.DataFrame:
    return evaluate.evaluate(
        {"model": "esrgan", "mask": "none", "seed": 0},
        lambda pack, number: (SR, SR[:, ::-1].copy())[number],
        {"cat": OneSet()},  # type: ignore[dict-item]
        weights,
        also=further.load(also),
    )


def test_columns_come_after_the_others_and_without_any_nothing_changes(
    yardsticks: QualityWeights, tmp_path: Path
) -> None:
    plain, more = evaluated(yardsticks, []), evaluated(yardsticks, ["gmsd", "entropy"])
    assert list(plain) == COLUMNS and list(more) == [*COLUMNS, "gmsd", "entropy"]
    pd.testing.assert_frame_equal(plain, more[COLUMNS])
    assert more["gmsd"][0] == further.load(["gmsd"])[0](SR, HR)[0]
    for name, table in {"plain": plain.assign(seed=1), "more": more}.items():
        evaluate.write_quality(table, tmp_path / f"{name}.csv")
    assert (tmp_path / "plain.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    read = read_quality([tmp_path / "plain.csv", tmp_path / "more.csv"])
    assert read["gmsd"].isna().tolist() == [True, True, False, False]
    assert read["gmsd"][2] == pytest.approx(more["gmsd"][0], rel=1e-9)
    (tmp_path / "wrong.csv").write_text((tmp_path / "more.csv").read_text().replace("gmsd", "gmsdd"))
    with pytest.raises(MasksrError, match="unknown columns: gmsdd"):
        read_quality([tmp_path / "wrong.csv"])


def test_score_wants_hr_for_a_measure_that_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plt.imsave(tmp_path / "a.png", SR)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MasksrError, match="--also: gmsd needs the HR pictures"):
        score_run(["a.png"], also=["gmsd", "entropy"])
    with pytest.raises(MasksrError, match="--also: pyiqa has no measure 'gsmd'"):
        score_run(["a.png"], also=["gsmd"])


def two_masks(also: dict[str, float]) -> tuple[pd.DataFrame, params.Params]:
    """Two seeds and three pictures; a mask lowers each of ``also`` by so much."""
    rng, mini = np.random.default_rng(0), params.load(ROOT / "profiles/mini.yaml")
    table1 = mini.table1.model_copy(update={"seeds": [0, 1], "models": ["esrgan"]})
    settings = mini.model_copy(
        update={"table1": table1, "data": mini.data.model_copy(update={"test": ["cat", "temple"]})}
    )
    who = [("esrgan", mask, seed) for mask in ("none", "paper", "start") for seed in (0, 1)]
    rows = []
    for model, mask, seed in [*who, ("HR", "none", 0), ("bicubic", "none", 0)]:
        for name in settings.data.test:
            for image in "abc":
                values = [*rng.normal(4, 0.2, 3), 25.0, 0.7, rng.normal(12, 1), "official", "official", ""]
                further = [0.2 + 1e-4 * rng.random() - by * (mask == "paper") for by in also.values()]
                rows.append([model, mask, seed, name, image, *values, *further])
    return pd.DataFrame(rows, columns=[*COLUMNS, *also]), settings


def test_evidence_and_tables_say_which_way_is_better() -> None:
    quality, settings = two_masks({"lpips": 0.02, "topiq_fr": 0.02})
    assert {name: measure_titles(quality)[name] for name in ("lpips", "topiq_fr")} == {
        "lpips": "LPIPS ↓",
        "topiq_fr": "topiq_fr ↑",
    }
    assert set(evidence.compare(quality, settings, "lpips")["verdict"]) == {"better"}
    assert set(evidence.compare(quality, settings, "topiq_fr")["verdict"]) == {"worse"}
    text = to_markdown(evidence.effects_table(evidence.compare(quality, settings, "lpips")))
    assert "LPIPS ↓" in text and "−0.0200" in text  # noqa: RUF001
