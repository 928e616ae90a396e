"""``masksr upscale``: your own pictures, four times larger, as PNG."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from masksr import params
from masksr.data.bicubic import imresize
from masksr.errors import MasksrError
from masksr.files import user_path
from masksr.models.build import load_generator
from masksr.models.sizes import MODELS
from masksr.paths import Paths, data_folder
from masksr.results.tiles import OVERLAP, TILE, check_tiles, upscale_tiled
from masksr.tools.photo import Photo, Pixels, find_photos, read_photo, write_photo
from masksr.training import devices

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16"]


def upscale_photo(
    photo: Photo, generator: nn.Module, *, tile: int = TILE, overlap: int = OVERLAP, title: str | None = None
) -> Photo:
    """Upscale a picture by ``generator.scale``, on the generator's device; tiles and errors: see ``upscale_tiled``.

    The network sees colours, transparent ones too. Of grey it sees three equal channels, and the mean of those that it
    gives is grey again. Transparency is enlarged by MATLAB's bicubic. The colour profile stays.
    """
    levels = photo.levels
    colours = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / (levels / generator.pixel_range)
    sr = upscale_tiled(generator, colours.expand(-1, 3, -1, -1), tile=tile, overlap=overlap, levels=levels, title=title)
    pixels = sr[0].permute(1, 2, 0).numpy()
    if photo.pixels.shape[2] == 1:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32, keepdims=True)).astype(pixels.dtype)
    alpha = None if photo.alpha is None else _enlarge(photo.alpha, generator.scale)
    return Photo(pixels, alpha, photo.profile)


def plan(pictures: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Which PNG in ``out`` each picture becomes. Raises MasksrError where one would replace another or a picture."""
    if out.exists() and not out.is_dir():
        raise MasksrError(f"{out} is a file; name a folder with -o")
    stems = Counter((picture.parent, picture.stem.casefold()) for picture in pictures)
    targets = {  # a.jpg beside a.png keep their whole names
        picture: out / f"{picture.stem if stems[picture.parent, picture.stem.casefold()] == 1 else picture.name}.png"
        for picture in pictures
    }
    names: dict[str, Path] = {}
    for picture, target in targets.items():
        other = names.setdefault(target.name.casefold(), picture)  # some file systems know no upper case
        if other != picture:
            raise MasksrError(f"{other} and {picture} would both become {target}; upscale them to different folders")
    originals = {picture.resolve() for picture in pictures}
    for picture, target in targets.items():
        if target.resolve() in originals:
            raise MasksrError(f"{picture} would be written to {target}, over a picture to upscale; choose another -o")
    return targets


def upscale_files(
    inputs: Sequence[str],
    out: Path,
    generator: nn.Module,
    *,
    device: torch.device,
    precision: Precision = "fp32",
    tile: int = TILE,
    overlap: int = OVERLAP,
    overwrite: bool = False,
) -> list[Path]:
    """Upscale pictures into ``out`` as NAME.png, and say so line by line; returns the files written.

    inputs: see ``photo.find_photos``. What is in ``out`` stays unless ``overwrite``. Raises MasksrError before anything
    is computed where inputs, ``out`` or tiles cannot be right; and at the end, about the pictures that could not be
    read or upscaled, after all others were.
    """
    check_tiles(tile, overlap)
    targets = plan(find_photos(inputs), out)
    generator.to(device, memory_format=torch.channels_last).eval()  # CPU, bf16: twice as fast; fp32: 10 to 25 %
    written, problems = [], []
    for number, (picture, target) in enumerate(targets.items(), start=1):
        count = f"[{number}/{len(targets)}]"
        if target.exists() and not overwrite:
            there = f"{target} is there already, and stays (--overwrite makes it again)"
            print(f"{count} {picture}: {there}", flush=True)
            continue
        begun = time.monotonic()
        try:
            photo = read_photo(picture)
            with devices.autocast(device, precision)():
                sr = upscale_photo(photo, generator, tile=tile, overlap=overlap, title=f"{count} {picture.name}")
            write_photo(target, sr)
        except MasksrError as problem:
            print(f"{count} {picture}: failed", flush=True)
            problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
            continue
        written.append(target)
        print(f"{count} {target}: {_sides(photo)} to {_sides(sr)}, {time.monotonic() - begun:.1f} s", flush=True)
    if problems:
        raise MasksrError("\n  ".join([f"{len(problems)} of {len(targets)} pictures failed:", *problems]))
    return written


def run(
    inputs: Sequence[str],
    out: Path,
    model: str,
    *,
    checkpoint: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    tile: int = TILE,
    overlap: int = OVERLAP,
    res_scale: float | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """``masksr upscale``: see upscale_files.

    model: ``esrgan``, ``pesr`` or ``edsr``. checkpoint: a file, or the name of one in data/registry.yaml; None: what
    the current profile trained with the paper's mask and seed 0. res_scale: see ``load_pretrained``. With a file for
    checkpoint, no project is needed. The same generator and tiles on the same machine give the same bytes.
    """
    if model not in MODELS:
        raise MasksrError(f"--model {model}: there are {', '.join(MODELS)}")
    check_tiles(tile, overlap)
    plan(find_photos(inputs), out)  # before a checkpoint is loaded, or downloaded
    try:
        where = devices.choose_device(device)
    except MasksrError:
        raise MasksrError(f"--device {device}: not available on this machine; use auto or cpu") from None
    devices.make_deterministic(where)
    path, generator = _generator(model, checkpoint, res_scale)
    print(f"{path}: x{generator.scale}, {precision} on {devices.describe(where)}", flush=True)
    settings = {"device": where, "precision": precision, "tile": tile, "overlap": overlap, "overwrite": overwrite}
    return upscale_files(inputs, out, generator, **settings)


def _generator(model: str, checkpoint: str | None, res_scale: float | None) -> tuple[Path, nn.Module]:
    if checkpoint is None:
        if res_scale is not None:
            raise MasksrError("--res-scale is for a --checkpoint; what is trained here says all its sizes")
        settings = params.load()
        path = Paths.of(settings).variant(model, "paper", 0) / "generator.safetensors"
        if not path.is_file():
            raise MasksrError(
                f"the profile {settings.profile} has no trained {model} yet ({path}); train it with `make repro`, or "
                "name other weights with --checkpoint"
            )
        return path, load_generator(path)
    from masksr.fetch import find_pretrained  # here, because these import what downloads and evaluations need
    from masksr.tools.pretrained import load_pretrained, published_as

    path, folder = user_path(checkpoint), None
    if not path.is_file():  # a name: of the project's registry, perhaps in its data folder
        spec = published_as(checkpoint, model)
        res_scale = spec.res_scale if spec and res_scale is None else res_scale
        folder = data_folder(params.load())
    path = find_pretrained(checkpoint, folder)
    return path, load_pretrained(path, MODELS[model], res_scale=res_scale)


def _enlarge(alpha: Pixels, scale: int) -> Pixels:
    if alpha.dtype == np.uint8:
        return imresize(alpha, scale)
    # imresize is for 8 bits. Enlarging, Pillow's kernel is MATLAB's, but at the border it drops what lies outside.
    padded = Image.fromarray(np.pad(alpha, 2, mode="edge").astype(np.float32))
    large = np.asarray(padded.resize((scale * padded.width, scale * padded.height), Image.Resampling.BICUBIC))
    inside = large[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    return np.rint(inside.clip(0, 65535)).astype(np.uint16)


def _sides(photo: Photo) -> str:
    height, width = photo.pixels.shape[:2]
    return f"{width} x {height}"
