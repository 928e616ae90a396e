"""The networks against public implementations (golden vectors), VGG19 against torchvision, weight files."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from masksr.io import MasksrError, file_digest
from masksr.models.build import load_state, read_weights, save_weights
from masksr.models.discriminators import SRGANDiscriminator, VGGStyleDiscriminator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.models.vgg import VGG19Features, load_vgg19, random_vgg19

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
@pytest.mark.parametrize(("memory_format", "dtype"), [
    # float64 for another order of sums: in float32 an activation near 0 may take the other side of a ReLU
    (torch.contiguous_format, torch.float32), (torch.channels_last, torch.float64),
], ids=["nchw", "nhwc"])
def test_same_output_and_input_gradient_as_the_public_implementation(golden, name: str, memory_format, dtype):
    reference = load_file(golden(f"{name}.safetensors"))
    network = GOLDEN[name]().to(dtype=dtype, memory_format=memory_format)
    state = {key[len("state_dict.") :]: value for key, value in reference.items() if "state_dict." in key}
    network.load_state_dict(state, strict=True)
    image = reference["input"].to(dtype=dtype, memory_format=memory_format).detach().requires_grad_()
    output = network(image)
    objective = (output * torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output)).sum()
    objective.backward()
    assert output.shape == reference["output"].shape
    assert relative_difference(output, reference["output"]) < 1e-5
    assert relative_difference(image.grad, reference["input_grad"]) < 1e-5


@pytest.mark.parametrize(("network", "parameters"), [
    (RRDBNet, 16_697_987),  # as published for ESRGAN's generator
    (EDSR, 43_089_923 + 24),  # EDSR x4, and the two mean shifts of 12 numbers each
    (PESR, 43_089_923 + 24), (VGGStyleDiscriminator, 14_499_401),
    (SRGANDiscriminator, 4_687_296 + 75_498_496 + 1025),  # of HR 192: convolutions, two linear layers
])
def test_defaults_are_the_published_networks(network: type[nn.Module], parameters: int):
    with torch.device("meta"):
        assert sum(p.numel() for p in network().parameters()) == parameters


@pytest.mark.parametrize("make", [*list(GOLDEN.values())[:5], lambda: SRGANDiscriminator(4, 128)])
def test_channels_last_and_bfloat16_autocast(make):
    network = make().to(memory_format=torch.channels_last)
    side = 12 if hasattr(network, "pixel_range") else 128
    x = torch.rand(4, 3, side, side) * getattr(network, "pixel_range", 1.0)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
    output.sum().backward()
    assert output.dtype == torch.float32 and torch.isfinite(x.grad).all()
    allowed = 0.02 if side == 12 else 0.2  # batch normalisation makes rounding larger
    assert relative_difference(output, exact) < allowed


def test_bfloat16_keeps_grey_levels_apart():
    """bfloat16 alone steps by one level between 128 and 255; a network that does nothing shows the loss."""
    network = EDSR(1, 4)
    with torch.no_grad():
        for parameter in network.tail.parameters():
            parameter.zero_()
        network.tail[1].bias.fill_(80.4)
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(torch.full((1, 3, 4, 4), 200.0))
    expected = 80.4 + 255 * torch.tensor([0.4488, 0.4371, 0.4040])
    assert torch.allclose(sr[0, :, 0, 0], expected, atol=1e-3)


def test_saved_weights_come_back_and_equal_ones_are_equal_bytes(tmp_path: Path):
    network, other = EDSR(2, 8).to(memory_format=torch.channels_last), EDSR(2, 8)
    files, metadata = (tmp_path / "a.safetensors", tmp_path / "b.safetensors"), {"source": "x"}
    save_weights(network, files[0], metadata)
    load_state(other, read_weights(files[0]), "a")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())
    with safe_open(files[0], "pt") as file:
        assert file.metadata() == metadata
    save_weights(other.state_dict(), files[1], metadata)
    assert files[0].read_bytes() == files[1].read_bytes()


ONE, ZERO = ({"a": tensor} for tensor in (torch.ones(1), torch.zeros(1)))


@pytest.mark.parametrize("content", [
    ONE, {"state_dict": ONE, "epoch": 3}, {"model": {"params": ONE}}, {"params": ZERO, "params_ema": ONE},
])
def test_public_checkpoints_are_unwrapped(content: dict, tmp_path: Path):
    torch.save(content, tmp_path / "g.pth")
    assert read_weights(tmp_path / "g.pth") == ONE


def test_names_of_the_first_release_of_esrgan(tmp_path: Path):
    """RRDB_ESRGAN_x4_old_arch.pth numbers the layers of the whole network."""
    names = {
        "model.0.bias": "conv_first.bias", "model.1.sub.11.RDB3.conv5.0.weight": "body.11.rdb3.conv5.weight",
        "model.1.sub.23.weight": "conv_body.weight", "model.3.weight": "conv_up1.weight",
        "model.6.weight": "conv_up2.weight", "model.8.weight": "conv_hr.weight", "model.10.weight": "conv_last.weight",
    }
    torch.save({name: torch.full((1,), number) for number, name in enumerate(names)}, tmp_path / "g.pth")
    found = read_weights(tmp_path / "g.pth")
    assert {name: int(value) for name, value in found.items()} == {n: i for i, n in enumerate(names.values())}


def test_a_wrong_checkpoint_names_the_file_and_the_keys(tmp_path: Path):
    path = tmp_path / "x2.safetensors"
    wrong = {"extra": torch.ones(1), "head.0.bias": torch.ones(12)}
    save_weights(EDSR(2, 8, scale=2).state_dict() | wrong, path)
    with pytest.raises(MasksrError) as error:
        load_state(EDSR(2, 8), read_weights(path), str(path))
    for part in (str(path), '"tail.0.2.weight"', '"extra"'):
        assert part in str(error.value)


def test_weights_are_known_by_their_content_and_compiled_ones_by_their_names(tmp_path: Path):
    state = EDSR(1, 8).state_dict()
    torch.save({f"module._orig_mod.{key}": value for key, value in state.items()}, tmp_path / "a.safetensors")
    save_file({key.replace("head.", "head._orig_mod."): value for key, value in state.items()}, tmp_path / "b.pth")
    for name in ("a.safetensors", "b.pth"):
        assert read_weights(tmp_path / name).keys() == state.keys()


def test_a_flipped_bit_in_a_generator_of_ours_is_found(tmp_path: Path):
    path = tmp_path / "generator.safetensors"
    save_weights(EDSR(1, 8), path)
    (tmp_path / "training.json").write_text(json.dumps({"weights": file_digest(path)}))
    assert read_weights(path)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(MasksrError, match=r"damaged \(not the sha256 in training.json\); remove it, then dvc"):
        read_weights(path)


def test_unreadable_files_are_one_clear_error(tmp_path: Path):
    with pytest.raises(MasksrError, match="no such file"):
        read_weights(tmp_path / "absent.pth")
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02version https://git-lfs")
        with pytest.raises(MasksrError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    torch.save(EDSR(1, 8), tmp_path / "whole.pth")  # a pickled network would run code on loading
    with pytest.raises(MasksrError, match="more than tensors"):
        read_weights(tmp_path / "whole.pth")
    for content in ([torch.ones(1)], {"epoch": 3}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(MasksrError, match="holds no state dict"):
            read_weights(tmp_path / "other.pth")


@pytest.fixture(scope="module")
def vgg() -> VGG19Features:
    return random_vgg19(1.0, seed=0)


def test_same_features_as_torchvision(vgg: VGG19Features):
    with torch.device("meta"):
        reference = torchvision.models.vgg19(weights=None).features[:35]  # up to conv5_4
    state = {key.removeprefix("features."): value for key, value in vgg.state_dict().items()}
    reference.to_empty(device="cpu").load_state_dict(state, strict=True)
    x = torch.rand(2, 3, 48, 48, requires_grad=True)
    normalised = torchvision.transforms.functional.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    found = vgg(x)
    assert found.shape == (2, 512, 3, 3)
    assert relative_difference(found, reference(normalised)) < 1e-5
    assert (found < 0).any(), "features are those before the ReLU"
    found.square().mean().backward()
    assert all(p.grad is None for p in vgg.parameters()) and x.grad.abs().sum() > 0


def test_load(vgg: VGG19Features, tmp_path: Path):
    state = vgg.state_dict()
    torch.save(state | {"classifier.0.weight": torch.ones(2, 2)}, tmp_path / "g.pth")
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "half.safetensors")
    whole, half = (load_vgg19(tmp_path / name).state_dict() for name in ("g.pth", "half.safetensors"))
    for key, value in state.items():
        assert torch.equal(whole[key], value)
        torch.testing.assert_close(half[key], value, rtol=1e-3, atol=1e-6)
