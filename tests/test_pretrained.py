"""Public checkpoints: read by the names of their authors, upscaling as they should, and a training's start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from masksr.errors import MasksrError
from masksr.fetch.find import build_pack
from masksr.models.checkpoints import build_generator, load_generator, save_generator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import Params, PESRSize, load
from masksr.paths import Paths
from masksr.tools.pretrained import load_pretrained
from masksr.training import train as training

ROOT = Path(__file__).parents[1]
DATA = os.environ.get("MASKSR_DATA")
GOLDEN = Path(os.environ.get("MASKSR_GOLDEN") or (Path(DATA).parent / "golden" if DATA else "golden"))
State = dict[str, Tensor]

# ---- Files as their authors write them -------------------------------------------------------------------------------


def random_state(shapes: dict[str, tuple[int, ...]]) -> State:
    """A weight and a bias for each name, small enough that the network's output stays an image."""
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.empty(shape).normal_(0, 0.5 / np.prod(shape[1:]) ** 0.5, generator=rng)
        state[f"{name}.bias"] = torch.empty(shape[0]).normal_(0, 0.01, generator=rng)
    return state


def esrgan(feat: int, blocks: int, growth: int, *, old: bool = False) -> State:
    """RRDBNet in the key names of BasicSR or, old, of the ESRGAN repository."""
    trunk, rdb, closing, up, hr = (
        ("RRDB_trunk", "RDB", "trunk_conv", "upconv", "HRconv")
        if old
        else ("body", "rdb", "conv_body", "conv_up", "conv_hr")
    )
    shapes = {"conv_first": (feat, 3, 3, 3)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in (1, 2, 3, 4, 5):
                made = feat if conv == 5 else growth
                shapes[f"{trunk}.{block}.{rdb}{dense}.conv{conv}"] = (made, feat + (conv - 1) * growth, 3, 3)
    shapes |= {name: (feat, feat, 3, 3) for name in (closing, f"{up}1", f"{up}2", hr)}
    return random_state(shapes | {"conv_last": (3, feat, 3, 3)})


def edsr(blocks: int, feats: int, scale: int = 4) -> State:
    """EDSR as EDSR-PyTorch saves it, colour shifts included."""
    shapes = {"head.0": (feats, 3, 3, 3), f"body.{blocks}": (feats, feats, 3, 3), "tail.1": (3, feats, 3, 3)}
    for block in range(blocks):
        shapes |= {f"body.{block}.body.{conv}": (feats, feats, 3, 3) for conv in (0, 2)}
    for number, step in enumerate({2: (2,), 3: (3,), 4: (2, 2)}[scale]):
        shapes[f"tail.0.{2 * number}"] = (step * step * feats, feats, 3, 3)
    return random_state(shapes) | colour_shifts()


def pesr(depth: int, channels: int) -> State:
    """PESR's generator as its repository saves it."""
    shapes = {"embed": (channels, 3, 3, 3), f"body.{depth}": (channels, channels, 3, 3)}
    for block in range(depth):
        shapes |= {f"body.{block}.body.{conv}": (channels, channels, 3, 3) for conv in (0, 2)}
    shapes |= {f"upsample.{conv}": (4 * channels, channels, 3, 3) for conv in (0, 2)}
    return random_state(shapes | {"upsample.4": (3, channels, 3, 3)}) | colour_shifts()


def colour_shifts() -> State:
    mean = 255 * torch.tensor([0.4488, 0.4371, 0.4040])
    state = {f"{name}.weight": torch.eye(3).view(3, 3, 1, 1) for name in ("sub_mean", "add_mean")}
    return state | {"sub_mean.bias": -mean, "add_mean.bias": mean}


def number_of_weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


PUBLIC = {  # file, content, architecture, res_scale asked for, the network it is
    "ESRGAN": ("g.pth", {"params": esrgan(8, 2, 4)}, "rrdb", None, RRDBNet(8, 2, 4)),
    "ESRGAN, old names": ("g.pth", esrgan(8, 2, 4, old=True), "rrdb", None, RRDBNet(8, 2, 4)),
    "ESRGAN, average": ("g.pth", {"params_ema": esrgan(8, 1, 4, old=True)}, "rrdb", None, RRDBNet(8, 1, 4)),
    "EDSR x4": ("g.pt", edsr(2, 8), "edsr", 0.1, EDSR(2, 8, 0.1, 4)),
    "EDSR x2": ("g.pt", edsr(2, 8, 2), "edsr", 0.1, EDSR(2, 8, 0.1, 2)),
    "EDSR x3": ("g.pt", edsr(2, 8, 3), "edsr", 0.1, EDSR(2, 8, 0.1, 3)),
    "EDSR baseline": ("g.pt", edsr(1, 64), "edsr", None, EDSR(1, 64, 1.0, 4)),
    "PESR": ("g.pt", pesr(2, 8), "pesr", None, PESR(2, 8, 0.1)),
}


@pytest.mark.parametrize("container", ["pth", "legacy pth", "safetensors"])
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_checkpoint_loads_and_upscales_as_the_network_it_was_saved_from(name, container, tmp_path):
    file, content, architecture, res_scale, network = PUBLIC[name]
    state = content.get("params", content.get("params_ema", content))
    path = tmp_path / file
    if container == "safetensors":
        save_file(state, path := tmp_path / "g.safetensors", {"format": "pt"})
    else:  # files of 2018 have the older format
        torch.save(content, path, _use_new_zipfile_serialization=container == "pth")
    found = load_pretrained(path, architecture, res_scale=res_scale)
    network.load_state_dict(dict(zip(network.state_dict(), in_order_of(network, state), strict=True)))
    lr = torch.rand(1, 3, 9, 7) * network.pixel_range
    with torch.no_grad():
        torch.testing.assert_close(found(lr), network.eval()(lr), rtol=0, atol=0)
    assert not found.training
    assert found.scale == network.scale
    assert number_of_weights(found) == sum(value.numel() for value in state.values())


def in_order_of(network: nn.Module, state: State) -> list[Tensor]:
    """The values in the order of the network's keys; old names of ESRGAN are told by what they stand for."""
    new = {"RRDB_trunk.": "body.", "RDB": "rdb", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}
    renamed = {}
    for key, value in state.items():
        for theirs, ours in new.items():
            key = key.replace(theirs, ours)
        renamed[key] = value
    return [renamed[key] for key in network.state_dict()]


@pytest.mark.parametrize(
    ("make", "architecture", "expected", "size"),
    [
        (lambda: esrgan(64, 23, 32, old=True), "rrdb", {}, 16_697_987),
        (lambda: edsr(32, 256), "edsr", {"res_scale": 0.1}, 43_089_947),
        (lambda: edsr(16, 64), "edsr", {"res_scale": 1.0}, 1_517_595),
        (lambda: pesr(32, 256), "pesr", {"res_scale": 0.1}, 43_089_947),
    ],
    ids=["ESRGAN", "EDSR", "EDSR baseline", "PESR"],
)
def test_the_published_sizes_load(make, architecture, expected, size, tmp_path):
    torch.save(make(), tmp_path / "g.pth")
    network = load_pretrained(tmp_path / "g.pth", architecture)
    assert number_of_weights(network) == size
    assert {key: getattr(network.body[0], key) for key in expected} == expected
    with torch.no_grad():
        assert network(torch.rand(1, 3, 4, 4)).shape == (1, 3, 16, 16)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden vectors: MASKSR_GOLDEN names no folder of them")
@pytest.mark.parametrize(
    ("file", "architecture", "res_scale"),
    [
        ("rrdbnet_f16_b2_g8", "rrdb", None),
        ("edsr_b3_f16_x4", "edsr", 0.1),
        ("edsr_b3_f16_x2", "edsr", 0.1),
        ("pesr_generator_d3_c16", "pesr", None),
    ],
)
def test_weights_of_the_public_implementations_give_their_output(file, architecture, res_scale, tmp_path):
    with safe_open(GOLDEN / f"{file}.safetensors", "pt") as golden:
        tensors = {key: golden.get_tensor(key) for key in golden.keys()}  # noqa: SIM118
    torch.save({k.removeprefix("state_dict."): v for k, v in tensors.items() if "state_dict." in k}, tmp_path / "g.pth")
    network = load_pretrained(tmp_path / "g.pth", architecture, res_scale=res_scale)
    with torch.no_grad():
        torch.testing.assert_close(
            network(tensors["input"]), tensors["output"], rtol=1e-4, atol=1e-4 * network.pixel_range
        )


# ---- Files that are something else -----------------------------------------------------------------------------------


def test_another_network_names_the_keys_and_what_to_use(tmp_path):
    torch.save(edsr(2, 8), path := tmp_path / "edsr_x4.pt")
    with pytest.raises(MasksrError, match=r"edsr_x4\.pt does not hold an ESRGAN.*conv_first\.weight.*use --model edsr"):
        load_pretrained(path, "rrdb")


@pytest.mark.parametrize("wrong", ["left out", "too much", "misshapen"])
def test_loading_is_strict_and_names_the_key(wrong, tmp_path):
    state, key = pesr(3, 8), "body.1.body.2.weight"
    if wrong == "left out":
        del state[key]
    elif wrong == "too much":
        state[key := "upsample.6.bias"] = torch.zeros(3)
    else:
        state[key] = torch.zeros(8, 8, 1, 1)
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(MasksrError, match=rf"g\.pt does not fit PESR: 1 .*{key}"):
        load_pretrained(tmp_path / "g.pt", "pesr")


def test_a_scale_that_the_network_has_not_is_named(tmp_path):
    torch.save(esrgan(8, 1, 4) | {"conv_first.weight": torch.zeros(8, 12, 3, 3)}, tmp_path / "x2plus.pth")
    with pytest.raises(MasksrError, match=r"x2plus\.pth holds an ESRGAN .* upscales by 2; use a checkpoint for x4"):
        load_pretrained(tmp_path / "x2plus.pth", "rrdb")


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(MasksrError, match="no such file"):
        load_pretrained(tmp_path / "absent.pth", "rrdb")
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(MasksrError, match="cannot be read as weights"):
        load_pretrained(tmp_path / "page.safetensors", "rrdb")


def test_a_generator_of_ours_needs_no_sizes(tmp_path):
    size = PESRSize(architecture="pesr", depth=1, num_channels=8, res_scale=0.3)
    network = build_generator(size, 4, seed=1)
    save_generator(network, size, path := tmp_path / "generator.safetensors")
    for res_scale in (None, 0.3):
        found = load_pretrained(path, "pesr", res_scale=res_scale)
        assert found.body[0].res_scale == 0.3
        assert torch.equal(found.embed.weight, network.embed.weight)
    with pytest.raises(MasksrError, match="says all its sizes; leave out --res-scale"):
        load_pretrained(path, "pesr", res_scale=0.1)
    with pytest.raises(MasksrError, match="holds a PESR; use --model pesr"):
        load_pretrained(path, "rrdb")


def test_metadata_of_others_does_not_make_a_file_ours(tmp_path):
    save_file(pesr(1, 8), tmp_path / "g.safetensors", {"generator": "some other program"})
    assert isinstance(load_pretrained(tmp_path / "g.safetensors", "pesr"), PESR)


# ---- Trainings that begin from one -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the packs of the tiny profile."""
    root = tmp_path_factory.mktemp("project")
    for name in ("rocket", "tissue"):
        build_pack(name, Paths(root, "mini").set(name))
    return root


def small(init: dict[str, tuple[Path, int]] | None = None, phases: list | None = None) -> Params:
    """Tiny models; those in ``init`` begin from a checkpoint of a scale, and go on with ``phases``."""
    content = load(ROOT / "profiles/mini.yaml").model_dump()
    sizes = {"esrgan": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}, "pesr": {"depth": 1, "num_channels": 8}}
    for name, size in (sizes | {"edsr": {"n_resblocks": 1, "n_feats": 8}}).items():
        model = content["models"][name]
        model["generator"] |= size
        model |= {"lr_patch": 16, "batch": 2}
        if init and name in init:
            file, scale = init[name]
            model["start"] = {"init": str(file), "init_scale": scale, "phases": phases or []}
    content["masks"]["none"] = {"kind": "none"}
    content["data"] |= {"train": "tissue", "validation": "rocket", "test": ["cat"]}
    content["figure4"]["crops"] = [crop for crop in content["figure4"]["crops"] if crop["set"] == "cat"]
    content["train"] |= {"device": "cpu", "steps_per_epoch": 2, "log_every": 1, "validate_every": 2}
    content["train"] |= {"validation_patches": 2, "checkpoint_every": 2}
    return Params.model_validate(content)


