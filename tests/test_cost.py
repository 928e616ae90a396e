"""What a profile costs: the count against hand formulas, torch's own counter and for whole profiles."""

import pytest
import torch
from tiny_project import ROOT
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from masksr import params
from masksr.models.build import build_discriminator, build_generator
from masksr.models.vgg import VGG19Features
from masksr.training.cost import Meter, describe_costs, step_cost, training_costs
from masksr.training.device import autocast
from masksr.training.step import distance_step

MINI = params.load(ROOT / "profiles/mini.yaml")


def forward_flop(network: nn.Module, side: int) -> int:
    """Of one image (3, side, side) through a network that was made on fake tensors."""
    with Meter() as meter, torch.no_grad():
        network.eval()(torch.empty(1, 3, side, side))
    return meter.flop


def test_the_counter_of_torch_agrees() -> None:
    recipe = MINI.models["edsr"]
    phase = recipe.start.phases[0]
    generator = build_generator(recipe.generator, phase.scale, seed=0)
    sides = recipe.lr_patch, phase.scale * recipe.lr_patch
    lr, hr = (torch.rand(recipe.batch, 3, side, side) for side in sides)
    with FlopCounterMode(display=False) as counter:
        distance_step(generator, lr, hr, kind="l1", autocast=autocast(torch.device("cpu"), "fp32"))
    before = torch.get_rng_state()
    assert step_cost(MINI, "edsr", phase).flop == counter.get_total_flops() > 0
    assert torch.equal(torch.get_rng_state(), before)  # counting leaves the random numbers alone


@pytest.mark.parametrize(("model", "tflop"), [
    ("edsr", 13.28), pytest.param("esrgan", 11.53, marks=pytest.mark.slow),
    pytest.param("pesr", 23.61, marks=pytest.mark.slow),
])
def test_a_gan_step_is_three_passes_of_g_three_of_vgg_and_seven_of_d(model: str, tflop: float) -> None:
    """Forward 1, backward 2: G 3. VGG: SR, HR, back to SR 3. D: SR, HR 2, their loss back 4, back to SR 1."""
    paper = params.load(ROOT / "profiles/paper.yaml")
    recipe = paper.models[model]
    side = 4 * recipe.lr_patch
    with FakeTensorMode():
        g = forward_flop(build_generator(recipe.generator, 4, 0), recipe.lr_patch)
        d = forward_flop(build_discriminator(recipe.discriminator, side, 0), side)
        vgg = forward_flop(VGG19Features(), side)
    flop = step_cost(paper, model, paper.masks["none"]).flop
    # Only the first layers are cheaper: nobody wants the gradient of LR, nor D's loss that of the images.
    assert 0.99 < flop / recipe.batch / (3 * g + 3 * vgg + 7 * d) <= 1
    assert flop / 1e12 == pytest.approx(tflop, rel=1e-3)  # what the README's hours are made of


def test_settings_that_save_memory_do() -> None:
    def cost(**train: object):
        settings = MINI.model_copy(update={"train": MINI.train.model_copy(update=train)})
        return step_cost(settings, "pesr", settings.masks["none"])

    plain, half, parts = cost(ema=None), cost(ema=None, precision="bf16"), cost(ema=None, accumulate=2)
    recomputed, averaged = cost(ema=None, gradient_checkpointing=True), cost(ema=0.999)
    assert parts.flop == plain.flop == half.flop < recomputed.flop
    assert parts.peak < plain.peak and recomputed.peak < plain.peak
    assert 0.5 * plain.peak < half.peak < 0.9 * plain.peak
    generator = build_generator(MINI.models["pesr"].generator, 4, seed=0)
    assert averaged.peak - plain.peak == sum(value.nbytes for value in generator.state_dict().values())


def test_equal_trainings_count_once_and_seeds_multiply() -> None:
    content = MINI.model_dump(exclude_unset=True)
    content["masks"]["again"] = content["masks"]["paper"]
    content["table1"] |= {"models": ["pesr"], "masks": ["none", "paper", "again"], "seeds": [0, 1]}
    content["models"]["pesr"]["steps_per_epoch"] = 7  # in place of train's 20
    content["sweep"] |= {"model": "pesr", "k": [0.2, 1.0], "b": [0.5, 0.7], "seeds": [1]}
    settings = params.Params.model_validate(content)
    assert "| PESR again | 0 |" in " ".join(describe_costs(settings, 100).split())
    table = training_costs(settings, tflops=100).set_index("training")
    expected = {"PESR start": 2, "PESR none": 2, "PESR paper": 2, "PESR again": 0}
    expected |= {"PESR Figure 5": 3, "all": 9}
    assert table["trainings"].to_dict() == expected
    assert (table["steps each"]["PESR start"], table["steps each"]["PESR paper"]) == (7 * 25, 7 * 8)
    assert table["PFLOP in all"]["all"] == pytest.approx(table["PFLOP in all"].drop("all").sum())
    assert table["hours in all"]["all"] == pytest.approx(table["PFLOP in all"]["all"] * 1e15 / 100e12 / 3600)
