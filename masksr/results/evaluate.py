"""Scores of a generator on test sets: every variant under the same protocol, one row per image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from masksr.data.packed import Pack
from masksr.files import write_atomic
from masksr.models.build import load_generator
from masksr.params import Params
from masksr.paths import Paths
from masksr.quality import Score, further, score_many
from masksr.quality.weights import QualityWeights, load_weights
from masksr.results import records
from masksr.results.scores import COLUMNS
from masksr.results.tiles import upscale_tiled
from masksr.training import devices

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
            if not devices.is_out_of_memory(error):
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
    device: torch.device | None = None,
    also: Sequence[further.Measure] = (),
) -> pd.DataFrame:
    """Score one upscaler on every image of every set: a table with ``COLUMNS``, and one more for each of ``also``.

    who: what stands in the columns model, mask and seed. device: on cuda images are scored there, in batches; else on
    all cores, which is faster than torch on a CPU.
    """
    rows = []
    workers, on_gpu = devices.cores(), device is not None and device.type == "cuda"
    at_once = 64 if on_gpu else 8 * workers  # bounded: images of 2K are 10 MB each
    for name, pack in packs.items():
        numbers = range(len(pack))
        for first in tqdm(range(0, len(numbers), at_once), desc=f"{who['model']}, {name}", leave=False):
            chunk = numbers[first : first + at_once]
            images = [upscale(pack, number) for number in chunk]
            references = [pack.hr(number) for number in chunk]
            found = measured(images, references, weights, workers, device if on_gpu else None, also)
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
    device: torch.device | None,
    also: Sequence[further.Measure] = (),
) -> list[dict[str, Any]]:
    """``scores`` and ``also`` of each image, by column; without references the measures that compare are NaN."""
    rows = [asdict(score) for score in scores(images, references, weights, workers, device)]
    for measure in also:
        for row, image, reference in zip(rows, images, references or repeat(None), strict=False):
            possible = reference is not None or not measure.compares
            row[measure.name], problem = measure(image, reference) if possible else (float("nan"), None)
            row["problem"] = "; ".join(filter(None, [row["problem"], problem])) or None
    return rows


def scores(
    images: list[np.ndarray],
    references: list[np.ndarray] | None,
    weights: QualityWeights,
    workers: int,
    device: torch.device | None,
) -> list[Score]:
    """``score_many`` on the GPU ``device``, or where its memory does not hold that, or there is none, on all cores."""
    if device is not None:
        torch.cuda.empty_cache()  # what the generator had counts as taken otherwise
        try:
            return score_many(images, references, weights, workers, device)
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            print(f"{device} is too small to score these images; they are scored on the CPU", flush=True)
    return score_many(images, references, weights, workers)


def evaluate_generator(params: Params, paths: Paths, folder: Path, model: str, mask: str, seed: int) -> pd.DataFrame:
    """Score the generator in ``folder`` and write quality.csv beside it."""
    inputs = _inputs(params, paths, [folder])
    device = devices.choose_device(params.train.device)
    upscale = with_generator(load_generator(folder / "generator.safetensors"), device)
    also = further.load(params.measures.also, device)
    table = evaluate({"model": model, "mask": mask, "seed": seed}, upscale, *_protocol(params, paths), device, also)
    return _write(table, folder, inputs, paths, also)


def evaluate_ends(params: Params, paths: Paths) -> pd.DataFrame:
    """Score what the variants are compared with: HR, bicubic, and each model before its GAN training."""
    starts = [paths.start(model, seed) for model in params.table1.models for seed in params.table1.seeds]
    inputs = _inputs(params, paths, starts)
    device = devices.choose_device(params.train.device)

    def upscalers() -> Iterator[tuple[str, str, int, Upscale]]:
        yield "HR", "none", 0, the_truth
        yield "bicubic", "none", 0, with_bicubic
        for model in params.table1.models:
            for seed in params.table1.seeds:
                start = load_generator(paths.start(model, seed) / "generator.safetensors")
                yield model, "start", seed, with_generator(start, device)

    protocol, also = _protocol(params, paths), further.load(params.measures.also, device)
    tables = [
        evaluate({"model": model, "mask": mask, "seed": seed}, upscale, *protocol, device, also)
        for model, mask, seed, upscale in upscalers()
    ]
    return _write(pd.concat(tables, ignore_index=True), paths.ends, inputs, paths, also)


def write_quality(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    write_atomic(path, table.to_csv(index=False, float_format="%.10g").encode())
    return table


def describe_test_sets(params: Params, paths: Paths) -> pd.DataFrame:
    """A row for each test set: what it is, how many images, how many pixels, whose LR images."""
    rows = []
    for name in params.data.test:
        manifest = (pack := Pack(paths.set(name))).manifest
        megapixels = sum(image["height"] * image["width"] for image in manifest["images"]) / 1e6
        official = [gap for image in manifest["images"] if (gap := image["lr"]["lr_x4"]) != "masksr"]
        rows.append(
            {"set": name, "what": manifest["title"], "images": len(pack), "HR megapixels": round(megapixels, 2)}
        )
        rows[-1] |= {
            "cut to multiples of 4": sum(image["cut"] for image in manifest["images"]),
            "official LR images": len(official),
            "levels they are from ours, at most": max(official, default=None),
            "digest": pack.digest[:12],
        }
    return pd.DataFrame(rows)


def _protocol(params: Params, paths: Paths) -> tuple[dict[str, Pack], QualityWeights]:
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    return packs, load_weights(paths.weights / "quality")


def _inputs(params: Params, paths: Paths, folders: Iterable[Path]) -> dict[str, str]:
    """What the scores of the generators in ``folders`` rest on, for the record."""
    generators = [folder / "generator.safetensors" for folder in folders]
    yardsticks = [paths.weights / "quality" / name for name in ("niqe.mat", "ma.mat")]
    return records.digests(paths, [*generators, *map(paths.set, params.data.test), *yardsticks])


def _write(
    table: pd.DataFrame, folder: Path, inputs: dict[str, str], paths: Paths, also: Sequence[further.Measure]
) -> pd.DataFrame:
    write_quality(table, folder / "quality.csv")
    outputs = records.digests(paths, [folder / "quality.csv"])
    rooms = "data/*.py", "models/*.py", "quality/**/*.py"
    code = records.code_digest(*rooms, "results/evaluate.py", "results/tiles.py")
    facts: dict[str, Any] = {"code": code, "torch": torch.__version__}
    if also:
        facts["measures"] = {measure.name: measure.digest for measure in also}
    records.write(folder / "evaluation.json", inputs, outputs, **facts)
    return table