def start_from(
    project: Path, tmp_path: Path, model: str, state: State, scale: int, phases: list | None = None
) -> State:
    """Train a start from ``state`` and return what came of it."""
    shutil.copytree(project / "data", tmp_path / "data")
    torch.save(state, tmp_path / "public.pth")
    paths = Paths(tmp_path, "mini")
    training.train_start(small({model: (tmp_path / "public.pth", scale)}, phases), model, 0, paths)
    return load_generator(paths.start(model, 0) / "generator.safetensors").state_dict()


PHASE = {"scale": 4, "loss": "l1", "epochs": 1, "learning_rate": 1e-4, "halve_at": []}


@pytest.mark.parametrize(
    ("model", "state", "same"),
    [
        ("esrgan", esrgan(8, 1, 4), esrgan(8, 1, 4)),
        ("esrgan", {"params_ema": esrgan(8, 1, 4, old=True)}, esrgan(8, 1, 4)),
        ("edsr", edsr(1, 8), edsr(1, 8)),
        ("pesr", pesr(1, 8), pesr(1, 8)),
    ],
    ids=["ESRGAN", "ESRGAN, old names", "EDSR", "PESR"],
)
def test_a_training_starts_from_a_public_checkpoint(model, state, same, project, tmp_path):
    untrained = start_from(project, tmp_path / "a", model, state, 4)
    assert untrained.keys() == same.keys()
    assert all(torch.equal(untrained[key], value) for key, value in same.items())
    trained = start_from(project, tmp_path / "b", model, state, 4, [PHASE])
    moved = [key for key, value in same.items() if not torch.equal(trained[key], value)]
    assert set(moved) == {key for key in same if not key.startswith(("sub_mean", "add_mean"))}
    assert max((trained[key] - same[key]).abs().max() for key in same) < 1e-3


def test_an_edsr_of_x2_keeps_its_body_and_gets_a_fresh_tail(project, tmp_path):
    public = edsr(1, 8, 2)
    found = start_from(project, tmp_path, "edsr", public, 2)
    assert {key for key in found if "tail" in key} > {key for key in public if "tail" in key}
    assert all(torch.equal(found[key], public[key]) for key in public if "tail" not in key)
    assert not torch.equal(found["tail.1.weight"], public["tail.1.weight"])


def test_a_training_from_a_wrong_file_names_the_keys(project, tmp_path):
    with pytest.raises(
        MasksrError, match=r"public\.pth does not fit RRDBNet: .* missing \(body\.0\.rdb1.* unexpected \(add_mean"
    ):
        start_from(project, tmp_path, "esrgan", edsr(1, 8), 4)
