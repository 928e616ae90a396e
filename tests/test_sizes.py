"""Sizes read from weights: right for every generator, and for anything else one error that says what it looks like."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from masksr.errors import MasksrError
from masksr.models.checkpoints import build_generator, infer_size
from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.vgg import VGG19Features
from masksr.params import RRDB, EDSRSize, PESRSize

few, factor = st.integers(1, 6), st.floats(0.01, 2)
RRDBS = st.builds(RRDB, architecture=st.just("rrdb"), num_feat=few, num_block=few, num_grow_ch=few)
EDSRS = st.builds(EDSRSize, architecture=st.just("edsr"), n_resblocks=few, n_feats=few, res_scale=factor)
PESRS = st.builds(PESRSize, architecture=st.just("pesr"), depth=few, num_channels=few, res_scale=factor)
TINY = {
    "rrdb": RRDB(architecture="rrdb", num_feat=4, num_block=2, num_grow_ch=3),
    "edsr": EDSRSize(architecture="edsr", n_resblocks=2, n_feats=4, res_scale=0.1),
    "pesr": PESRSize(architecture="pesr", depth=2, num_channels=4, res_scale=0.1),
}


def state(size, scale: int = 4) -> dict[str, Tensor]:
    return build_generator(size, scale, seed=0).state_dict()


@settings(max_examples=40)
@given(size=RRDBS | EDSRS | PESRS, scale=st.sampled_from([2, 3, 4]))
def test_what_a_network_was_built_with_is_found_in_its_weights(size, scale):
    scale = scale if size.architecture == "edsr" else 4
    given_factor = None if size.architecture == "rrdb" else size.res_scale
    found = infer_size(state(size, scale), size.architecture, "x.pth", res_scale=given_factor)
    assert found == (size, scale)


@pytest.mark.parametrize(
    ("architecture", "channels", "expected"),
    [("edsr", 256, 0.1), ("edsr", 64, 1.0), ("pesr", 256, 0.1), ("pesr", 64, 0.1)],
)
def test_res_scale_is_that_of_the_published_networks(architecture, channels, expected):
    names = {"edsr": ("n_resblocks", "n_feats"), "pesr": ("depth", "num_channels")}[architecture]
    size = type(TINY[architecture])(
        architecture=architecture, res_scale=0.5, **dict(zip(names, (1, channels), strict=True))
    )
    weights = state(size)
    assert infer_size(weights, architecture, "x.pt")[0].res_scale == expected
    assert infer_size(weights, architecture, "x.pt", res_scale=0.5)[0] == size
    assert infer_size(weights, architecture, "x.pt", res_scale=1)[0].res_scale == 1.0


def test_the_res_scale_of_an_unusual_edsr_is_not_guessed():
    with pytest.raises(MasksrError, match=r"x\.pt: an EDSR of 4 channels; .* Give it with --res-scale"):
        infer_size(state(TINY["edsr"]), "edsr", "x.pt")


@pytest.mark.parametrize("wrong", [0, -0.1, float("nan"), float("inf")])
def test_a_res_scale_is_a_positive_number(wrong):
    with pytest.raises(MasksrError, match="--res-scale must be a positive number"):
        infer_size(state(TINY["pesr"]), "pesr", "x.pt", res_scale=wrong)


def test_an_esrgan_has_no_res_scale_to_set():
    with pytest.raises(MasksrError, match=r"always 0\.2; leave out --res-scale"):
        infer_size(state(TINY["rrdb"]), "rrdb", "x.pt", res_scale=0.2)


@pytest.mark.parametrize(("planes", "scale"), [(3, 4), (12, 2), (48, 1)])
def test_the_scale_of_an_esrgan_is_in_its_first_convolution(planes, scale):
    """BasicSR folds the pixels of an LR image for x2 and x1, as RealESRGAN_x2plus does."""
    weights = state(TINY["rrdb"]) | {"conv_first.weight": torch.zeros(4, planes, 3, 3)}
    assert infer_size(weights, "rrdb", "x.pth") == (TINY["rrdb"], scale)


def test_a_grey_esrgan_is_refused():
    weights = state(TINY["rrdb"]) | {"conv_first.weight": torch.zeros(4, 1, 3, 3)}
    with pytest.raises(MasksrError, match=r"conv_first takes 1 channels; only .* RGB"):
        infer_size(weights, "rrdb", "x.pth")


@pytest.mark.parametrize(("asked", "got"), list(permutations(TINY, 2)))
def test_weights_of_another_generator_are_recognised(asked, got):
    missing = {"rrdb": "conv_first.weight", "edsr": "head.0.weight", "pesr": "embed.weight"}[asked]
    model = {"rrdb": "esrgan"}.get(got, got)
    with pytest.raises(MasksrError) as error:
        infer_size(state(TINY[got]), asked, "x.pth")
    assert str(error.value).startswith("x.pth does not hold ")
    assert missing in str(error.value)
    assert str(error.value).endswith(f"use --model {model}")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (VGGStyleDiscriminator(4, 64).state_dict(), "ESRGAN's discriminator"),
        (SRGANDiscriminator(4, 64).state_dict(), "SRGAN's discriminator"),
        (VGG19Features(0.01).state_dict(), "a VGG"),
        (
            {f"module.{key}": value for key, value in state(TINY["edsr"]).items()},
            r"save network\.module\.state_dict\(\)",
        ),
        (
            {"conv_first.weight": torch.ones(4, 3, 3, 3), "conv_after_body.weight": torch.ones(4, 4, 3, 3)},
            "BasicSR's EDSR",
        ),
        ({"fc.weight": torch.ones(2, 2)}, r"Its keys \(fc\.weight, \.\.\.\) are of no network that is known here"),
        ({}, "none at all"),
    ],
    ids=["ESRGAN D", "SRGAN D", "VGG", "DataParallel", "BasicSR EDSR", "other", "empty"],
)
def test_other_files_are_told_apart(weights, says):
    with pytest.raises(MasksrError, match=says):
        infer_size(weights, "edsr", "x.pth")


TENSORS = st.lists(st.integers(0, 5), max_size=5).map(torch.zeros)
KEYS = ["conv_first", "body.0.rdb1.conv1", "conv_last", "head.0", "body.0.body.0", "tail.0.0", "tail.0.2", "tail.1"]
KEYS += ["embed", "upsample.0", "upsample.2", "upsample.4"]


@settings(max_examples=200)
@given(
    weights=st.dictionaries(st.sampled_from([f"{key}.weight" for key in KEYS]), TENSORS),
    architecture=st.sampled_from(["rrdb", "edsr", "pesr"]),
)
def test_whatever_the_shapes_there_are_sizes_or_one_clear_error(weights, architecture):
    try:
        size, scale = infer_size(weights, architecture, "x.pth")
    except MasksrError as error:
        assert str(error).startswith("x.pth")
    else:
        assert size.architecture == architecture
        assert scale >= 0
