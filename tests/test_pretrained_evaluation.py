"""A checkpoint under our protocol: the rows that our own evaluation gives, and a summary that calls things by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from random_quality import write_quality_weights

from masksr.errors import MasksrError
from masksr.fetch.registry import find_set
from masksr.fetch.sets import build_pack
from masksr.models import EDSR, RRDBNet, build
from masksr.params import RRDB, Params, load
from masksr.paths import Paths
from masksr.results import evaluate
from masksr.results.scores import COLUMNS, read_quality, summarize
from masksr.tools import pretrained
from masksr.tools.pretrained import evaluate_pretrained, load_pretrained, run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with the pack of one test set, and quality weights at random, labelled as stand-ins."""
    root = tmp_path_factory.mktemp("project")
    (root / "data").mkdir()
    shutil.copy(ROOT / "data/registry.yaml", root / "data")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).touch()
    paths = Paths(root, "mini")
    build_pack("cat", paths.set("cat"))
    write_quality_weights(paths.weights / "quality")
    return root


def only_cat() -> Params:
    """The profile mini with one test set, on the CPU."""
    params = load(ROOT / "profiles/mini.yaml")
    data = params.data.model_copy(update={"test": ["cat"]})
    return params.model_copy(update={"data": data, "train": params.train.model_copy(update={"device": "cpu"})})


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    network = RRDBNet(8, 1, 4)
    with torch.no_grad():
        for parameter in network.parameters():  # what it starts with gives a flat image, which has no PI
            parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    torch.save({"params_ema": network.state_dict()}, tmp_path / "RRDB_ESRGAN_x4.pth")
    return tmp_path / "RRDB_ESRGAN_x4.pth"


def evaluated(checkpoint: Path, paths: Paths, limit: int | None = None, architecture="rrdb", **more) -> pd.DataFrame:
    settings = {"data_folder": None, "title": "public"} | more
    return evaluate_pretrained(only_cat(), paths, checkpoint, architecture, ["cat"], limit, **settings)


def test_the_rows_are_those_of_the_evaluation_of_the_variants(checkpoint, project):
    """The same weights once as a variant of ours, through the notebook's function, and once as a public file."""
    paths, params = Paths(project, "mini"), only_cat()
    size = RRDB(architecture="rrdb", num_feat=8, num_block=1, num_grow_ch=4)
    folder = paths.variant("esrgan", "none", 0)
    build.save_generator(load_pretrained(checkpoint, "rrdb"), size, folder / "generator.safetensors")
    ours = evaluate.evaluate_generator(params, paths, folder, "esrgan", "none", 0)

    table = evaluated(checkpoint, paths)
    assert list(table.columns) == COLUMNS
    assert table["model"].unique().tolist() == ["public", "bicubic", "HR"]
    theirs = table[table["model"] == "public"].assign(model="esrgan")
    pd.testing.assert_frame_equal(theirs.reset_index(drop=True), ours)
    assert ours[["pi", "psnr"]].notna().all(axis=None)
    assert table[table["model"] == "HR"]["psnr"].eq(np.inf).all()
    assert set(table["niqe_weights"]) == {"stand-in"}


def test_a_set_that_the_profile_has_not_packed_is_packed_for_the_run(checkpoint, project, tmp_path, capsys):
    shutil.copytree(project / "data/weights", tmp_path / "data/weights")
    there, absent = Paths(project, "mini"), Paths(tmp_path, "mini")
    pd.testing.assert_frame_equal(evaluated(checkpoint, there), evaluated(checkpoint, absent))
    said = capsys.readouterr().out
    assert "cat: 2 images, packed by the profile mini" in said
    assert "cat: 2 images, packed for this run" in said
    assert not (tmp_path / "data/sets").exists()


def test_a_limit_takes_the_first_images_of_the_profile_s_pack(checkpoint, project, monkeypatch):
    monkeypatch.setattr(pretrained, "build_pack", lambda *_, **__: pytest.fail("the profile has packed it"))
    table = evaluated(checkpoint, Paths(project, "mini"), limit=1)
    assert table["image"].tolist() == ["chelsea-left"] * 3
    assert len(evaluated(checkpoint, Paths(project, "mini"), limit=9)) == 6


