"""Scores of any pictures: the numbers of the evaluation, pairs by their names, and errors that name them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_scores import make_project
from skimage import data

from masksr.__main__ import main
from masksr.data.bicubic import imresize
from masksr.data.images import Photo, read_image, write_photo, write_png
from masksr.fetch.find import build_pack
from masksr.io import MasksrError
from masksr.quality import fidelity
from masksr.quality.weights import OFFICIAL, load_quality
from masksr.results.evaluate import evaluate, with_bicubic
from masksr.results.scores import read_quality
from masksr.tools.score import pair, run

CAT = np.ascontiguousarray(data.chelsea()[60:190, 60:194])  # 130 x 134: 128 x 132 where it is cut
MADE = Path("data/weights/mini/quality")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without official weights, as working directory; hr, and sr: bicubic of what hr is cut to."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("MASKSR_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.delenv("MASKSR_DATA", raising=False)
    for name, hr in {"cat": CAT, "tac": CAT[:, ::-1]}.items():
        write_png(tmp_path / f"hr/{name}.png", hr)
        lr = imresize(np.ascontiguousarray(hr[:128, :132]), 0.25)
        write_png(tmp_path / f"sr/{name}_x4.png", imresize(lr, 4))
    return tmp_path


def test_the_numbers_are_those_of_the_evaluation(pictures):
    pack = build_pack("cat", pictures / "pack")
    for number, name in enumerate(pack.names):
        write_png(pictures / f"a/{name}.png", pack.hr(number))
        write_png(pictures / f"b/{name}.png", with_bicubic(pack, number))
    theirs = evaluate({"model": "b", "mask": "none", "seed": 0}, with_bicubic, {"set": pack}, load_quality(MADE))
    ours = run(["b"], hr="a").assign(set="set")
    assert theirs[["pi", "psnr"]].notna().all(axis=None)
    assert ours.to_csv() == theirs.to_csv()


def test_the_mean_of_each_folder_is_printed_and_the_rows_are_written(pictures, capsys):
    assert main(["score", "sr", "--hr", "hr", "hr", "-o", "out/quality.csv", "--also", "entropy,gmsd"]) == 0
    said = capsys.readouterr().out
    assert "| images | PI (stand-in) | NIQE (stand-in) | Ma (stand-in) | PSNR-Y | SSIM-Y |" in said
    assert "/hr | 2 |" in said and "| ∞ | 1.0000 | 0.00 |" in said
    read = read_quality(["out/quality.csv"])
    assert (read["model"] + read["image"]).tolist() == ["srcat", "srtac", "hrcat", "hrtac"]
    # HR is cut as the test sets are, and SR of the size that HR had likewise.
    assert read["psnr"].iloc[0] == pytest.approx(fidelity.psnr(read_image(Path("sr/cat_x4.png")), CAT[:128, :132]))
    assert main(["score", "nowhere.png"]) == 1
    assert "nowhere.png: there is no such file" in capsys.readouterr().err


def test_without_hr_there_is_no_fidelity_and_a_flat_picture_says_why_it_has_no_pi(pictures, capsys):
    write_png(pictures / "sr/flat.png", np.full((128, 128, 3), 90, np.uint8))
    table = run(["sr/*.png"])
    said = capsys.readouterr().out
    assert "PSNR" not in said and "sr/flat.png: NIQE: " in said
    assert table[["psnr", "ssim", "rmse"]].isna().all(axis=None)
    assert table["pi"].isna().tolist() == [False, True, False] and set(table["set"]) == {"pictures"}
    assert list(table["image"]) == ["cat_x4.png", "flat.png", "tac_x4.png"]
    with pytest.raises(MasksrError, match="--also: gmsd needs the HR pictures"):
        run(["sr"], also=["gmsd", "entropy"])


def test_pictures_that_cannot_be_scored_do_not_lose_the_others(pictures, capsys):
    hole = np.full(CAT.shape[:2], 255, np.uint8)
    hole[3, 3] = 0
    write_photo(pictures / "sr/hole.png", Photo(CAT, hole, None))
    (pictures / "sr/broken.png").write_bytes(b"no picture")
    write_png(pictures / "sr/lr.png", CAT[:32, :33])
    write_png(pictures / "sr/tiny.png", CAT[:8, :60])
    for name in ("hole", "broken", "lr", "tiny"):
        write_png(pictures / f"hr/{name}.png", CAT if name != "tiny" else CAT[:8, :60])
    with pytest.raises(MasksrError) as caught:
        run(["sr"], hr="hr", output=pictures / "q.csv")
    said = str(caught.value)
    assert said.startswith("4 of 6 pictures could not be scored:\n")
    reasons = "hole.png: has transparent", "broken.png: cannot be read", "lr.png: has 33 x 32 pixels and not"
    for reason in (*reasons, "tiny.png: an image of shape (8, 60, 3) is nothing but border"):
        assert reason in said
    assert list(read_quality([pictures / "q.csv"])["image"]) == ["cat", "tac"]


def test_without_a_project_the_weights_are_official(pictures, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(MasksrError, match="no weights for NIQE and Ma"):
        run([str(pictures / "sr")])
    for half, published in OFFICIAL.items():
        (pictures / "nothing/weights").mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / MADE / f"{half}.mat", pictures / "nothing/weights" / published)
    run([str(pictures / "sr")])
    assert "| PI | NIQE | Ma |" in capsys.readouterr().out


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize("name", ["baby", "babySR", "baby_HR", "baby_SRF_4_SR", "BABY_X4_sr", "baby_x4_out"])
def test_endings_that_tell_sr_from_hr_are_no_part_of_the_name(name):
    hr = paths("hr/baby_SRF_4_HR.png", "hr/bird.png")
    assert pair(paths(f"sr/{name}.png", "sr/bird.png"), hr, 4)[Path(f"sr/{name}.png")] == hr[0]


def test_the_same_name_goes_before_a_like_name():
    hr = paths("hr/cat.png", "hr/cat_sr.png", "hr/dog_HR.jpg", "hr/scout.png")
    found = pair(paths("out/cat_sr.png", "out/cat.jpg", "out/dog_x4.png", "out/scout.png"), hr, 4)
    assert [found[path].name for path in found] == ["cat_sr.png", "cat.png", "dog_HR.jpg", "scout.png"]
    named = pair(paths("out/baby_SwinIR.png", "out/bird_ESRGAN_x4.png"), paths("hr/baby.png", "hr/bird.png"), 4)
    assert [found.name for found in named.values()] == ["baby.png", "bird.png"]
    assert pair(paths("result.png"), paths("photo.jpg"), 4) == {Path("result.png"): Path("photo.jpg")}
    assert len(pair(paths("a/cat_x4.png", "b/cat_x4.png"), paths("hr/cat.png"), 4)) == 2  # two methods
    for sr, hr, says in (
        ("o/cat_x4.png", "h/cat.png h/CAT.jpg", "x4.*which"), ("o/cat_x2.png o/sr.png", "h/cat.png", "x2.*which"),
        ("o/cat_a.png o/cat.jpg", "h/cat.png", "o/cat_a.png and cat.jpg both belong to h/cat.png; put each method"),
    ):
        with pytest.raises(MasksrError, match=says):
            pair(paths(*sr.split()), paths(*hr.split()), 4)
