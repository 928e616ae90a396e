"""Scores of a generator on test sets: every variant under the same protocol, one row per image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from masksr.data.bicubic import imresize
from masksr.data.images import to_image, to_tensor
from masksr.data.packs import Pack
from masksr.files import write_atomic
from masksr.models.checkpoints import load_generator
from masksr.params import Params
from masksr.paths import Paths
from masksr.quality import further
from masksr.quality.index import score_many
from masksr.quality.weights import QualityWeights, load_weights
from masksr.results.quality_table import COLUMNS
from masksr.results.tiles import upscale_tiled
from masksr.training.device import choose_device, cores, is_out_of_memory

Upscale = Callable[[Pack, int], np.ndarray]  # (pack, image number) -> (H, W, 3) uint8, four times the LR image


def with_generator(generator: nn.Module, device: torch.device) -> Upscale:
    """Super-resolution of a whole image at once, in fp32; in tiles where the device's memory does not hold that."""
    generator.to(device).eval()

    @torch.inference_mode()
    def upscale(pack: Pack, number: int) -> np.ndarray:
        lr = to_tensor(pack.lr(number, 4), generator.pixel_range)
        try:
            return to_image(generator(lr.to(device))[0].cpu(), generator.pixel_range)
        except Exception as error:  # cuDNN has errors of its own for too little memory
            if not is_out_of_memory(error):
                raise
        # Here, where the error no longer holds what the attempt had in memory.
        print(f"{device} does not hold {pack.names[number]} as a whole; it is upscaled in tiles", flush=True)
        return upscale_tiled(generator, lr)[0].permute(1, 2, 0).contiguous().numpy()

    return upscale


def with_bicubic(pack: Pack, number: int) -> np.ndarray:
    """The lower end of the scale: MATLAB's bicubic enlargement."""
    return imresize(pack.lr(number, 4), 4)


def the_truth(pack: Pack, number: int) -> np.ndarray:
    """The upper end of the scale: the HR image itself."""
    return pack.hr(number)


def evaluate(
    who: dict[str, str | int],
    upscale: Upscale,
    packs: dict[str, Pack],
    weights: QualityWeights,
    also: Sequence[further.Measure] = (),
) -> pd.DataFrame:
    """Score one upscaler on every image of every set: a table with ``COLUMNS``, and one more for each of ``also``.

    who: what stands in the columns model, mask and seed. Images are scored on all cores.
    """
    rows = []
    workers = cores()
    at_once = 8 * workers  # bounded: images of 2K are 10 MB each
    for name, pack in packs.items():
        numbers = range(len(pack))
        for first in tqdm(range(0, len(numbers), at_once), desc=f"{who['model']}, {name}", leave=False):
            chunk = numbers[first : first + at_once]
            images = [upscale(pack, number) for number in chunk]
            references = [pack.hr(number) for number in chunk]
            found = measured(images, references, weights, workers, also)
            rows += [
                who | {"set": name, "image": pack.names[number]} | values
                for number, values in zip(chunk, found, strict=True)
            ]
    return pd.DataFrame(rows)[[*COLUMNS, *(measure.name for measure in also)]]


def measured(
    images: list[np.ndarray],
    references: list[np.ndarray] | None,
    weights: QualityWeights,
    workers: int,
    also: Sequence[further.Measure] = (),
) -> list[dict[str, Any]]:
    """``score_many`` and ``also`` of each image, by column; without references the measures that compare are NaN."""
    rows = [asdict(score) for score in score_many(images, references, weights, workers)]
    for measure in also:
        for row, image, reference in zip(rows, images, references or repeat(None), strict=False):
            possible = reference is not None or not measure.compares
            row[measure.name], problem = measure(image, reference) if possible else (float("nan"), None)
            row["problem"] = "; ".join(filter(None, [row["problem"], problem])) or None
    return rows


def evaluate_generator(params: Params, paths: Paths, folder: Path, model: str, mask: str, seed: int) -> pd.DataFrame:
    """Score the generator in ``folder`` and write quality.csv beside it."""
    device = choose_device(params.train.device)
    upscale = with_generator(load_generator(folder / "generator.safetensors"), device)
    also = further.load(params.measures.also, device)
    table = evaluate({"model": model, "mask": mask, "seed": seed}, upscale, *_protocol(params, paths), device, also)
    write_quality(table, folder / "quality.csv")
    return table


def evaluate_ends(params: Params, paths: Paths) -> pd.DataFrame:
    """Score what the variants are compared with: HR, bicubic, and each model before its GAN training."""
    device = choose_device(params.train.device)

    def upscalers() -> Iterator[tuple[str, str, int, Upscale]]:
        yield "HR", "none", 0, the_truth
        yield "bicubic", "none", 0, with_bicubic
        for model in params.table1.models:
            for seed in params.table1.seeds:
                start = load_generator(paths.start(model, seed) / "generator.safetensors")
                yield model, "start", seed, with_generator(start, device)

    protocol, also = _protocol(params, paths), further.load(params.measures.also, device)
    tables = [
        evaluate({"model": model, "mask": mask, "seed": seed}, upscale, *protocol, also)
        for model, mask, seed, upscale in upscalers()
    ]
    table = pd.concat(tables, ignore_index=True)
    write_quality(table, paths.ends / "quality.csv")
    return table


def write_quality(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    write_atomic(path, table.to_csv(index=False, float_format="%.10g").encode())
    return table


def describe_test_sets(params: Params, paths: Paths) -> pd.DataFrame:
    """A row for each test set: what it is, how many images, how many pixels, whose LR images."""
    rows = []
    for name in params.data.test:
        manifest = (pack := Pack(paths.set(name))).manifest
        megapixels = sum(image.height * image.width for image in manifest.images) / 1e6
        official = [gap for image in manifest.images if (gap := image.lr["lr_x4"]) != "masksr"]
        rows.append(
            {"set": name, "what": manifest.title, "images": len(pack), "HR megapixels": round(megapixels, 2)}
        )
        rows[-1] |= {
            "cut to multiples of 4": sum(image.cut for image in manifest.images),
            "official LR images": len(official),
            "levels they are from ours, at most": max(official, default=None),
            "digest": pack.digest[:12],
        }
    return pd.DataFrame(rows)


def _protocol(params: Params, paths: Paths) -> tuple[dict[str, Pack], QualityWeights]:
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    return packs, load_weights(paths.weights / "quality")
