"""The benchmark compares equal steps, all of it runs, and its report keeps its form."""

from __future__ import annotations

import json
import mmap
import os
import time
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from benchmarks import __main__ as command
from benchmarks import (
    machine,
    mask,
    ours,
    patches,
    pipeline,
    profiles,
    quality,
    report,
    run,
    scaling,
    steps,
    timing,
    upscale,
)
from benchmarks.profiles import TITLES, Case
from benchmarks.reference_steps import STEPS, Networks, PublicTraining, as_published
from benchmarks.report import Row, Table
from benchmarks.timing import Spread, Timing, Variant
from masksr.models import EDSR, PESR, RRDBNet, SRGANDiscriminator, VGGStyleDiscriminator, random_vgg19
from masksr.params import Mask
from masksr.training.steps import adversarial_step

FP32 = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
CASE = {model: Case(model, 16, 2, tiny=True) for model in TITLES}


# ---- The reference is the same step ----------------------------------------------------------------------------------


def networks(model: str) -> Networks:
    torch.manual_seed(0)
    generator, discriminator = {
        "esrgan": (lambda: RRDBNet(8, 1, 4), VGGStyleDiscriminator),
        "pesr": (lambda: PESR(1, 8, 0.1), SRGANDiscriminator),
        "edsr": (lambda: EDSR(1, 8, 0.1, 4), SRGANDiscriminator),
    }[model]
    loss = profiles.paper().models[model].loss
    return Networks(generator(), discriminator(4, 64), random_vgg19(0.0625, seed=0), loss)


def batch(pixel_range: float) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    lr, hr = (torch.rand(3, 3, side, side, generator=rng) * pixel_range for side in (16, 64))
    return lr, hr


