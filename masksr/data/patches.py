"""Random aligned patches of a pack for training, and fixed ones for validation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masksr.data.batch_share import WHOLE, Share
from masksr.data.packs import Pack
from masksr.io import MasksrError

Images = list[NDArray[np.uint8]]


class PatchSampler:
    """Batches of random LR patches with their HR patches, each batch a pure function of (seed, step).

    The random numbers of a step come from a counter-based generator (Philox) whose key is the seed and whose
    counter begins at the step. So there is no state to save: a resumed training sees exactly the patches it
    would have seen, and steps may be taken in any order by any number of workers.

    pack: what to sample from. lr_size: side of the LR patches in pixels; that of HR patches is ``scale``
    times as long. batch: patches per step, of which this process gets its ``share``; all shares together are
    what a single process would get. Raises MasksrError when an image is smaller than a patch.
    """

    def __init__(
        self, pack: Pack, *, lr_size: int, scale: int, batch: int, seed: int, share: Share = WHOLE
    ) -> None:
        self.pack, self.share = pack, share
        self.lr_size, self.scale, self.batch_size, self.seed = lr_size, scale, batch, seed
        self._lr, self._hr = _images(pack, lr_size, scale)
        # How many positions a patch can take in each image, down and across.
        sides = np.array([image.shape[:2] for image in self._lr], dtype=np.uint64)
        self._places = sides - np.uint64(lr_size - 1)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return LR and HR patches of a step: uint8 (B, 3, lr_size, lr_size) and ``scale`` times that size.

        For each patch the image is drawn uniformly, then the place, then one of eight flips and rotations.
        """
        drawn = self.draw(step)
        return _cut(self._lr, drawn, self.lr_size, 1), _cut(self._hr, drawn, self.lr_size, self.scale)

    def draw(self, step: int) -> list[list[int]]:
        """Return (image, top, left, turn) of these patches: places in LR pixels, turns as in ``_cut``."""
        # The counter has four words, and drawing numbers advances the lowest. The step is the second, so that
        # steps never share numbers. Every process draws the whole batch, which takes microseconds. Raw words
        # are used because numpy may change the algorithm of Generator.integers from one version to the next.
        philox = np.random.Philox(key=self.seed, counter=np.array([0, step, 0, 0], dtype=np.uint64))
        words = philox.random_raw((4, self.batch_size)) >> np.uint64(32)
        image = _below(len(self._lr), words[0])
        top, left = (_below(places, w) for places, w in zip(self._places[image].T, words[1:3], strict=True))
        return self.share.of(np.stack([image, top, left, _below(8, words[3])], axis=1)).tolist()


def validation_patches(pack: Pack, *, lr_size: int, scale: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the same ``count`` patches every time, spread evenly over the images and within each of them.

    Returns uint8 tensors (count, 3, lr_size, lr_size) and (count, 3, lr_size * scale, lr_size * scale).
    Raises MasksrError when an image is smaller than a patch.
    """
    lr, hr = _images(pack, lr_size, scale)
    # With more images than patches, every so-many-th image is used; with fewer, shares differ by one at most.
    chosen, shares = np.unique(np.arange(count) * len(lr) // count, return_counts=True)
    patches = []
    for image, share in zip(chosen, shares, strict=True):
        # Spread like the centres of the cells of a grid over the image.
        height, width = lr[image].shape[:2]
        rows = min(share, max(1, round((share * height / width) ** 0.5)))
        columns = -(-share // rows)
        for number in range(share):
            top = int((height - lr_size) * (number // columns + 0.5) / rows)
            left = int((width - lr_size) * (number % columns + 0.5) / columns)
            patches.append((image, top, left, 0))
    return _cut(lr, patches, lr_size, 1), _cut(hr, patches, lr_size, scale)


def _images(pack: Pack, lr_size: int, scale: int) -> tuple[Images, Images]:
    lr = [pack.lr(index, scale) for index in range(len(pack))]
    for name, image in zip(pack.names, lr, strict=True):
        if min(image.shape[:2]) < lr_size:
            size = f"{image.shape[0]} x {image.shape[1]} LR pixels at x{scale}"
            raise MasksrError(
                f"{pack.folder}: {name} is {size}, smaller than a patch of {lr_size} x {lr_size}; "
                "use a smaller lr_patch or a set with larger images"
            )
    return lr, [pack.hr(index) for index in range(len(pack))]


def _cut(images: Images, patches: Sequence[Sequence[int]], lr_size: int, scale: int) -> Tensor:
    """Cut patches (image, top, left, turn) of S = ``scale`` times ``lr_size`` pixels: uint8 (B, 3, S, S).

    top, left: in LR pixels. turn: which of the eight orientations; its bits are transpose, mirror, flip.
    """
    size = lr_size * scale
    out = np.empty((len(patches), 3, size, size), np.uint8)
    for cut, (image, top, left, turn) in zip(out, patches, strict=True):
        row, column = top * scale, left * scale
        # Copied compactly first: reordering then reads from cache, three times as fast for half of the turns.
        patch = np.ascontiguousarray(images[image][row : row + size, column : column + size])
        if turn & 4:
            patch = patch.transpose(1, 0, 2)
        if turn & 2:
            patch = patch[:, ::-1]
        if turn & 1:
            patch = patch[::-1]
        cut[...] = patch.transpose(2, 0, 1)
    return torch.from_numpy(out)


def _below(bound: NDArray[np.uint64] | int, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return uniform integers in [0, bound) from uniform 32-bit words; the bias is below bound / 2^32."""
    return ((words * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)
