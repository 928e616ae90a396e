"""Public checkpoints: sizes read from weights, strict loading, and scored under our protocol."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_scores import make_project, mini
from safetensors.torch import save_file

from masksr.fetch.find import build_pack
from masksr.io import MasksrError
from masksr.models.build import build_generator, infer_size, save_generator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import RRDB, EDSRSize, Params, PESRSize
from masksr.paths import Paths
from masksr.results import evaluate
from masksr.results.scores import COLUMNS, read_quality, summarize
from masksr.tools import pretrained
from masksr.tools.pretrained import load_pretrained, run


def old_names(state: dict) -> dict:
    """RRDBNet in the key names of the ESRGAN repository."""
    names = {"rdb": "RDB", "conv_body": "trunk_conv", "body.": "RRDB_trunk.", "conv_up": "upconv", "conv_hr": "HRconv"}
    for ours, theirs in names.items():
        state = {key.replace(ours, theirs): value for key, value in state.items()}
    return state


few, factor = st.integers(1, 6), st.floats(0.01, 2)
RRDBS = st.builds(RRDB, architecture=st.just("rrdb"), num_feat=few, num_block=few, num_grow_ch=few)
EDSRS = st.builds(EDSRSize, architecture=st.just("edsr"), n_resblocks=few, n_feats=few, res_scale=factor)
PESRS = st.builds(PESRSize, architecture=st.just("pesr"), depth=few, num_channels=few, res_scale=factor)


@given(size=RRDBS | EDSRS | PESRS, scale=st.sampled_from([2, 3, 4]))
def test_what_a_network_was_built_with_is_found_in_its_weights(size, scale):
    scale = scale if size.architecture == "edsr" else 4
    given_factor = getattr(size, "res_scale", None)
    state = build_generator(size, scale, seed=0).state_dict()
    assert infer_size(state, size.architecture, "x.pth", res_scale=given_factor) == (size, scale)


E, R = EDSR(2, 4, 0.1, 4).state_dict(), RRDBNet(4, 2, 3).state_dict()
FOLDED = R | {"conv_first.weight": torch.zeros(4, 12, 3, 3)}  # as RealESRGAN_x2plus: pixels become channels


@pytest.mark.parametrize(("weights", "architecture", "res_scale", "says"), [
    (E, "edsr", None, r"x\.pt: an EDSR of 4 channels; .* --res-scale"), (R, "rrdb", 0.2, "leave out --res-scale"),
    (E, "rrdb", None, r"x\.pt does not hold an ESRGAN.*conv_first\.weight.*use --model edsr"),
    ({"fc.weight": torch.ones(2, 2)}, "edsr", None, "it has no .*tail"),
])
def test_weights_of_something_else_are_one_clear_error(weights, architecture, res_scale, says):
    with pytest.raises(MasksrError, match=says):
        infer_size(weights, architecture, "x.pt", res_scale=res_scale)


PUBLIC = {  # the network it is, its state in a file, res_scale asked for
    "ESRGAN": (RRDBNet(8, 2, 4), lambda state: {"params": state}, "rrdb", None),
    "ESRGAN, average": (RRDBNet(8, 1, 4), lambda state: {"params_ema": old_names(state)}, "rrdb", None),
    "EDSR x3": (EDSR(2, 8, 0.1, 3), dict, "edsr", 0.1), "EDSR": (EDSR(1, 256, 0.1, 4), dict, "edsr", None),
    "EDSR baseline": (EDSR(1, 64, 1.0, 4), dict, "edsr", None), "PESR": (PESR(2, 8, 0.1), dict, "pesr", None),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_checkpoint_upscales_as_the_network_it_was_saved_from(name, tmp_path):
    network, file_of, architecture, res_scale = PUBLIC[name]
    noise = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=noise)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save(file_of(state), tmp_path / "new.pth")
    torch.save(file_of(state), tmp_path / "of_2018.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "g.safetensors")
    lr = torch.rand(1, 3, 9, 7) * network.pixel_range
    for path in tmp_path.iterdir():
        at, found = load_pretrained(str(path), architecture.replace("rrdb", "esrgan"), res_scale)
        with torch.no_grad():
            assert torch.equal(found(lr), network.eval()(lr))
        assert at == path and not found.training and found.scale == network.scale


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project, and working directory, with the pack of one test set, and quality weights at random."""
    paths = make_project(tmp_path / "project")
    monkeypatch.chdir(paths.root)
    build_pack("cat", paths.set("cat"))
    return paths.root