def test_a_pack_with_fewer_images_than_wanted_is_not_enough(checkpoint, project, tmp_path):
    shutil.copytree(project / "data/weights", tmp_path / "data/weights")
    build_pack("cat", Paths(tmp_path, "mini").set("cat"), limit=1)
    assert evaluated(checkpoint, Paths(tmp_path, "mini"))["image"].nunique() == 2


def test_an_image_without_pi_leaves_the_others_theirs(checkpoint, project, tmp_path):
    shutil.copytree(project / "data/weights", tmp_path / "data/weights")
    cat = find_set("cat")
    boxes = cat.photographs[0].crops
    tiny = {name: box.model_copy(update={"height": 40} if name == "left" else {}) for name, box in boxes.items()}
    spec = cat.model_copy(update={"photographs": [cat.photographs[0].model_copy(update={"crops": tiny})]})
    build_pack(spec, Paths(tmp_path, "mini").set("cat"))
    table = evaluated(checkpoint, Paths(tmp_path, "mini"))
    bicubic = table[table["model"] == "bicubic"].set_index("image")
    assert bicubic["pi"].isna().to_dict() == {"chelsea-left": True, "chelsea-right": False}
    assert "NIQE" in bicubic.loc["chelsea-left", "problem"]
    assert bicubic["psnr"].notna().all()
    means = summarize(table)
    assert "images without PI" in means
    assert f"{bicubic.loc['chelsea-right', 'pi']:.2f}".replace("-", "\N{MINUS SIGN}") in means


def test_only_x4_is_evaluated(project, tmp_path):
    torch.save(EDSR(1, 8, scale=2).state_dict(), tmp_path / "edsr_x2.pt")
    with pytest.raises(MasksrError, match=r"edsr_x2\.pt upscales by 2; the protocol is x4"):
        evaluated(tmp_path / "edsr_x2.pt", Paths(project, "mini"), architecture="edsr", res_scale=0.1)


def test_a_checkpoint_is_not_taken_for_an_end_of_the_scale(checkpoint, project):
    with pytest.raises(MasksrError, match="cannot be called HR"):
        evaluated(checkpoint, Paths(project, "mini"), title="HR")


# ---- The command -------------------------------------------------------------------------------------


def test_run_prints_the_summary_and_writes_what_can_be_read_again(checkpoint, project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(project)
    table = run(only_cat(), str(checkpoint), "esrgan", limit=1, output=tmp_path / "out/quality.csv")
    said = capsys.readouterr().out
    assert "RRDB_ESRGAN_x4.pth: RRDBNet, 14,083 parameters" in said
    assert summarize(table) in said
    assert f"wrote {tmp_path / 'out/quality.csv'}" in said
    read = read_quality([tmp_path / "out/quality.csv"])
    assert read["set"].unique().tolist() == ["cat"]  # the test sets of the profile
    np.testing.assert_allclose(read["pi"], table["pi"], rtol=1e-9)


def test_a_name_of_the_registry_stands_for_its_checkpoint(checkpoint, project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(pretrained, "find_pretrained", lambda name, folder: {"esrgan": checkpoint}[name])
    assert run(only_cat(), "esrgan", "esrgan", limit=1)["model"].iloc[0] == "RRDB_ESRGAN_x4.pth"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "srgan"}, "--model srgan: there are esrgan, pesr, edsr"),
        ({"limit": 0}, "--limit must be at least 1, not 0"),
        ({"sets": ["kat"]}, "no data set 'kat'.*did you mean 'cat'"),
        ({"output": Path()}, "is a folder; name a file"),
    ],
)
def test_arguments_are_checked_before_the_work(change, says, checkpoint, project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(pretrained, "load_pretrained", lambda *_, **__: pytest.fail("too late"))
    arguments = {"params": only_cat(), "checkpoint": str(checkpoint), "model": "esrgan"} | change
    with pytest.raises(MasksrError, match=says):
        run(**arguments)
