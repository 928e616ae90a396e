"""``python -m benchmarks``: masksr against public code in turns, on one thread; results as JSON and Markdown.

``benchmarks.first_gpu`` is the one for a GPU.
"""

import argparse
import os
import sys
import tempfile
from itertools import count
from pathlib import Path

# One thread: what is compared is work, and a step on several cores would measure how busy they are.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch

from benchmarks.harness import Findings, measure, race
from benchmarks.pictures import make_pack, niqe_of, picture, png_patch, pyiqa_score, random_ma
from benchmarks.steps import TITLES, WAYS, Case, make_step, networks, switch
from masksr.data.patches import PatchSampler
from masksr.quality.index import score
from masksr.quality.weights import QualityWeights

CPU = torch.device("cpu")


def steps(found: Findings, quick: bool) -> None:
    """One training step of each model, optimisers and moving average included; the public one is in fp32."""
    names = ("public, fp32", "fp32, NHWC", "bf16")
    for model in TITLES:
        case = Case(model, 16, 2, tiny=True) if quick else Case(model, 32 if model == "esrgan" else 24, 2)
        runs = {name: make_step(case, networks(case), WAYS[name], "cpu") for name in names}
        times_of = race(runs, 2 if quick else 4, before=lambda name: switch(WAYS[name], CPU))
        for (name, times), least in zip(times_of.items(), (1.15, 2.0), strict=True):
            met = None if quick else times["ratio"] >= least
            found.add("steps", f"{case}: {name}", met, **times, at_least=least)


def cut_patches(found: Findings, quick: bool) -> None:
    """Pairs of an LR-32 and an HR-128 patch; 480 x 480 are the sub-images that public code cuts beforehand."""
    with tempfile.TemporaryDirectory() as name:
        pack = make_pack(Path(name), 2 if quick else 16, 480, 480)
        sampler = PatchSampler(pack, lr_size=32, scale=4, batch=16, seed=0)
        rng, number = np.random.default_rng(0), count()
        runs = {
            "PNG": lambda: [png_patch(Path(name), pack.names[i % len(pack)], 32, rng) for i in range(16)],
            "pack": lambda: sampler.batch(next(number)),
        }
        times = race(runs, 2 if quick else 5)["pack"]
        found.add("patches", "16 of HR 128, of 480 x 480", **times)


def score_pictures(found: Findings, quick: bool) -> None:
    """PI of one picture by stock pyiqa and by masksr; Ma's forest is random, for only time and difference count."""
    with tempfile.TemporaryDirectory() as name:
        forest = random_ma(levels=9, trees=200)  # as large as the published one
        weights = QualityWeights(niqe_of(picture(512, 512)), forest, "stand-in", "stand-in")
        stock = pyiqa_score(Path(name), weights)
        for height, width in [(128, 128)] if quick else [(256, 256), (320, 480)]:
            image = picture(height, width)
            differs = abs(stock(image) - score(image, weights=weights).pi)
            runs = {"pyiqa": lambda i=image: stock(i), "masksr": lambda i=image: score(i, weights=weights)}
            times = race(runs, 1 if quick else 3, warm_up=0)["masksr"]
            found.add("quality", f"PI of {width} x {height}", differs < 1e-6, **times, differs=differs)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny networks and pictures: shows that everything runs")
    results = Path(__file__).parent / "results"
    parser.add_argument("-o", "--output", type=Path, metavar="NAME", help="for NAME.json and NAME.md")
    options = parser.parse_args(arguments)
    found = Findings(options.output or results / ("cpu-quick" if options.quick else "cpu"))
    measure(found, "cpu", seconds=0.2 if options.quick else 3.0)
    for section in (steps, cut_patches, score_pictures):
        section(found, options.quick)
    return int(bool(found.failed))


if __name__ == "__main__":
    sys.exit(main())
