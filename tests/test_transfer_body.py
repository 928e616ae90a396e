"""From an EDSR at x2 to one at x4: the body is carried over, the tail starts fresh."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from masksr.errors import MasksrError
from masksr.models.checkpoints import transfer_body
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet


@pytest.mark.parametrize("as_state_dict", [False, True])
def test_transfer_body_copies_everything_but_the_tail(as_state_dict: bool):
    x2, x4 = EDSR(2, 8, scale=2), EDSR(2, 8, scale=4)
    fresh = {key: value.clone() for key, value in x4.state_dict().items()}
    transfer_body(x2.state_dict() if as_state_dict else x2, x4)
    for key, value in x4.state_dict().items():
        expected = fresh[key] if key.startswith("tail.") else x2.state_dict()[key]
        assert torch.equal(value, expected), key
        assert value.data_ptr() != x2.state_dict().get(key, fresh[key]).data_ptr(), "the networks share a tensor"


@pytest.mark.parametrize("source", [EDSR(3, 8, scale=2), EDSR(2, 12, scale=2), PESR(2, 8), RRDBNet(8, 1, 4)])
def test_transfer_body_refuses_another_body_and_changes_nothing(source: nn.Module):
    target = EDSR(2, 8)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(MasksrError, match="the network to start from does not fit EDSR"):
        transfer_body(source, target)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


@pytest.mark.parametrize("network", [RRDBNet(8, 1, 4), PESR(2, 8)])
def test_networks_without_a_tail_keep_their_scale(network: nn.Module):
    with pytest.raises(MasksrError, match="no tail to exchange"):
        transfer_body(network, network)
