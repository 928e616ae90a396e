"""The networks against their public implementations (golden vectors), and what the project adds to them."""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet

GOLDEN = {
    "rrdbnet_f16_b2_g8": lambda: RRDBNet(num_feat=16, num_block=2, num_grow_ch=8),
    "edsr_b3_f16_x2": lambda: EDSR(n_resblocks=3, n_feats=16, res_scale=0.1, scale=2),
    "edsr_b3_f16_x4": lambda: EDSR(n_resblocks=3, n_feats=16, res_scale=0.1, scale=4),
    "pesr_generator_d3_c16": lambda: PESR(depth=3, num_channels=16, res_scale=0.1),
    "vggstyle_discriminator_f4_128": lambda: VGGStyleDiscriminator(num_feat=4, input_size=128),
    "vggstyle_discriminator_f4_256": lambda: VGGStyleDiscriminator(num_feat=4, input_size=256),
}


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize(
    ("memory_format", "dtype"),
    # float64 for the other order of sums: in float32 one activation near 0 may take the other side of a leaky ReLU
    [(torch.contiguous_format, torch.float32), (torch.channels_last, torch.float64)],
    ids=["nchw", "nhwc"],
)
def test_same_output_and_input_gradient_as_the_public_implementation(golden, name: str, memory_format, dtype):
    reference = load_file(golden(f"{name}.safetensors"))
    network = GOLDEN[name]().to(dtype=dtype, memory_format=memory_format)
    state = {key.removeprefix("state_dict."): value for key, value in reference.items() if "state_dict." in key}
    network.load_state_dict(state, strict=True)

    image = reference["input"].to(dtype=dtype, memory_format=memory_format).detach().requires_grad_()
    output = network(image)
    objective = (output * torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output)).sum()
    objective.backward()

    assert output.shape == reference["output"].shape
    assert relative_difference(output, reference["output"]) < 1e-5
    assert relative_difference(image.grad, reference["input_grad"]) < 1e-5


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (RRDBNet, 16_697_987),  # as published for ESRGAN's generator
        (EDSR, 43_089_923 + 24),  # EDSR x4, and the two mean shifts of 12 numbers each
        (PESR, 43_089_923 + 24),
        (VGGStyleDiscriminator, 14_499_401),
        (SRGANDiscriminator, 4_687_296 + 75_498_496 + 1025),  # of HR 192: convolutions, two linear layers
    ],
)
def test_defaults_are_the_published_networks(network: type[nn.Module], parameters: int):
    with torch.device("meta"):
        assert sum(p.numel() for p in network().parameters()) == parameters


@pytest.mark.parametrize("make", [*list(GOLDEN.values())[:5], lambda: SRGANDiscriminator(4, 128)])
def test_channels_last_and_bfloat16_autocast(make):
    network = make().to(memory_format=torch.channels_last)
    side = 12 if hasattr(network, "pixel_range") else 128
    x = (torch.rand(4, 3, side, side) * getattr(network, "pixel_range", 1.0)).to(memory_format=torch.channels_last)
    x.requires_grad_()
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
    output.sum().backward()
    assert output.dtype == torch.float32
    assert torch.isfinite(x.grad).all()
    allowed = 0.02 if side == 12 else 0.2  # batch normalisation makes rounding larger
    assert relative_difference(output, exact) < allowed


def test_bfloat16_keeps_grey_levels_apart():
    """bfloat16 alone steps by one level between 128 and 255; a network that does nothing shows what is lost."""
    network = EDSR(1, 4)
    with torch.no_grad():
        for parameter in network.tail.parameters():
            parameter.zero_()
        network.tail[1].bias.fill_(80.4)
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(torch.full((1, 3, 4, 4), 200.0))
    expected = 80.4 + 255 * torch.tensor([0.4488, 0.4371, 0.4040])
    assert torch.allclose(sr[0, :, 0, 0], expected, atol=1e-3)
