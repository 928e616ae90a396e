"""README: its numbers stand in committed files, its code runs, and the Chinese one keeps in step with it."""

import re

import pandas as pd
import pytest
import torch
from tiny_project import ROOT
from torch import nn

from masksr import params
from masksr.results.intervals import effect

ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
NUMBER = r"(?<![\d.])\d[\d,]*(?:\.\d+)?(?![\d.]*\d)"
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(text: str) -> list[tuple[str, str]]:
    """(heading, what stands under it), without code of languages, whose # are no headings."""
    parts = re.split(r"^(#+ .*)$", BLOCK.sub("", text), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def commands(text: str) -> list[str]:
    """The lines of code up to a comment, which two spaces precede; of the drawing the names of files."""
    lines = [line.strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += re.findall(r"^    +(\S.*)$", text, flags=re.MULTILINE)
    code = [re.split(r" {2,}", line)[0] for line in lines if line]
    return [" ".join(re.findall(r"[\w<>…/.]*[_…/.►]\S*", line)) if "►" in line else line for line in code]


def facts(text: str) -> dict[str, object]:
    """What a translation must not change; a value that changed in one language alone shows here."""
    links = set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"}
    marks = [len(re.findall(mark, text, flags=re.MULTILINE)) for mark in (r"^\|", r"^- ", r"^\d+\. ")]
    numbers, code = set(re.findall(r"\d+(?:[.,]\d+)*", text)), set(re.findall(r"`([^`\n]+)`", text))
    return {"commands": commands(text), "links": links, "lists": marks, "numbers": numbers, "code": code}


def test_they_have_the_same_sections_with_the_same_facts() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    for (heading, english), (other, chinese) in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        assert heading.count("#") == other.count("#")
        assert facts(english) == facts(chinese), f"{heading!r} of README.md, {other!r} of README.zh.md"


def test_the_mask_in_a_loop_of_ones_own_is_code_that_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", ENGLISH, flags=re.MULTILINE | re.DOTALL)
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(3, 3, 3, padding=1))
    discriminator = nn.Sequential(nn.Conv2d(3, 1, 4, stride=4), nn.Flatten(), nn.Linear(16, 1))
    names = {"generator": generator, "discriminator": discriminator}
    names |= {f"optimizer_{n[0]}": torch.optim.Adam(network.parameters()) for n, network in names.items()}
    convolutions = generator[1], discriminator[0]
    before = [convolution.weight.clone() for convolution in convolutions]
    exec(code, names | {"batches": [(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)) for _ in range(3)]})
    assert not any(torch.equal(old, new.weight) for old, new in zip(before, convolutions, strict=True))


def test_its_other_numbers_stand_in_committed_files() -> None:
    speed = ENGLISH[ENGLISH.index("## How fast it is") : ENGLISH.index("## How the parts fit")]
    files = [ROOT / "benchmarks/results/cpu.md", ROOT / "docs/gpu.md"]
    measured = re.findall(NUMBER, " ".join(file.read_text(encoding="utf-8") for file in files))
    values = [float(number.replace(",", "")) for number in measured]
    for cell in re.findall(r"(?<=[|;]) ([\d.,]+)(?: s)?(?= [|;])|(\d+)(?= ms)", speed):
        number = "".join(cell).replace(",", "")
        rounding = 0.5001 * 10 ** -len(number.partition(".")[2])
        assert any(abs(value - float(number)) <= rounding for value in values), number
    models = params.load(ROOT / "params.yaml")
    steps = [model.gan.epochs * models.train.steps_per_epoch for model in models.models.values()]
    assert f"{min(steps)} to {max(steps)} steps" in ENGLISH
    idea = (ROOT / "results/mini/idea.ipynb").read_text(encoding="utf-8")
    assert "from an error of 1.6 grey levels on" in idea and "it has reached 0.501 at" in idea


@pytest.mark.parametrize(("profile", "planned"), [("real", 4), ("real_pesr", 6)])  # comparisons, held together
def test_its_table_of_real_has_the_numbers_of_the_results(profile: str, planned: int) -> None:
    images = pd.read_csv(ROOT / f"results/{profile}/quality.csv", keep_default_na=False)
    for (model, name), cell in images.query("model not in ('HR', 'bicubic')").groupby(["model", "set"]):
        scores = cell.pivot(index="image", columns=["mask", "seed"], values=["pi", "niqe"]).sort_index(axis=1)
        masks = {"letter", "relative"}.intersection(cell["mask"])
        changes = {(of, mask): scores[of, mask] - scores[of, "none"] for of in ("pi", "niqe") for mask in masks}
        found = {key: effect(change.to_numpy().T, 1 - 0.05 / planned) for key, change in changes.items()}
        words = {key: f"{e.mean:+.2f} ({e.low:+.2f} to {e.high:+.2f})" for key, e in found.items()}
        (row,) = [line for line in ENGLISH.splitlines() if line.startswith(f"| {model.upper()}, {name}")]
        assert f"| {words['pi', 'letter']} | {words['niqe', 'letter']} |" in row
        low = found["pi", "letter"].low
        assert (f"more than {-low:.2f} is excluded" if low < 0 else "| worse") in row
        if "relative" in masks:
            pi, niqe = found["pi", "relative"], found["niqe", "relative"]
            assert f"{pi.mean:+.2f} ({name})" in ENGLISH and f"{-pi.low:.2f}" in ENGLISH
            assert niqe.low < 0 or f"{niqe.mean:+.2f}, {niqe.low:+.2f} to {niqe.high:+.2f}" in ENGLISH


@pytest.mark.parametrize("model", ["esrgan", "pesr", "edsr"])
def test_a_plain_gan_of_mini_ends_below_bicubic_and_its_pretrained_generator(model: str) -> None:
    images = pd.read_csv(ROOT / "results/mini/quality.csv", keep_default_na=False)
    pi = images.groupby(["model", "mask", "set"])["pi"].mean().groupby(["model", "mask"]).mean()
    assert pi[model, "none"] < min(pi["bicubic", "none"], pi[model, "start"])
