"""Patches on their way to the device: cut in its own memory where the pack fits there, else read ahead of the step.

Both give, bit for bit, what ``PatchSampler.batch`` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from masksr.data.packed import Pack
from masksr.data.patches import PatchSampler

Batches = Callable[[int], tuple[Tensor, Tensor]]  # step -> uint8 LR and HR patches
SHARE = 1 / 4  # of the free memory of a GPU that a pack may take; networks and activations need the rest


def supply(sampler: PatchSampler, device: torch.device) -> Batches:
    """The fastest way from ``sampler`` to ``device``.

    A CPU cuts its patches when it needs them: that takes thousandths of a step.
    """
    if device.type == "cpu":
        return sampler.batch
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what an earlier phase had counts as taken otherwise
        free, _ = torch.cuda.mem_get_info(device)
        if sampler.pack.nbytes(1) + sampler.pack.nbytes(sampler.scale) < SHARE * free:
            return ResidentPatches(sampler, device).batch
    return ReadAhead(sampler, pin=device.type == "cuda").batch


class ResidentPatches:
    """The pack in the memory of ``device``, where patches are cut, turned and flipped; only their places go there."""

    def __init__(self, sampler: PatchSampler, device: torch.device) -> None:
        self.sampler = sampler
        self._lr, self._hr = (_Pixels(sampler.pack, scale, device) for scale in (sampler.scale, 1))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """As of PatchSampler, on the device."""
        image, top, left, turn = torch.tensor(self.sampler.draw(step)).to(self._lr.device, non_blocking=True).T
        size, scale = self.sampler.lr_size, self.sampler.scale
        lr = self._lr.cut(image, top, left, turn, size)
        return lr, self._hr.cut(image, top * scale, left * scale, turn, size * scale)


class _Pixels:
    """All images of a pack at one scale, in one tensor on the device."""

    def __init__(self, pack: Pack, scale: int, device: torch.device) -> None:
        pixels, offsets, widths = pack.flat(scale)
        self.device = device
        self.pixels = torch.from_numpy(np.array(pixels)).to(device)  # a copy: torch does not take read-only memory
        self.offsets, self.widths = (torch.tensor(numbers, device=device) for numbers in (offsets, widths))

    def cut(self, image: Tensor, top: Tensor, left: Tensor, turn: Tensor, size: int) -> Tensor:
        """(B, 3, size, size) uint8; the arguments are (B,) integers, places in pixels of this scale."""
        image, top, left, turn = (numbers.view(-1, 1, 1) for numbers in (image, top, left, turn))
        along = torch.arange(size, device=self.device)
        # Backwards through what PatchSampler does to a patch: flip the rows, flip the columns, transpose.
        row = torch.where(turn & 1 != 0, size - 1 - along, along).transpose(1, 2)  # (B, size, 1)
        column = torch.where(turn & 2 != 0, size - 1 - along, along)  # (B, 1, size)
        row, column = torch.where(turn & 4 != 0, column, row), torch.where(turn & 4 != 0, row, column)
        first = self.offsets[image] + 3 * ((top + row) * self.widths[image] + left + column)  # of the pixel's channels
        return self.pixels[first.unsqueeze(1) + torch.arange(3, device=self.device).view(1, 3, 1, 1)]


class ReadAhead:
    """The batch of the next step is cut by a thread while the device is at this one."""

    def __init__(self, sampler: PatchSampler, *, pin: bool) -> None:
        self.sampler, self.pin = sampler, pin
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._next: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """As of PatchSampler; in pinned memory, from which a copy to the GPU need not be waited for."""
        ahead = self._next
        found = ahead[1].result() if ahead and ahead[0] == step else self._make(step)
        self._next = step + 1, self._pool.submit(self._make, step + 1)
        return found

    def _make(self, step: int) -> tuple[Tensor, Tensor]:
        lr, hr = self.sampler.batch(step)
        return (lr.pin_memory(), hr.pin_memory()) if self.pin else (lr, hr)
