"""Scores of pictures of any origin: the numbers of the evaluation, honest names, and errors that name the picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from random_quality import write_quality_weights
from skimage import data

from masksr.__main__ import main
from masksr.data.bicubic import imresize
from masksr.data.images import write_png
from masksr.data.packed import Pack
from masksr.errors import MasksrError
from masksr.fetch.sets import build_pack
from masksr.quality import fidelity, yardstick
from masksr.quality.luma import luma_plane
from masksr.quality.niqe import niqe
from masksr.quality.weights import load_weights
from masksr.results import evaluate
from masksr.results.scores import read_quality
from masksr.tools import score
from masksr.tools.photo import Photo, write_photo
from masksr.tools.score import read_levels, run, score_files

ROOT = Path(__file__).parents[1]
CAT = np.ascontiguousarray(data.chelsea()[60:190, 60:194])  # 130 x 134: 128 x 132 where it is cut


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with weights labelled as stand-ins, which is also the working directory. No official weights."""
    shutil.copy(ROOT / "profiles/mini.yaml", tmp_path / "params.yaml")
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data/registry.yaml", tmp_path / "data")
    (tmp_path / "dvc.yaml").touch()
    write_quality_weights(tmp_path / "data/weights/mini/quality")
    monkeypatch.chdir(tmp_path)
    for name in ("MASKSR_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    return tmp_path


@pytest.fixture
def pictures(project: Path) -> Path:
    """Folders: hr, and sr with the bicubic enlargement of what hr is cut to."""
    for name, hr in {"cat": CAT, "tac": CAT[:, ::-1]}.items():
        write_png(project / f"hr/{name}.png", hr)
        lr = imresize(np.ascontiguousarray(hr[:128, :132]), 0.25)
        write_png(project / f"sr/{name}_x4.png", imresize(lr, 4))
    return project


def test_the_numbers_are_those_of_the_evaluation(project):
    """The same pictures as a pack and as files, to the last bit."""
    pack = build_pack("cat", project / "pack")
    for number, name in enumerate(pack.names):
        write_png(project / f"hr/{name}.png", pack.hr(number))
        write_png(project / f"sr/{name}.png", evaluate.with_bicubic(pack, number))
    who, yardsticks = {"model": "sr", "mask": "none", "seed": 0}, load_weights("data/weights/mini/quality")
    theirs = evaluate.evaluate(who, evaluate.with_bicubic, {"set": Pack(project / "pack")}, yardsticks)
    ours = run(["sr"], hr="hr").assign(set="set")
    assert theirs[["pi", "psnr"]].notna().all(axis=None)
    assert ours.to_csv() == theirs.to_csv()


def test_the_mean_of_each_folder_is_printed_and_the_rows_are_written(pictures, capsys):
    table = run(["sr", "hr"], hr="hr", output=Path("out/quality.csv"))
    said = capsys.readouterr().out
    assert "| folder | set | images | PI (stand-in) | NIQE (stand-in) | Ma (stand-in) | PSNR-Y | SSIM-Y |" in said
    assert "| `hr` | " in said and "/hr | 2 |" in said and "| ∞ | 1.0000 | 0.00 |" in said
    assert "not comparable with published values" in said
    assert read_quality(["out/quality.csv"])[["model", "image"]].to_numpy().tolist() == [
        ["sr", "cat"], ["sr", "tac"], ["hr", "cat"], ["hr", "tac"]
    ]  # fmt: skip
    of_cat = table[(table["model"] == "sr") & (table["image"] == "cat")].iloc[0]
    sr = read_levels(Path("sr/cat_x4.png"))
    assert of_cat["psnr"] == fidelity.psnr(sr, CAT[:128, :132]) and of_cat["problem"] is None


def test_without_hr_there_is_no_fidelity(pictures, capsys):
    table = run(["sr/*.png"])
    assert "PSNR" not in capsys.readouterr().out
    assert table[["psnr", "ssim", "rmse"]].isna().all(axis=None) and table["pi"].notna().all()
    assert list(table["image"]) == ["cat_x4", "tac_x4"] and set(table["set"]) == {"pictures"}


@pytest.mark.parametrize("border", [0, 2, 4, 7])
def test_a_border_of_any_width(border, pictures, capsys):
    table = run(["sr"], hr="hr", border=border)
    sr, model = read_levels(Path("sr/cat_x4.png")), load_weights("data/weights/mini/quality").niqe
    assert table["psnr"].iloc[0] == fidelity.psnr(sr, CAT[:128, :132], border)
    assert table["ssim"].iloc[0] == fidelity.ssim(sr, CAT[:128, :132], border)
    assert table["niqe"].iloc[0] == niqe(luma_plane(sr, border), model)
    assert ("the protocol of PIRM 2018 leaves out 4" in capsys.readouterr().out) == (border != 4)


def test_grey_and_16_bits_are_measured_as_8_bits_of_colour(tmp_path):
    grey = CAT[..., :1]
    write_photo(tmp_path / "grey.png", Photo(grey, None, None))
    write_photo(tmp_path / "deep.png", Photo((CAT.astype(np.uint16) * 257), None, None))
    write_photo(tmp_path / "opaque.png", Photo(CAT, np.full(CAT.shape[:2], 255, np.uint8), None))
    np.testing.assert_array_equal(read_levels(tmp_path / "grey.png"), grey.repeat(3, axis=2))
    np.testing.assert_array_equal(read_levels(tmp_path / "deep.png"), CAT)
    np.testing.assert_array_equal(read_levels(tmp_path / "opaque.png"), CAT)


def test_pictures_that_cannot_be_scored_do_not_lose_the_others(pictures, capsys):
    hole = np.full(CAT.shape[:2], 255, np.uint8)
    hole[3, 3] = 0
    write_photo(pictures / "sr/hole.png", Photo(CAT, hole, None))
    (pictures / "sr/broken.png").write_bytes(b"no picture")
    write_png(pictures / "sr/lr.png", CAT[:32, :33])
    for name in ("hole", "broken", "lr"):
        write_png(pictures / f"hr/{name}.png", CAT)
    with pytest.raises(MasksrError) as caught:
        run(["sr"], hr="hr", output=pictures / "q.csv")
    said = str(caught.value)
    assert said.startswith("3 of 5 pictures could not be scored:\n")
    for reason in ("hole.png: has transparent pixels", "broken.png: cannot be read", "the size of the LR picture"):
        assert reason in said
    assert list(read_quality([pictures / "q.csv"])["image"]) == ["cat", "tac"]
    assert "| `sr` |" in capsys.readouterr().out


def test_a_picture_without_pi_has_a_row_that_says_why(pictures, capsys):
    write_png(pictures / "flat/flat.png", np.full((128, 128, 3), 90, np.uint8))
    table = run(["flat"])
    assert np.isnan(table["pi"].iloc[0])
    said = capsys.readouterr().out
    assert "| — |" in said and "flat/flat: NIQE: " in said


def test_nothing_left_inside_the_border(pictures):
    write_png(pictures / "tiny/a.png", CAT[:8, :60])
    table, problems = score_files([Path("tiny/a.png")], load_weights("data/weights/mini/quality"))
    assert table.empty and "tiny/a.png: of 60 x 8 pixels nothing is left inside the border" in problems[0]


def test_names_are_told_before_weights_are_looked_for(pictures, monkeypatch):
    monkeypatch.setattr(score, "chosen", lambda _: pytest.fail("too late"))
    write_png(pictures / "sr/cow.png", CAT)
    with pytest.raises(MasksrError, match=r"sr/cow\.png: no HR picture of that name"):
        run(["sr"], hr="hr")
    with pytest.raises(MasksrError, match="is a folder; name a file"):
        run(["sr"], output=pictures)


def test_the_weights_that_are_wanted_or_an_error_that_says_how(project, monkeypatch):
    assert yardstick.chosen("auto").niqe_source == yardstick.chosen("standin").ma_source == "stand-in"
    monkeypatch.setattr(yardstick, "fetch_weights", lambda spec: (_ for _ in ()).throw(MasksrError(spec.name)))
    with pytest.raises(MasksrError, match="niqe"):
        yardstick.chosen("official")
    write_quality_weights(project / "data/weights/mini/quality", "official")
    with pytest.raises(MasksrError, match=r"no stand-ins of both halves; set weights\.quality"):
        yardstick.chosen("standin")
    shutil.rmtree(project / "data/weights")
    with pytest.raises(MasksrError, match="make stand-ins for the profile: dvc repro weights"):
        yardstick.chosen("auto")


def test_no_project_is_needed_where_the_official_weights_are(pictures, tmp_path_factory, monkeypatch, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(MasksrError, match="Outside of a project nothing is downloaded"):
        run([str(pictures / "sr")])
    with pytest.raises(MasksrError, match="--weights standin: only a project has stand-ins"):
        run([str(pictures / "sr")], weights="standin")
    made = pictures / "data/weights/mini/quality"
    for file, published in {"niqe.mat": "niqe_modelparameters.mat", "ma.mat": "NRQM_model.mat"}.items():
        (elsewhere / "cache/weights").mkdir(parents=True, exist_ok=True)
        shutil.copy(made / file, elsewhere / "cache/weights" / published)
    monkeypatch.setenv("MASKSR_CACHE", str(elsewhere / "cache"))
    run([str(pictures / "sr")])
    assert "| PI | NIQE | Ma |" in capsys.readouterr().out


def test_the_command(pictures, capsys):
    assert main(["score", "--hr", "hr", "sr/cat_x4.png", "--border", "4", "sr/tac_x4.png"]) == 0
    assert "| `sr` |" in capsys.readouterr().out
    assert main(["score", "nowhere.png"]) == 1
    assert capsys.readouterr().err == "masksr: error: nowhere.png: there is no such file\n"
    assert main(["score", "sr", "--device", "mps"]) == (0 if torch.backends.mps.is_available() else 1)
