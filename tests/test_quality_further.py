"""Further measures: pyiqa is the oracle where it needs no weights; else only what is said without them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from masksr.errors import MasksrError
from masksr.quality import further, measures

ROOT = Path(__file__).parents[1]
HR = data.cat()[40:168, 60:188]
SR = np.clip(HR + np.random.default_rng(0).normal(0, 9, HR.shape), 0, 255).astype(np.uint8)
WITHOUT_WEIGHTS = ["gmsd", "vif", "entropy", "piqe"]


@pytest.fixture
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights anywhere, and no network."""
    import huggingface_hub.constants
    import pyiqa.utils.download_util as pyiqas

    monkeypatch.setenv("MASKSR_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read when it was imported
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(pyiqas, "DEFAULT_CACHE_DIR", str(tmp_path / "pyiqa"))
    return tmp_path


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_the_value_is_pyiqas_of_the_picture_without_its_border(name: str) -> None:
    import pyiqa

    (measure,) = further.load([name])
    theirs = pyiqa.create_metric(name, device="cpu")
    inner = [x[4:-4, 4:-4].transpose(2, 0, 1).copy() for x in (SR, HR)]
    pictures = [torch.from_numpy(x)[None] / 255 for x in inner]
    expected = theirs(*pictures) if theirs.metric_mode == "FR" else theirs(pictures[0])
    assert measure(SR, HR) == (float(expected), None) == measure(SR, HR)
    assert measures.known()[name] == (theirs.metric_mode == "FR", theirs.lower_better)


def test_the_border_does_not_count_and_a_better_picture_is_better() -> None:
    (gmsd,) = further.load(["gmsd"])
    framed = SR.copy()
    framed[:4], framed[:, -4:] = 0, 255
    assert gmsd(framed, HR) == gmsd(SR, HR)
    assert gmsd(HR, HR)[0] < gmsd(HR // 2 + SR // 2, HR)[0] < gmsd(SR, HR)[0]
    assert measures.lower_is_better("gmsd")


def test_random_crops_are_the_same_each_time_and_leave_no_trace() -> None:
    class Draws(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return torch.rand(1) + float(np.random.rand())

    measure = replace(further.load(["entropy"])[0], network=Draws())
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert measure(SR) == measure(SR)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


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
    [
        ("lpips", "alexnet-owt-7be5be79.pth"),
        ("dists", "vgg16-397923af.pth"),
        pytest.param("topiq_nr", "timm/resnet50", marks=pytest.mark.slow),
    ],
)
def test_weights_that_cannot_be_had_are_named_in_one_line(
    name: str, file: str, nothing_at_hand: Path
) -> None:
    says = f"the measure {name} .*MASKSR_OFFLINE is set.* take {name} out"
    with pytest.raises(MasksrError, match=says) as error:
        further.load([name])
    said = str(error.value)
    assert "\n" not in said and file in said
    assert name == "topiq_nr" or (f"/{file}" in said and str(nothing_at_hand) in said and "by hand" in said)


def test_names_and_directions_cost_no_import() -> None:
    code = (
        "import sys; from masksr import params; from masksr.quality import measures;"
        "settings = params.load('profiles/study.yaml');"
        "measures.check(settings.measures.also); assert settings.measures.also == ['lpips', 'dists'];"
        "assert not {'torch', 'pyiqa', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