class Recorder:
    """An optimiser that takes no step but keeps the gradients it would have used."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def zero_grad(self) -> None:
        self.network.zero_grad()

    def step(self) -> None:
        named = self.network.named_parameters()
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("model", TITLES)
def test_the_public_step_has_masksrs_losses_and_gradients(model: str, precision: torch.dtype, close: float) -> None:
    ours, public = networks(model), networks(model)
    for n in (ours, public):
        for network in (n.generator, n.discriminator, n.vgg):
            network.to(precision)
    as_published(model, public)
    lr, hr = (images.to(precision) for images in batch(ours.generator.pixel_range))
    options = {"loss": ours.loss, "mask": Mask(kind="none"), "pixel_range": ours.generator.pixel_range}
    found = adversarial_step(ours.generator, ours.discriminator, ours.vgg, lr, hr, **options, autocast=FP32)
    recorders = Recorder(public.generator), Recorder(public.discriminator)
    losses = STEPS[model](public, lr, hr, *recorders)

    for name in ("loss_g", "loss_d"):
        assert losses[name] == pytest.approx(found[name].item(), rel=close)
    for name in {"l1", "vgg54", "gan", "tv"} & set(found):
        assert losses[name] == pytest.approx(getattr(ours.loss, name) * found[name].item(), rel=close)
    for network, recorder in zip((ours.generator, ours.discriminator), recorders, strict=True):
        mine = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
        whole, other = (torch.cat([g[name].flatten() for name in mine]) for g in (mine, recorder.gradients))
        assert (whole - other).norm() <= close * other.norm()


def test_the_public_steps_do_the_superfluous_work() -> None:
    counts = {}
    for model in TITLES:
        public, calls = networks(model), []
        public.discriminator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        before = [p.clone() for p in public.generator.parameters()]
        training = PublicTraining(model, public, 1e-4, ema=0.999)
        training.step(*batch(public.generator.pixel_range))
        counts[model] = len(calls)
        assert any(p.grad is not None for p in public.vgg.parameters()) == (model == "pesr")
        triples = zip(before, public.generator.parameters(), training.average.parameters(), strict=True)
        for old, new, mean in triples:
            torch.testing.assert_close(mean, 0.999 * old + 0.001 * new)
    assert counts == {"esrgan": 5, "pesr": 4, "edsr": 3}


def test_masksrs_step_trains_and_counts_fewer_operations() -> None:
    found = steps.measure(CASE["pesr"], "cpu", quick=True)
    assert set(found.timing.seconds) == {"public", "fp32", "bf16"}
    assert 0 < found.flop["fp32"] == found.flop["bf16"] < found.flop["public"]
    assert steps.peak_memory(CASE["esrgan"], "cpu", "bf16") >= 0


# ---- Timing ----------------------------------------------------------------------------------------------------------


def test_variants_take_turns_and_the_warm_up_is_not_counted() -> None:
    seen: list[str] = []
    variants = {name: Variant(partial(seen.append, name), calls=2, before=partial(seen.append, "-")) for name in "ab"}
    found = timing.interleaved(variants, rounds=3, warm_up=1)
    assert "".join(seen) == "-aa-bb" * 4
    assert [len(found.seconds[name]) for name in "ab"] == [3, 3]


def test_a_ratio_is_taken_round_by_round() -> None:
    found = Timing({"slow": [2.0, 20.0, 6.0], "fast": [1.0, 10.0, 2.0]})  # the machine was busy in the second round
    assert found.ratio("slow", "fast") == Spread(2.0, 2.0, 2.5)
    assert Spread.of([4.0]) == Spread(4.0, 4.0, 4.0)


def test_seconds_are_those_of_a_call() -> None:
    found = timing.interleaved({"nap": Variant(partial(time.sleep, 0.01), calls=3)}, rounds=2)
    assert found.of("nap").median == pytest.approx(0.01, rel=0.9)


def test_memory_is_that_of_this_process() -> None:
    before = timing.memory(peak=False)
    with mmap.mmap(-1, 50_000_000) as block:  # not what the process has and could use again
        block.write(b"1" * 50_000_000)
        assert 0 < before < timing.memory(peak=False) <= timing.memory(peak=True)


def test_a_child_is_another_process() -> None:
    found = timing.in_children(os.getenv, ["PATH", "NO_SUCH_NAME"], at_once=1)
    assert found == {"PATH": os.environ["PATH"], "NO_SUCH_NAME": None}
    assert timing.in_child(os.getpid) != os.getpid()


# ---- Everything runs, with tiny networks and pictures ----------------------------------------------------------------


def test_scaling() -> None:
    by_patch, by_batch = scaling.tables("cpu", quick=True)
    flop = [row.cells["GFLOP"] for row in (*by_patch.rows, *by_batch.rows)]
    assert flop[1] / flop[0] == pytest.approx((24 / 16) ** 2, rel=0.01)
    assert flop[3] / flop[2] == pytest.approx(3 / 2, rel=0.01)


def test_the_mask_is_compared_with_the_plain_step() -> None:
    (table,) = mask.tables("cpu", quick=True)
    assert [row.cells["mask"] for row in table.rows][:2] == ["none", "equation 8"]
    assert table.rows[0].cells["times the plain step"] == Spread(1.0, 1.0, 1.0)


def test_masksrs_steps_see_other_patches_each_time() -> None:
    seen = []
    case = CASE["pesr"]
    take = ours.step(case, ours.networks(case), "cpu", precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "take_step", lambda _, __, lr, hr, number: seen.append((number, lr.float().mean().item())))
        take()
        take()
    assert [number for number, _ in seen] == [0, 1] and seen[0][1] != seen[1][1]


def test_patches() -> None:
    against_png, by_size = patches.tables(quick=True)
    assert against_png.rows[0].cells["ratio"].median > 0
    assert [row.cells["HR patch"] for row in by_size.rows] == ["64 x 64", "128 x 128"]


def test_quality_against_pyiqa() -> None:
    against, by_size, whole_set = quality.tables(quick=True)
    assert float(against.rows[0].cells["PI differs by"]) < 1e-6
    assert len(by_size.rows) == 2
    assert whole_set.rows[0].cells["images a second"] > 0


def test_upscaling() -> None:
    (table,) = upscale.tables("cpu", quick=True)
    assert all(row.cells["GFLOP"] > 0 for row in table.rows)


def test_upscaling_compares_equal_pictures() -> None:
    network, lr = upscale._network("cpu", quick=True), upscale._lr(20, 30)
    whole, tiled = (work.int() for work in (upscale.whole(network, lr), upscale.tiled(network, lr, "fp32")))
    assert whole.shape == (1, 3, 80, 120) and (whole - tiled).abs().max() <= 1


def test_a_pipeline_that_is_not_up_to_date_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_run", lambda *_: None)
    monkeypatch.setattr(pipeline, "_why_not_done", lambda _: "it is not up to date")
    (table,) = pipeline.tables(quick=True)
    assert "it is not up to date" in table.note
    assert not any("dvc" in row.cells["command"] for row in table.rows)
    monkeypatch.setattr(pipeline, "_why_not_done", lambda _: None)
    (table,) = pipeline.tables(quick=True)
    assert table.rows[-1].cells["command"] == "dvc repro, nothing to do" and table.rows[-1].cells["met"] is True


def test_hours_of_the_profile_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {model: profiles.recipe(case) for model, case in CASE.items()}
    paper = profiles.paper()
    tables = {"models": ["esrgan", "edsr"], "masks": ["none"]}
    tiny = paper.model_copy(update={"models": models, "table1": paper.table1.model_copy(update=tables)})
    monkeypatch.setattr(profiles, "paper", lambda: tiny)
    table = scaling.paper_profile({model: {"fp32": 1e12, "bf16": 4e12} for model in TITLES})
    names = ["ESRGAN start", "ESRGAN none", "ESRGAN Figure 5", "EDSR start", "EDSR none"]
    assert [row.cells["training"] for row in table.rows] == names
    for row in table.rows:
        cells = row.cells
        assert cells["fp32 hours each"] == pytest.approx(cells["fp32 s per step"] * cells["steps"] / 3600)
        assert cells["fp32 hours each"] == pytest.approx(4 * cells["bf16 hours each"])


def test_the_machine_says_what_it_is() -> None:
    about = machine.describe("cpu")
    assert about["cores"] >= 1 and about["torch"] == torch.__version__.split("+")[0]
    speeds = machine.peaks("cpu", seconds=0)
    assert set(speeds) == {"fp32", "bf16"} and all(speed > 0 for kinds in speeds.values() for speed in kinds.values())


# ---- The report ------------------------------------------------------------------------------------------------------

FOUND = report.document(
    "python -m benchmarks",
    {"cpu": "abacus", "gpu": None, "peak GFLOP/s": {"fp32": {"conv": 87.54}}},
    [
        Table(
            "Steps",
            "What it means.",
            [
                Row({"step": "A", "s": 1234.5, "ratio": Spread(2.0, 1.5, 2.25), "met": True, "no": None}, {"a": [1.0]}),
                Row({"step": "B", "s": 0.00012345, "met": False, "images": 12000}),
            ],
        ),
        Table("Nothing", "It could not be measured."),
    ],
)  # fmt: skip


def test_the_form_of_the_markdown() -> None:
    assert report.as_markdown(FOUND) == (
        "`python -m benchmarks`\n\ncpu abacus; peak GFLOP/s fp32 conv 87.5\n\n"
        "### Steps\n\n"
        "| step | s | ratio | met | images |\n"
        "| :-- | --: | --: | --: | --: |\n"
        "| A | 1,230 | 2 (1.5 – 2.25) | yes |  |\n"  # noqa: RUF001
        "| B | 0.000123 |  | **no** | 12,000 |\n\n"
        "What it means.\n\n"
        "### Nothing\n\n"
        "It could not be measured.\n"
    )


def test_the_form_of_the_json() -> None:
    read = json.loads(report.as_json(FOUND))
    assert read == FOUND and read["format"] == 1
    row = read["tables"][0]["rows"][0]
    assert row["cells"]["ratio"] == {"median": 2.0, "quartiles": [1.5, 2.25]} and row["seconds"] == {"a": [1.0]}


def test_targets() -> None:
    assert report.met(1.2) is None
    assert report.met(1.2, at_least=1.15) is True and report.met(1.1, at_least=1.15) is False
    assert report.met(2.0, at_most=3.0) is True and report.met(4.0, at_most=3.0) is False


def test_the_command_writes_both_files_and_prints_the_table(tmp_path, capsys, monkeypatch) -> None:
    asked = []

    def measured(only, device, *, quick):
        asked.append((only, device, quick))
        return {"cpu": "abacus"}, [Table("Patches", "Fast.", [Row({"a second": 1e4})])]

    monkeypatch.setattr(run, "run", measured)
    arguments = ["--quick", "--only", "patches,scaling", "-o", str(tmp_path / "new" / "abacus")]
    assert command.main(arguments) == 0
    assert asked == [(("patches", "scaling"), "cpu", True)]
    written = (tmp_path / "new" / "abacus.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    assert written.startswith("`python -m benchmarks --device cpu --quick --only patches,scaling`")
    assert json.loads((tmp_path / "new" / "abacus.json").read_text(encoding="utf-8"))["machine"]["cpu"] == "abacus"


def test_one_section_measured_anew_replaces_itself_alone(tmp_path, capsys, monkeypatch) -> None:
    def command_finds(machine: str, **seconds: float) -> int:
        tables = [Table(title, "", [Row({"s": value})]) for title, value in seconds.items()]
        monkeypatch.setattr(run, "run", lambda *_, quick: ({"cpu": machine, "minutes": 1.0}, tables))
        return command.main(["--only", "patches", "-o", str(tmp_path / "here")])

    def found() -> dict[str, float]:
        tables = json.loads((tmp_path / "here.json").read_text(encoding="utf-8"))["tables"]
        return {table["title"]: table["rows"][0]["cells"]["s"] for table in tables}

    assert command_finds("abacus", Patches=1.0, Quality=2.0) == 0
    assert command_finds("abacus", Quality=3.0, Pipeline=4.0) == 0
    assert found() == {"Patches": 1.0, "Quality": 3.0, "Pipeline": 4.0}
    capsys.readouterr()
    assert command_finds("slide rule", Patches=5.0) == 1
    assert "another cpu; name other ones with -o" in capsys.readouterr().err and found()["Patches"] == 1.0


def test_a_section_that_is_none(capsys) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "step"])
    assert "there is no 'step'; there are steps, patches" in capsys.readouterr().err
