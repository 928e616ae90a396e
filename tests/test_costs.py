"""What a profile costs: the count against hand formulas, against torch's own counter and against real steps."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from masksr import params
from masksr.errors import MasksrError
from masksr.models.checkpoints import build_discriminator, build_generator, save_generator
from masksr.models.vgg import VGG19Features
from masksr.training.cost import Meter, StepCost, describe_costs, disk_costs, step_cost, training_costs
from masksr.training.device import autocast
from masksr.training.step import adversarial_step, distance_step

ROOT = Path(__file__).parents[1]
MINI = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
MODELS = ["esrgan", "pesr", "edsr"]


@pytest.fixture(scope="module")
def mini() -> params.Params:
    return params.load(ROOT / "profiles/mini.yaml")


@pytest.fixture(scope="module")
def paper() -> params.Params:
    return params.load(ROOT / "profiles/paper.yaml")


def only(model: str, content: dict = MINI) -> dict:
    """A parameter file with one model, two masks and a sweep of one point that is none of them."""
    sweep = content["sweep"] | {"model": model, "k": [1.0], "b": [0.5]}
    return copy.deepcopy(content | {"table1": content["table1"] | {"models": [model]}, "sweep": sweep})


def table_of(content: dict) -> pd.DataFrame:
    """By name of the training, at 100 TFLOP/s."""
    return training_costs(params.Params.model_validate(content), tflops=100).set_index("training")


def forward_flop(network: nn.Module, side: int) -> int:
    """Of one image (3, side, side) through a network that was made on fake tensors."""
    with Meter() as meter, torch.no_grad():
        network.eval()(torch.empty(1, 3, side, side))
    return meter.flop


# ---- The meter -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    channels=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    side=st.integers(3, 12),
    batch=st.integers(1, 3),
    fake=st.booleans(),
)
def test_a_stack_of_convolutions_by_hand(
    channels: list[int], kernel: int, stride: int, side: int, batch: int, fake: bool
) -> None:
    """Two per multiply-add; as many again for the gradient of the weights, and of each input but the first."""
    with FakeTensorMode() if fake else nullcontext(), Meter() as meter:
        layers = [nn.Conv2d(*pair, kernel, stride, padding=kernel // 2) for pair in pairwise(channels)]
        nn.Sequential(*layers)(torch.ones(batch, channels[0], side, side)).sum().backward()
    expected = 0
    for number, (before, after) in enumerate(pairwise(channels)):
        side = (side - 1) // stride + 1
        expected += (3 if number else 2) * 2 * batch * before * after * kernel**2 * side**2
    assert meter.flop == expected


def test_bytes_alive_are_followed_exactly() -> None:
    with Meter() as meter:
        a = torch.zeros(1000)
        a.add_(1)  # in place
        b = a.view(10, 100)[2:]  # a view
        assert meter.alive == meter.peak == 4000
        c = torch.zeros(500, dtype=torch.bfloat16)
        assert meter.alive == meter.peak == 5000
        del a
        assert meter.alive == 5000  # its view still holds it
        del b
        assert meter.alive == 1000
        del c
    assert (meter.alive, meter.peak, meter.flop) == (0, 5000, 0)


def test_the_counter_of_torch_agrees(mini: params.Params) -> None:
    recipe = mini.models["edsr"]
    phase = recipe.start.phases[0]
    generator = build_generator(recipe.generator, phase.scale, seed=0)
    lr, hr = (torch.rand(recipe.batch, 3, side, side) for side in (recipe.lr_patch, phase.scale * recipe.lr_patch))
    with FlopCounterMode(display=False) as counter:
        distance_step(generator, lr, hr, kind="l1", autocast=autocast(torch.device("cpu"), "fp32"))
    assert step_cost(mini, "edsr", phase).flop == counter.get_total_flops() > 0


# ---- One step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_gan_step_is_three_passes_of_g_three_of_vgg_and_seven_of_d(paper: params.Params, model: str) -> None:
    """Forward 1, backward 2: G 3. VGG: SR, HR, back to SR 3. D: SR, HR 2, their loss back 4, back to SR once more 1."""
    recipe = paper.models[model]
    side = 4 * recipe.lr_patch
    with FakeTensorMode():
        g = forward_flop(build_generator(recipe.generator, 4, 0), recipe.lr_patch)
        d = forward_flop(build_discriminator(recipe.discriminator, side, 0), side)
        vgg = forward_flop(VGG19Features(), side)
    flop = step_cost(paper, model, paper.masks["none"]).flop
    # Only the first layers are cheaper: nobody wants the gradient of LR, nor D's loss that of the images.
    assert 0.99 < flop / recipe.batch / (3 * g + 3 * vgg + 7 * d) <= 1
    tflop = {"esrgan": 11.53, "pesr": 23.61, "edsr": 13.28}  # what the README's hours are made of
    assert flop / 1e12 == pytest.approx(tflop[model], rel=1e-3)


def test_vgg19_to_conv5_4_by_hand() -> None:
    side, channels, expected = 96, 3, 0
    for stage, (width, layers) in enumerate([(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]):
        for _ in range(layers):
            expected += 2 * 9 * channels * width * (side >> stage) ** 2
            channels = width
    with FakeTensorMode():
        assert forward_flop(VGG19Features(), 96) == expected
    assert expected == pytest.approx(7.2e9, rel=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_memory_is_what_a_real_step_takes_but_for_workspaces(mini: params.Params, model: str, precision: str) -> None:
    """torch's profiler sees every allocation of two real optimisation steps on this CPU."""
    recipe, cpu = mini.models[model], torch.device("cpu")

    def train() -> None:
        networks = [
            build_generator(recipe.generator, 4, seed=0),
            build_discriminator(recipe.discriminator, 4 * recipe.lr_patch, seed=0),
        ]
        vgg = VGG19Features(mini.weights.vgg_width)
        pixel_range = networks[0].pixel_range
        lr, hr = (torch.rand(recipe.batch, 3, s, s) * pixel_range for s in (recipe.lr_patch, 4 * recipe.lr_patch))
        optimizers = [
            torch.optim.Adam([p for p in n.parameters() if p.requires_grad], lr=1e-6, fused=True) for n in networks
        ]
        for _ in range(2):
            for optimizer in optimizers:
                optimizer.zero_grad()
            adversarial_step(
                *networks,
                vgg,
                lr,
                hr,
                loss=recipe.loss,
                mask=mini.masks["paper"],
                pixel_range=pixel_range,
                autocast=autocast(cpu, precision),
            )
            for optimizer in optimizers:
                optimizer.step()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # workspaces grow with the threads
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            train()
    finally:
        torch.set_num_threads(threads)
    events = [(e.start_ns(), e.nbytes()) for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    if not events:
        pytest.skip("this build of torch does not profile memory")
    alive = measured = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        alive += size
        measured = max(measured, alive)
    counted = step_cost(mini, model, mini.masks["paper"], precision).memory
    assert 0.98 * counted < measured < 1.35 * counted


@pytest.mark.parametrize("model", MODELS)
def test_bf16_computes_the_same_in_less_memory(mini: params.Params, model: str) -> None:
    full, half = (step_cost(mini, model, mini.masks["paper"], p) for p in ("fp32", "bf16"))
    assert full.flop == half.flop
    assert 0.5 * full.memory < half.memory < 0.9 * full.memory


def test_precision_and_moving_average_are_those_of_the_profile(mini: params.Params) -> None:
    def memory(**train: object) -> int:
        settings = params.Params.model_validate(MINI | {"train": MINI["train"] | train})
        return step_cost(settings, "pesr", mini.masks["none"]).memory

    plain = memory()
    assert memory(precision="bf16") < plain
    generator = build_generator(mini.models["pesr"].generator, 4, seed=0)
    assert memory(ema=0.999) - plain == sum(value.nbytes for value in generator.state_dict().values())


def test_counting_leaves_the_random_numbers_alone(mini: params.Params) -> None:
    before = torch.get_rng_state()
    step_cost(mini, "esrgan", mini.masks["paper"])
    assert torch.equal(torch.get_rng_state(), before)


# ---- A whole profile -------------------------------------------------------------------------------------------------


def test_the_trainings_of_the_paper() -> None:
    content = yaml.safe_load((ROOT / "profiles/paper.yaml").read_text())
    content["table1"]["models"] = ["esrgan"]
    content["models"]["esrgan"]["generator"]["num_block"] = 1  # faster to count
    table = table_of(content)
    assert table.loc["ESRGAN start", "steps each"] == 10_000
    assert table.loc["ESRGAN paper", "steps each"] == 130_000
    assert table.loc["ESRGAN Figure 5", "trainings"] == 4 * 3 - 1  # one of its points is the variant `paper`
    rows, total = table.drop("all"), table.loc["all"]
    pflop = rows["trainings"] * rows["steps each"] * rows["GFLOP per step"] / 1e6
    assert rows["PFLOP in all"].to_numpy() == pytest.approx(pflop.to_numpy(dtype=float))
    assert total["trainings"] == rows["trainings"].sum() == 14
    assert total["PFLOP in all"] == pytest.approx(rows["PFLOP in all"].sum())
    assert total["hours in all"] == pytest.approx(total["PFLOP in all"] * 1e15 / 100e12 / 3600)
    assert total["GB fp32"] == rows["GB fp32"].max() > total["GB bf16"]


def test_a_start_of_several_phases_is_their_sum(mini: params.Params) -> None:
    phases = mini.models["edsr"].start.phases
    assert len(phases) == 2
    flop = sum(step_cost(mini, "edsr", p).flop * p.epochs * mini.train.steps_per_epoch for p in phases)
    row = table_of(only("edsr")).loc["EDSR start"]
    assert row["PFLOP in all"] == pytest.approx(flop / 1e15)
    assert row["steps each"] == sum(p.epochs for p in phases) * mini.train.steps_per_epoch


def test_equal_trainings_count_once_and_seeds_multiply() -> None:
    content = only("pesr")
    content["masks"]["again"] = content["masks"]["paper"]
    content["table1"] |= {"masks": ["none", "paper", "again"], "seeds": [0, 1]}
    content["sweep"] |= {"k": [0.2, 1], "b": [0.5, 0.7], "seeds": [1]}
    counts = table_of(content)["trainings"].to_dict()
    expected = {"PESR start": 2, "PESR none": 2, "PESR paper": 2, "PESR again": 0, "PESR Figure 5": 3}
    assert counts == expected | {"all": 9}


def test_a_start_from_a_checkpoint_costs_nothing() -> None:
    content = only("pesr")
    content["models"]["pesr"]["start"] |= {"init": "checkpoint.pt", "phases": []}
    table = table_of(content)
    assert table.loc["PESR start", "steps each"] == table.loc["PESR start", "PFLOP in all"] == 0


@pytest.mark.parametrize("tflops", [0, -1, float("nan")])
def test_hours_want_a_positive_speed(mini: params.Params, tflops: float) -> None:
    with pytest.raises(MasksrError, match="tflops must be positive"):
        training_costs(mini, tflops)


# ---- Disk ------------------------------------------------------------------------------------------------------------


def nothing_known(settings: params.Params) -> dict[str, SimpleNamespace]:
    return {name: SimpleNamespace() for name in (settings.data.train, settings.data.validation, *settings.data.test)}


def test_an_archive_of_several_sets_counts_once(mini: params.Params) -> None:
    shared, own = SimpleNamespace(name="all.zip", size=2_000_000_000), SimpleNamespace(name="own.zip", size=10**9)
    sets = nothing_known(mini) | {
        "rocket": SimpleNamespace(images=1, downloads=[[shared], [own]]),
        "cat": SimpleNamespace(images=2, downloads=[[shared, own]]),
    }
    table = disk_costs(mini, sets).set_index("item")
    assert list(table.loc[["rocket", "cat", "all that is known"], "download GB"]) == [2.0, 3.0, 3.0]
    assert table.loc["cat", "images"] == 2


def test_weights_and_checkpoints_on_disk(tmp_path: Path) -> None:
    settings = params.Params.model_validate(only("edsr"))
    recipe = settings.models["edsr"]
    generator = build_generator(recipe.generator, 4, seed=0)
    save_generator(generator, recipe.generator, tmp_path / "g.safetensors")

    discriminator = build_discriminator(recipe.discriminator, 4 * recipe.lr_patch, seed=0)
    state = []
    for network in (generator, discriminator):
        sum(p.sum() for p in network.parameters()).backward()
        optimizer = torch.optim.Adam(p for p in network.parameters() if p.requires_grad)
        optimizer.step()
        state += [network.state_dict(), optimizer.state_dict()]
    torch.save(state, tmp_path / "checkpoint.pt")

    disk = disk_costs(settings, nothing_known(settings)).set_index("item")["disk GB"] * 1e9
    weights, checkpoint = ((tmp_path / name).stat().st_size for name in ("g.safetensors", "checkpoint.pt"))
    assert disk["weights of 4 generators, 3 times"] == pytest.approx(4 * 3 * weights, rel=0.02)
    assert disk["largest checkpoint, 3 times"] == pytest.approx(3 * checkpoint, rel=0.02)


# ---- In words --------------------------------------------------------------------------------------------------------


def test_described_as_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = params.Params.model_validate(only("pesr"))
    told = describe_costs(settings, tflops=0.14)
    assert "Hours at 0.14 TFLOP/s" in told and "guess" not in told
    assert "guess" in describe_costs(settings)
    tables = [block.splitlines() for block in told.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "| PESR Figure 5 | 1 | 100 | 13 |" in told
    assert "nan" not in told.lower() and "<na>" not in told.lower()


def test_parts_and_recomputed_blocks_take_less_memory(mini: params.Params) -> None:
    """What the message about too little memory advises; recomputing costs the generator's forward pass once more."""

    def cost(**train) -> StepCost:
        settings = mini.model_copy(update={"train": mini.train.model_copy(update=train)})
        return step_cost(settings, "pesr", settings.masks["none"])

    plain, parts, recomputed = cost(), cost(accumulate=2), cost(gradient_checkpointing=True)
    assert parts.flop == plain.flop < recomputed.flop
    assert parts.memory < plain.memory and recomputed.memory < plain.memory
