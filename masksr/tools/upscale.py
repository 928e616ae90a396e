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
from masksr.errors import MasksrError
from masksr.fetch.weights import find_pretrained
from masksr.files import user_path
from masksr.models.checkpoints import MODELS, load_generator
from masksr.paths import Paths, data_folder
from masksr.results.tiles import OVERLAP, TILE, check_tiles, upscale_tiled
from masksr.tools.photo import Photo, Pixels, find_photos, read_photo, write_photo
from masksr.tools.pretrained import load_pretrained, published_as
from masksr.training.device import autocast, choose_device, describe_device, make_deterministic


def upscale_photo(
    photo: Photo, generator: nn.Module, *, tile: int = TILE, overlap: int = OVERLAP, title: str | None = None
) -> Photo:
    """Upscale a picture by ``generator.scale``, on the generator's device; tiles and errors: see ``upscale_tiled``.

    The network sees colours, transparent ones too. Of grey it sees three equal channels, and the mean of those that
    it gives is grey again. Transparency is enlarged by Pillow's bicubic. The colour profile stays.
    """
    levels = photo.levels
    lr = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / (levels / generator.pixel_range)
    lr = lr.expand(-1, 3, -1, -1)
    sr = upscale_tiled(generator, lr, tile=tile, overlap=overlap, levels=levels, title=title)
    pixels = sr[0].permute(1, 2, 0).numpy()
    if photo.pixels.shape[2] == 1:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32, keepdims=True)).astype(pixels.dtype)
    alpha = None if photo.alpha is None else _enlarge(photo.alpha, generator.scale)
    return Photo(pixels, alpha, photo.profile)


def _enlarge(alpha: Pixels, scale: int) -> Pixels:
    height, width = alpha.shape
    large = Image.fromarray(alpha.astype(np.float32)).resize(
        (scale * width, scale * height), Image.Resampling.BICUBIC
    )
    return np.rint(np.asarray(large).clip(0, np.iinfo(alpha.dtype).max)).astype(alpha.dtype)


def plan(pictures: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Which PNG in ``out`` each picture becomes. Raises MasksrError where one would replace another or a picture."""
    if out.exists() and not out.is_dir():
        raise MasksrError(f"{out} is a file; name a folder with -o")
    stems = Counter(picture.stem.casefold() for picture in pictures)  # some file systems know no upper case
    originals = {picture.resolve() for picture in pictures}
    targets: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for picture in pictures:
        stem = picture.stem if stems[picture.stem.casefold()] == 1 else picture.name  # a.jpg beside a.png
        target = targets[picture] = out / f"{stem}.png"
        other = taken.setdefault(target.name.casefold(), picture)
        if other != picture:
            raise MasksrError(f"{other} and {picture} would both become {target}; use a different -o for each")
        if target.resolve() in originals:
            raise MasksrError(f"{picture} would be written to {target}, over a picture to upscale; use another -o")
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
    """``masksr upscale``: upscale pictures into ``out`` as NAME.png, a line for each; returns the files written.

    inputs: see ``photo.find_photos``. model: ``esrgan``, ``pesr`` or ``edsr``. checkpoint: a file, or the name of
    one in data/registry.yaml; None: what the current profile trained with the paper's mask and seed 0. res_scale:
    see ``load_pretrained``. What is in ``out`` stays unless ``overwrite``. With a file for checkpoint, no project
    is needed. The same generator and tiles on the same machine give the same bytes. Raises MasksrError before
    anything is computed where an argument is wrong; and at the end, about the pictures that failed.
    """
    if model not in MODELS:
        raise MasksrError(f"--model {model}: choose from {', '.join(MODELS)}")
    check_tiles(tile, overlap)
    targets = plan(find_photos(inputs), out)  # before a checkpoint is loaded, or downloaded
    try:
        where = choose_device(device)
    except MasksrError:
        raise MasksrError(f"--device {device}: not available on this machine; use auto or cpu") from None
    make_deterministic(where)
    path, generator = find_generator(model, checkpoint, res_scale)
    print(f"{path}: x{generator.scale}, {precision} on {describe_device(where)}", flush=True)
    generator.to(where, memory_format=torch.channels_last).eval()  # CPU, bf16: twice as fast; fp32: 10 to 25 %
    written, problems = [], []
    for number, (picture, target) in enumerate(targets.items(), start=1):
        count = f"[{number}/{len(targets)}]"
        if target.exists() and not overwrite:
            print(f"{count} {picture}: {target} exists and is kept (--overwrite replaces it)", flush=True)
            continue
        begin = time.monotonic()
        try:
            photo = read_photo(picture)
            with autocast(where, precision)():
                sr = upscale_photo(photo, generator, tile=tile, overlap=overlap, title=f"{count} {picture.name}")
            write_photo(target, sr)
        except MasksrError as problem:  # the others may be in order
            print(f"{count} {picture}: failed", flush=True)
            problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
            continue
        written.append(target)
        height, width = photo.pixels.shape[:2]
        seconds = time.monotonic() - begin
        note = "; 16 bits, without its colour profile" if sr.profile and sr.levels > 255 else ""
        print(f"{count} {target}: {width} x {height}, x{generator.scale}, {seconds:.1f} s{note}", flush=True)
    if problems:
        raise MasksrError("\n  ".join([f"{len(problems)} of {len(targets)} pictures failed:", *problems]))
    return written


def find_generator(model: str, checkpoint: str | None, res_scale: float | None) -> tuple[Path, nn.Module]:
    """The file and the network that the arguments of ``run`` mean."""
    if checkpoint is None:
        if res_scale is not None:
            raise MasksrError("--res-scale is for a --checkpoint; what is trained here says all its sizes")
        settings = params.load()
        path = Paths.of(settings).variant(model, "paper", 0) / "generator.safetensors"
        if not path.is_file():
            raise MasksrError(
                f"the profile {settings.profile} has no trained {model} yet ({path}); train it with `make repro`, "
                "or name other weights with --checkpoint"
            )
        return path, load_generator(path)
    folder = None
    if not user_path(checkpoint).is_file():  # a name: of the project's registry, perhaps in its data folder
        spec = published_as(checkpoint, model)
        res_scale = spec.res_scale if spec and res_scale is None else res_scale
        folder = data_folder(params.load())
    path = find_pretrained(checkpoint, folder)
    return path, load_pretrained(path, MODELS[model], res_scale=res_scale)
