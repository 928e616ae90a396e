"""Random aligned patches of a pack for training, and fixed ones for validation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masksr.data.packs import Pack
from masksr.data.share import WHOLE, Share
from masksr.errors import MasksrError

Loader = Callable[[int], tuple[Tensor, Tensor]]  # step -> uint8 LR and HR patches
MEMORY = 1 / 4  # of the free memory of a GPU that a pack may take; networks and activations need the rest


class PatchSampler:
    """Batches of random LR patches with their HR patches, each batch a pure function of (seed, step).

    The random numbers of a step come from a counter-based generator (Philox) whose key is the seed and whose
    counter begins at the step. So there is no state to save: a resumed training sees exactly the patches it
    would have seen, and steps may be taken in any order by any number of workers.

    pack: what to sample from. lr_size: sides of the LR patches in pixels; those of HR are ``scale`` times as
    long. batch: patches of a step, of which this process gets its ``share``: the processes of a training have
    different patches, and together those that one process would have. Raises MasksrError when an image is
    smaller than a patch.
    """

    def __init__(self, pack: Pack, *, lr_size: int, scale: int, batch: int, seed: int, share: Share = WHOLE) -> None:
        if lr_size < 1 or batch < 1 or seed < 0:
            raise ValueError(f"lr_size and batch must be positive, seed not negative: {lr_size}, {batch}, {seed}")
        if batch % share.shares:
            raise ValueError(f"a batch of {batch} cannot be split into {share.shares} equal shares")
        self.pack, self.share = pack, share
        self.lr_size, self.scale, self.batch_size, self.seed = lr_size, scale, batch, seed
        self._lr, self._hr = _images(pack, lr_size, scale)
        # How many places a patch has in each image, down and across.
        self._places = np.array([image.shape[:2] for image in self._lr], dtype=np.uint64) - np.uint64(lr_size - 1)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """LR and HR patches of a step: uint8 (B, 3, lr_size, lr_size) and (B, 3, lr_size * scale, lr_size * scale).

        Of each patch the image is drawn uniformly, then the place, then one of the eight flips and rotations.
        """
        drawn = self.draw(step)
        lr = np.empty((len(drawn), 3, self.lr_size, self.lr_size), np.uint8)
        hr = np.empty((len(drawn), 3, self.lr_size * self.scale, self.lr_size * self.scale), np.uint8)
        for number, (image, top, left, turn) in enumerate(drawn):
            _cut(self._lr[image], top, left, self.lr_size, turn, out=lr[number])
            _cut(self._hr[image], top * self.scale, left * self.scale, self.lr_size * self.scale, turn, out=hr[number])
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def draw(self, step: int) -> list[list[int]]:
        """(image, top, left, turn) of each of these patches: places in LR pixels, turns from 0 to 7 as of ``_cut``."""
        # The counter has four words and runs through the lowest while numbers are drawn. The step is the
        # second, so that steps never share numbers. Every process draws the whole batch: that costs
        # microseconds. Raw words instead of Generator.integers, whose algorithm numpy may change from one
        # version to the next.
        philox = np.random.Philox(key=self.seed, counter=np.array([0, step, 0, 0], dtype=np.uint64))
        words = philox.random_raw((4, self.batch_size)) >> np.uint64(32)
        image = _below(len(self._lr), words[0])
        top, left = (_below(places, w) for places, w in zip(self._places[image].T, words[1:3], strict=True))
        return self.share.of(np.stack([image, top, left, _below(8, words[3])], axis=1)).tolist()


def patch_loader(sampler: PatchSampler, device: torch.device) -> Loader:
    """The fastest way from ``sampler`` to ``device``: a GPU cuts patches itself where the pack fits into its memory,
    else the CPU does, which takes thousandths of a step. Both give the same bits.
    """
    if device.type != "cuda":
        return sampler.batch
    torch.cuda.empty_cache()  # what an earlier phase had counts as taken otherwise
    free, _ = torch.cuda.mem_get_info(device)
    fits = sampler.pack.nbytes(1) + sampler.pack.nbytes(sampler.scale) < MEMORY * free
    return ResidentPatches(sampler, device).batch if fits else sampler.batch


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


def validation_patches(pack: Pack, *, lr_size: int, scale: int, count: int) -> tuple[Tensor, Tensor]:
    """The same ``count`` patches every time, spread evenly over the images and over each of them.

    Returns uint8 tensors (count, 3, lr_size, lr_size) and (count, 3, lr_size * scale, lr_size * scale).
    Raises MasksrError when an image is smaller than a patch.
    """
    if count < 1:
        raise ValueError(f"count must be positive, not {count}")
    lr_images, hr_images = _images(pack, lr_size, scale)
    lr = np.empty((count, 3, lr_size, lr_size), np.uint8)
    hr = np.empty((count, 3, lr_size * scale, lr_size * scale), np.uint8)
    # More images than patches: every so-many-th image; fewer: each gets its share, within one.
    chosen = np.arange(count) * len(lr_images) // count
    for image in np.unique(chosen):
        numbers = np.flatnonzero(chosen == image)
        places = _grid(lr_images[image].shape[:2], lr_size, len(numbers))
        for number, (top, left) in zip(numbers, places, strict=True):
            _cut(lr_images[image], top, left, lr_size, 0, out=lr[number])
            _cut(hr_images[image], top * scale, left * scale, lr_size * scale, 0, out=hr[number])
    return torch.from_numpy(lr), torch.from_numpy(hr)


def _images(pack: Pack, lr_size: int, scale: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    lr = [pack.lr(index, scale) for index in range(len(pack))]
    for name, image in zip(pack.names, lr, strict=True):
        if min(image.shape[:2]) < lr_size:
            raise MasksrError(
                f"{pack.folder}: {name} is {image.shape[0]} x {image.shape[1]} LR pixels at x{scale}, smaller than a "
                f"patch of {lr_size} x {lr_size}; use a smaller lr_patch or a set with larger images"
            )
    return lr, [pack.hr(index) for index in range(len(pack))]


def _cut(image: NDArray[np.uint8], top: int, left: int, size: int, turn: int, *, out: NDArray[np.uint8]) -> None:
    """Write one patch of (H, W, 3) to ``out`` (3, size, size), in one of the eight orientations of a square."""
    # A compact copy first: the reordering below then reads from the cache, three times as fast for half of the turns.
    patch = np.ascontiguousarray(image[top : top + size, left : left + size])
    if turn & 4:
        patch = patch.transpose(1, 0, 2)
    if turn & 2:
        patch = patch[:, ::-1]
    if turn & 1:
        patch = patch[::-1]
    out[...] = patch.transpose(2, 0, 1)


def _below(bound: NDArray[np.uint64] | int, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Uniform integers in [0, bound) from uniform 32-bit words; the bias is below bound / 2^32."""
    return ((words * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def _grid(shape: tuple[int, ...], size: int, count: int) -> list[tuple[int, int]]:
    """``count`` places (top, left) for patches, in the middles of the cells of a grid over the image."""
    rows = min(count, max(1, round((count * shape[0] / shape[1]) ** 0.5)))
    columns = -(-count // rows)
    return [
        (
            int((shape[0] - size) * (number // columns + 0.5) / rows),
            int((shape[1] - size) * (number % columns + 0.5) / columns),
        )
        for number in range(count)
    ]