def only_cat() -> Params:
    settings = mini(test=["cat"])
    return settings.model_copy(update={"train": settings.train.model_copy(update={"device": "cpu"})})


@pytest.fixture
def checkpoint(tmp_path) -> str:
    network = RRDBNet(8, 1, 4)
    with torch.no_grad():
        for parameter in network.parameters():  # what it starts with gives a flat image, which has no PI
            parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    torch.save({"params_ema": network.state_dict()}, tmp_path / "RRDB_ESRGAN_x4.pth")
    return str(tmp_path / "RRDB_ESRGAN_x4.pth")


def test_the_rows_are_those_of_the_variants_evaluation(checkpoint, project, tmp_path, capsys, monkeypatch):
    paths = Paths(project, "mini")
    size = RRDB(architecture="rrdb", num_feat=8, num_block=1, num_grow_ch=4)
    folder = paths.variant("esrgan", "none", 0)
    save_generator(load_pretrained(checkpoint, "esrgan")[1], size, folder / "generator.safetensors")
    labels = {"model": "esrgan", "mask": "none", "seed": 0}
    upscale = evaluate.load_upscale(only_cat(), folder)
    ours = evaluate.evaluate(labels, upscale, *evaluate.load_protocol(only_cat(), paths))
    table = run(only_cat(), checkpoint, "esrgan", output=tmp_path / "out/quality.csv")
    assert list(table.columns) == COLUMNS
    assert table["model"].unique().tolist() == ["RRDB_ESRGAN_x4.pth", "bicubic", "HR"]
    theirs = table[table["model"] == "RRDB_ESRGAN_x4.pth"].assign(model="esrgan")
    pd.testing.assert_frame_equal(theirs.reset_index(drop=True), ours)
    assert ours[["pi", "psnr"]].notna().all(axis=None)
    assert table[table["model"] == "HR"]["psnr"].eq(np.inf).all()
    said = capsys.readouterr().out
    assert "RRDB_ESRGAN_x4.pth: RRDBNet" in said and summarize(table) in said
    read = read_quality([tmp_path / "out/quality.csv"])
    np.testing.assert_allclose(read["pi"], table["pi"], rtol=1e-9)
    monkeypatch.setattr(pretrained.find, "fetch_pretrained", lambda *_: Path(checkpoint))
    named = run(only_cat(), "esrgan", "esrgan", limit=1)
    pd.testing.assert_frame_equal(named, table[table["image"] == "chelsea-left"].reset_index(drop=True))


@pytest.mark.parametrize(("change", "says"), [
    ({"model": "pesr", "checkpoint": "esrgan"}, "esrgan: .* not a PESR"),
    ({"checkpoint": "esrgone"}, "no file esrgone"), ({"sets": ["kat"]}, "no data set 'kat'.*did you mean 'cat'"),
    ({"checkpoint": "../x2plus.pth"}, r"x2plus\.pth does not fit RRDBNet"),
    ({"checkpoint": "../x2.pt", "model": "edsr", "res_scale": 0.1}, r"x2\.pt upscales by 2; .* x4"),
])
def test_what_cannot_be_evaluated_is_told_before_the_work(change, says, checkpoint, project, monkeypatch):
    torch.save(EDSR(1, 8, scale=2).state_dict(), project.parent / "x2.pt")
    torch.save(FOLDED, project.parent / "x2plus.pth")
    monkeypatch.setattr(pretrained, "evaluate", lambda *_, **__: pytest.fail("too late"))
    arguments = {"params": only_cat(), "checkpoint": checkpoint, "model": "esrgan"} | change
    with pytest.raises(MasksrError, match=says):
        run(**arguments)
