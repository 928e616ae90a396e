"""Equations 4 to 7 by experiment: what a network answers that is trained where the classes are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masksr.argument.classes import SCALE, EquivalenceClass
from masksr.argument.errors import expected_errors

STEPS = 1500
WATCHED = (0, 3, 10, 30, 100, 300, 600, 1000)  # steps after which the answers are kept, besides the last


class Training(NamedTuple):
    """What a network answered while it was trained."""

    answers: dict[int, NDArray[np.float64]]  # by step: (C, 4h, 4w, 3), grey levels
    errors: pd.DataFrame  # of ``errors.expected_errors``, with the step
    weights: int  # numbers that were trained


def shown(training: Training) -> dict[int, NDArray[np.float64]]:
    """The answers worth a picture: the first, two on the way, the last."""
    steps = [step for step in training.answers if step in (0, 10, 100)] + [max(training.answers)]
    return {step: training.answers[step] for step in dict.fromkeys(steps)}


class _Network(nn.Module):
    """LR (B, 3, h, w) to SR (B, 3, 4h, 4w), both in [0, 1]: three convolutions on top of the enlarged pixels."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        wide = [nn.Conv2d(3, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*wide, nn.Conv2d(features, 3 * SCALE**2, 3, padding=1), nn.PixelShuffle(SCALE))
        self.enlarge = nn.Upsample(scale_factor=SCALE)

    def forward(self, lr: Tensor) -> Tensor:
        # Adam's steps have one size whatever the range; detail of a few grey levels wants smaller ones.
        return self.enlarge(lr) + 0.1 * self.body(4 * lr - 2)


def train(
    classes: Sequence[EquivalenceClass], loss: Literal["mse", "l1"] = "mse", *, steps: int = STEPS, seed: int = 0
) -> Training:
    """Train a small network on the toy world, as any SR network is: it sees each LR patch with one image at a time.

    Runs on one CPU thread: the same numbers however many the machine has. Raises ValueError for patches that differ in
    size.
    """
    if len({patch.lr.shape for patch in classes}) != 1:
        raise ValueError(f"the LR patches differ in size: {sorted({patch.lr.shape for patch in classes})}")
    lr = _tensor(np.stack([patch.lr for patch in classes]))
    members = _tensor(np.concatenate([patch.members for patch in classes]))
    counts = torch.tensor([len(patch.members) for patch in classes])
    first = counts.cumsum(0) - counts
    answers: dict[int, NDArray[np.float64]] = {}
    with _reproducible(seed):
        network = _Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps + 1):
            sr = network(lr)
            if step in WATCHED or step == steps:
                answers[step] = sr.detach().permute(0, 2, 3, 1).double().numpy() * 255
            drawn = first + (torch.rand(len(counts), dtype=torch.float64) * counts).long()
            error = sr - members[drawn]
            (error.square() if loss == "mse" else error.abs()).mean().backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    errors = [expected_errors(classes, answer).assign(step=step) for step, answer in answers.items()]
    return Training(answers, pd.concat(errors, ignore_index=True), sum(p.numel() for p in network.parameters()))


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).movedim(-1, -3).float() / 255


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
