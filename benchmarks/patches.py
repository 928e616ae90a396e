"""Random training patches: from a pack, and from PNG files that are decoded each time.

Public code decodes sub-images of 480 pixels that are cut beforehand (BasicSR's recipe), or whole pictures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.pictures import picture
from benchmarks.report import Row, Table, met
from benchmarks.timing import Variant, interleaved
from masksr.data.images import write_png
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler
from masksr.fetch.registry import FolderSet, Layout
from masksr.fetch.sets import build_pack

TARGET = 10_000  # HR-128 patches per second and core
BATCH = 16


def tables(quick: bool) -> list[Table]:
    """Patches per second of one core: against PNG files, and at growing sizes."""
    sizes = [(2, 256, 320)] if quick else [(16, 480, 480), (4, 1356, 2040)]
    with tempfile.TemporaryDirectory() as folder:
        packs = {Path(folder, str(n)): make_pack(Path(folder, str(n)), *size) for n, size in enumerate(sizes)}
        note = (
            "LR and HR patch together, cut and turned, on one core. Pictures lie in the system's file cache in both "
            "cases; 480 x 480 are the sub-images that public code cuts beforehand."
        )
        rows = [_against_png(pack, place, quick) for place, pack in packs.items()]
        return [Table("Patches", note, rows), _by_size(list(packs.values())[-1], quick)]


def _against_png(pack: Pack, folder: Path, quick: bool) -> Row:
    sampler, rng = PatchSampler(pack, lr_size=32, scale=4, batch=BATCH, seed=0), np.random.default_rng(0)
    found = interleaved(
        {
            "png": Variant(lambda: png_patches(folder, pack.names, 32, 2 if quick else BATCH, rng)),
            "pack": _batches(sampler, quick),
        },
        rounds=2 if quick else 4,
    )
    found.seconds["png"] = [seconds / (2 if quick else BATCH) for seconds in found.seconds["png"]]  # of a patch
    found.seconds["pack"] = [seconds / BATCH for seconds in found.seconds["pack"]]
    speed, ratio = 1 / found.of("pack").median, found.ratio("png", "pack")
    height, width = pack.hr(0).shape[:2]
    return Row(
        {
            "patches": f"HR 128 of {width} x {height}",
            "PNG a second": 1 / found.of("png").median,
            "masksr a second": speed,
            "ratio": ratio,
            "target a second": None if quick else TARGET,
            "met": None if quick else met(speed, at_least=TARGET),
        },
        found.seconds,
    )


def _by_size(pack: Pack, quick: bool) -> Table:
    sides = (16, 32) if quick else (16, 24, 32, 48, 64)
    samplers = {f"{4 * s}": PatchSampler(pack, lr_size=s, scale=4, batch=BATCH, seed=0) for s in sides}
    found = interleaved({name: _batches(sampler, quick) for name, sampler in samplers.items()}, 2 if quick else 5)
    rows = [
        Row(
            {
                "HR patch": f"{side} x {side}",
                "a second": BATCH / found.of(side).median,
                "GB a second": BATCH * 3 * int(side) ** 2 * (1 + 1 / 16) / found.of(side).median / 1e9,
            },
            {side: found.seconds[side]},
        )
        for side in samplers
    ]
    return Table("Patches by size", f"Batches of {BATCH} from the pack, on one core.", rows)


def _batches(sampler: PatchSampler, quick: bool) -> Variant:
    steps = iter(range(10**9))
    return Variant(lambda: sampler.batch(next(steps)), calls=2 if quick else 100)


def png_patches(folder: Path, names: list[str], lr_size: int, count: int, rng: np.random.Generator) -> list[Tensor]:
    """``count`` pairs of patches, LR and HR in turns, (3, size, size) uint8; both pictures are opened for each pair."""
    patches = []
    for _ in range(count):
        name = names[rng.integers(len(names))]
        lr, hr = (np.asarray(Image.open(folder / kind / f"{name}.png").convert("RGB")) for kind in ("lr", "hr"))
        top, left = (int(rng.integers(side - lr_size + 1)) for side in lr.shape[:2])
        flips = rng.integers(0, 2, 3)
        for image, scale in ((lr, 1), (hr, 4)):
            size = lr_size * scale
            patch = image[top * scale : top * scale + size, left * scale : left * scale + size]
            patch = patch[:, ::-1] if flips[0] else patch
            patch = patch[::-1] if flips[1] else patch
            patch = patch.transpose(1, 0, 2) if flips[2] else patch
            patches.append(torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1))))
    return patches


def make_pack(folder: Path, images: int, height: int, width: int) -> Pack:
    """A pack in ``folder``/pack of pictures that lie beside it as PNG files, in hr and lr."""
    for number in range(images):
        write_png(folder / f"hr/{number}.png", picture(height, width, number))
    about = {"name": "benchmark", "title": "Photographs", "role": "train", "cite": "-", "licence": "-", "homepage": "-"}
    spec = FolderSet(**about, kind="folder", images=images, layouts=[Layout(hr="hr/{name}.png")])
    pack = build_pack(spec, folder / "pack", data_folder=folder)
    for number, name in enumerate(pack.names):
        write_png(folder / f"lr/{name}.png", np.ascontiguousarray(pack.lr(number)))
    return pack
