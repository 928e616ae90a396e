"""``masksr upscale``: your own pictures, four times larger, as PNG."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from masksr import params
from masksr.data.images import Photo, find_photos, read_photo, write_photo
from masksr.io import MasksrError
from masksr.models.build import load_generator
from masksr.paths import Paths
from masksr.results.tiles import OVERLAP, TILE, check_tiles, spans, upscale_tiled
from masksr.tools.pretrained import load_pretrained
from masksr.training.device import autocast, choose_device, describe_device, make_deterministic


def upscale_photo(
    photo: Photo, generator: nn.Module, *, tile: int = TILE, overlap: int = OVERLAP, title: str | None = None
) -> Photo:
    """Upscale a picture by ``generator.scale``, on the generator's device; otherwise as ``upscale_tiled``.

    The network sees colours, even transparent ones. It sees grey as three equal channels, and the mean of its
    output is grey again. Transparency is enlarged by Pillow's bicubic. The colour profile is kept.
    """
    levels, alpha = photo.levels, photo.alpha
    lr = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / (levels / generator.pixel_range)
    lr = lr.expand(-1, 3, -1, -1)
    sr = upscale_tiled(generator, lr, tile=tile, overlap=overlap, levels=levels, title=title)
    pixels = sr[0].permute(1, 2, 0).numpy()
    if photo.pixels.shape[2] == 1:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32, keepdims=True)).astype(pixels.dtype)
    if alpha is not None:
        size = pixels.shape[1], pixels.shape[0]
        enlarged = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        alpha = np.rint(np.asarray(enlarged).clip(0, levels)).astype(alpha.dtype)
    return Photo(pixels, alpha, photo.profile)


def plan(pictures: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Choose which PNG in ``out`` each picture becomes. Raises MasksrError where it would replace another."""
    stems = Counter(picture.stem.casefold() for picture in pictures)  # some file systems ignore case
    targets = {}
    for picture in pictures:
        unique = stems[picture.stem.casefold()] == 1
        targets[picture] = out / f"{picture.stem if unique else picture.name}.png"  # a.jpg beside a.png
    names = Counter(target.name.casefold() for target in targets.values())
    originals = {picture.parent.resolve() / picture.name for picture in pictures}
    for picture, target in targets.items():
        if names[target.name.casefold()] > 1 or out.resolve() / target.name in originals:
            raise MasksrError(f"{picture}: as {target} it would replace another picture; use another -o")
    return targets


def run(
    inputs: Sequence[str],
    out: Path,
    model: str,
    *,
    checkpoint: str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    tile: int = TILE,
    overlap: int = OVERLAP,
    res_scale: float | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """``masksr upscale``: upscale pictures into ``out`` as NAME.png, print a line for each, return the paths.

    inputs: see ``find_photos``. model: ``esrgan``, ``pesr`` or ``edsr``. checkpoint, res_scale: see
    ``load_pretrained``; without a checkpoint, what the profile trained with its first seed and the mask
    ``paper``, else its first of kind error, else any. What is in ``out`` is kept unless ``overwrite``. If
    checkpoint is a file, no project is needed. The same generator and tiles on one machine give the same
    bytes. Raises MasksrError at once where an argument is wrong; at the end, about the pictures that failed.
    """
    check_tiles(tile, overlap)
    targets = plan(find_photos(inputs), out)  # before a checkpoint is loaded, or downloaded
    where = choose_device(device)
    make_deterministic(where)
    if checkpoint:
        path, generator = load_pretrained(checkpoint, model, res_scale)
    else:
        settings = params.load()
        if model not in (ours := settings.table1.models):
            raise MasksrError(f"{settings.profile} trains {', '.join(ours)}, no {model}; name a --checkpoint")
        others = (name for name in settings.table1.masks if name != "none")
        mask = settings.judged_mask or next(others, "none")
        path = Paths.of(settings).variant(model, mask, settings.table1.seeds[0]) / "generator.safetensors"
        if not path.is_file():
            raise MasksrError(f"{path}: not trained yet; `make repro` does it, or name a --checkpoint")
        generator = load_generator(path)
    print(f"{path}: x{generator.scale}, {precision} on {describe_device(where)}", flush=True)
    generator.to(where, memory_format=torch.channels_last)  # CPU, bf16: twice as fast; fp32: 10 to 25 %
    written, problems = [], []
    for number, (picture, target) in enumerate(targets.items(), start=1):
        count = f"[{number}/{len(targets)}]"
        if target.exists() and not overwrite:
            print(f"{count} {target} exists and is kept (--overwrite replaces it)", flush=True)
            continue
        try:
            photo = read_photo(picture)
            tiles = prod(len(spans(side, tile, overlap)) for side in photo.pixels.shape[:2])
            if tiles > 1:
                sides = " x ".join(str(side * generator.scale) for side in photo.pixels.shape[1::-1])
                print(f"{count} {picture}: {sides} pixels in {tiles} tiles", flush=True)
            with autocast(where, precision)():
                sr = upscale_photo(photo, generator, tile=tile, overlap=overlap, title=count)
            write_photo(target, sr)
        except MasksrError as problem:  # the others may be fine
            problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
            continue
        written.append(target)
        note = "; 16 bits, without its colour profile" if sr.profile and sr.levels > 255 else ""
        print(f"{count} {target}: {sr.pixels.shape[1]} x {sr.pixels.shape[0]} pixels{note}", flush=True)
    if problems:
        raise MasksrError("\n  ".join([f"{len(problems)} of {len(targets)} pictures failed:", *problems]))
    return written
