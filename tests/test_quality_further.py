"""Further measures: pyiqa itself is the oracle where it needs no weights; of LPIPS only what is said without them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data

from masksr import params
from masksr.errors import MasksrError
from masksr.quality import further, measures
from masksr.quality.weights import QualityWeights
from masksr.results import evaluate, evidence
from masksr.results.scores import COLUMNS, measure_titles, read_quality
from masksr.results.typeset import to_markdown
from masksr.tools import weights
from masksr.tools.score import run as score_run

ROOT = Path(__file__).parents[1]
HR = data.cat()[40:168, 60:188]
SR = np.clip(HR + np.random.default_rng(0).normal(0, 9, HR.shape), 0, 255).astype(np.uint8)
WITHOUT_WEIGHTS = ["gmsd", "fsim", "vif", "nlpd", "vsi", "ssimc", "entropy", "piqe"]


@pytest.fixture
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights anywhere, and no network."""
    import huggingface_hub.constants
    import pyiqa.utils.download_util as pyiqas

    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    for name in further.NO_NETWORK:
        monkeypatch.setenv(name, "")  # what load sets is undone after the test
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read from there when it was imported
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(pyiqas, "DEFAULT_CACHE_DIR", str(tmp_path / "pyiqa"))
    return tmp_path


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_the_value_is_pyiqas_of_the_picture_without_its_border(name: str) -> None:
    import pyiqa

    (measure,) = further.load([name])
    theirs = pyiqa.create_metric(name, device="cpu")
    pictures = [torch.from_numpy(x[4:-4, 4:-4].copy()).permute(2, 0, 1).contiguous()[None] / 255 for x in (SR, HR)]
    expected = theirs(*pictures) if theirs.metric_mode == "FR" else theirs(pictures[0])
    assert measure(SR, HR) == (float(expected), None) == measure(SR, HR)
    assert measures.known()[name] == (theirs.metric_mode == "FR", theirs.lower_better)


def test_the_border_does_not_count_and_a_better_picture_is_better() -> None:
    (gmsd,) = further.load(["gmsd"])
    framed = SR.copy()
    framed[:4], framed[:, -4:] = 0, 255
    assert gmsd(framed, HR) == gmsd(SR, HR)
    assert gmsd(HR, HR)[0] < gmsd(HR // 2 + SR // 2, HR)[0] < gmsd(SR, HR)[0] and measures.lower_is_better("gmsd")


def test_random_crops_are_the_same_each_time_and_leave_no_trace() -> None:
    class Draws(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return torch.rand(1) + float(np.random.rand())

    measure = replace(further.load(["entropy"])[0], network=Draws())
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert measure(SR) == measure(SR)
    assert np.array_equal(np.random.get_state()[1], before[0]) and torch.equal(torch.get_rng_state(), before[1])


def test_a_picture_without_the_measure_has_a_reason() -> None:
    (measure,) = further.load(["vif"])
    value, problem = measure(SR[:20, :20], HR[:20, :20])
    assert np.isnan(value) and problem and problem.startswith("vif: ") and "\n" not in problem


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lpisp"], "no measure 'lpisp' .did you mean 'lpips'"),
        (["psnr"], "psnr is measured in any case"),
        (["fid"], "fid is not a measure of one picture"),
        (["lpips", "lpips"], "twice"),
    ],
)
def test_a_wrong_name_is_one_line(names: list[str], expected: str) -> None:
    for refuse in (measures.check, further.load):
        with pytest.raises(MasksrError, match=expected) as error:
            refuse(names)  # type: ignore[operator]
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [("lpips", "alexnet-owt-7be5be79.pth"), ("dists", "vgg16-397923af.pth"), ("niqe_matlab", "niqe_matlab_params.mat")],
)
def test_weights_that_cannot_be_had_are_named_with_their_place(name: str, file: str, nothing_at_hand: Path) -> None:
    with pytest.raises(MasksrError) as error:
        further.load([name])
    said = str(error.value)
    assert "\n" not in said and f"the measure {name} needs {file}" in said and "MASKSR_OFFLINE" in said
    assert str(nothing_at_hand) in said and f"/{file} there by hand" in said and f"take {name} out" in said


def test_weights_of_the_hugging_face_hub_are_named_too(nothing_at_hand: Path) -> None:
    with pytest.raises(MasksrError, match=r"topiq_nr needs \S+ of timm/resnet50\S*, .*MASKSR_OFFLINE is set"):
        further.load(["topiq_nr"])


def test_offline_refuses_every_host_and_only_while_a_measure_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    with further._network_or_not(), pytest.raises(OSError, match="forbids localhost"):
        socket.create_connection(("localhost", 9))
    assert socket.getaddrinfo("127.0.0.1", 9)


def test_names_and_directions_cost_no_import() -> None:
    code = (
        "import sys; from masksr import measures, params; settings = params.load('profiles/study.yaml');"
        "measures.check(settings.measures.also); assert settings.measures.also == ['lpips', 'dists'];"
        "assert not {'torch', 'pyiqa', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


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


def test_the_weights_stage_lists_them() -> None:
    settings = params.load(ROOT / "profiles/mini.yaml")
    assert weights.further_measures(settings).empty
    wanted = settings.model_copy(update={"measures": params.Measures(also=["gmsd", "fsim"])})
    assert weights.further_measures(wanted)["better"].tolist() == ["lower", "higher"]
