"""Scores of a generator on test sets: every variant under the same protocol, one row per image."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from torch import nn
from tqdm import tqdm

from masksr.data.bicubic import imresize
from masksr.data.images import to_image, to_tensor
from masksr.data.packs import Pack
from masksr.models.build import load_generator
from masksr.params import Params
from masksr.paths import Paths
from masksr.quality import measures
from masksr.quality.index import BLAS, score
from masksr.quality.measures import Measure
from masksr.quality.weights import QualityWeights, load_quality
from masksr.results.scores import COLUMNS
from masksr.results.tiles import upscale_tiled
from masksr.training.device import choose_device, cores, is_out_of_memory

MEMORY = 270  # bytes per scored pixel: Ma's bands, measured at 24 megapixels
Upscale = Callable[[Pack, int], np.ndarray]  # (pack, image number) -> (H, W, 3) uint8, four times LR


def with_generator(generator: nn.Module, device: torch.device) -> Upscale:
    """Return an upscaler of images by a generator, in fp32; in tiles where memory does not hold one whole."""
    generator.to(device).eval()

    @torch.inference_mode()
    def upscale(pack: Pack, number: int) -> np.ndarray:
        lr = to_tensor(pack.lr(number, 4), generator.pixel_range)
        try:
            return to_image(generator(lr.to(device))[0].cpu(), generator.pixel_range)
        except Exception as error:  # cuDNN has its own errors for too little memory
            if not is_out_of_memory(error):
                raise
        # Outside the except block, where the error no longer keeps the attempt's tensors alive.
        print(f"{device} does not hold {pack.names[number]} as a whole; it is upscaled in tiles", flush=True)
        return upscale_tiled(generator, lr)[0].permute(1, 2, 0).contiguous().numpy()

    return upscale


def with_bicubic(pack: Pack, number: int) -> np.ndarray:
    """Upscale by MATLAB's bicubic interpolation: the lower end of the scale."""
    return imresize(pack.lr(number, 4), 4)


def evaluate(
    labels: dict[str, str | int],
    upscale: Upscale,
    packs: dict[str, Pack],
    weights: QualityWeights,
    also: Sequence[Measure] = (),
) -> pd.DataFrame:
    """Score one upscaler on every image: ``COLUMNS``, with these labels (model, mask, seed), and ``also``."""
    rows = []
    for name, pack in packs.items():
        numbers = tqdm(range(len(pack)), desc=f"{labels['model']}, {name}", leave=False)
        pairs = ((upscale(pack, number), pack.hr(number)) for number in numbers)
        for image, row in zip(pack.names, score_images(pairs, weights, also), strict=True):
            rows.append(labels | {"set": name, "image": image} | row)
    return pd.DataFrame(rows)[[*COLUMNS, *(measure.name for measure in also)]]


def score_images(
    pairs: Iterable[tuple[np.ndarray, np.ndarray | None]],
    weights: QualityWeights,
    also: Sequence[Measure] = (),
) -> list[dict[str, Any]]:
    """Score images (H, W, 3) uint8 on all cores; returns the measures of PIRM 2018 and ``also`` by column.

    pairs: each image with its HR image, or with None: what compares with HR is then None or NaN.
    """
    rows, left = [], iter(pairs)
    while some := list(islice(left, 8 * cores())):  # bounded: images of 2K are 10 MB each
        # One limit around all: threads that set and reset it in turn would undo each other's settings.
        room = psutil.virtual_memory().available // (MEMORY * max(image.size // 3 for image, _ in some))
        with BLAS.limit(limits=1), ThreadPoolExecutor(max(1, min(cores(), room))) as pool:
            scores = list(pool.map(lambda pair: asdict(score(*pair, weights)), some))
        for (image, reference), row in zip(some, scores, strict=True):
            for measure in also:
                row[measure.name], problem = measure(image, reference)
                row["problem"] = "; ".join(filter(None, [row["problem"], problem])) or None
        rows += scores
    return rows


def load_upscale(params: Params, folder: Path) -> Upscale:
    """Load the generator in ``folder`` as an upscaler on the device that params.yaml names."""
    generator = load_generator(folder / "generator.safetensors")
    return with_generator(generator, choose_device(params.train.device))


def upscale_first(pack: Pack, folder: Path) -> dict[str, np.ndarray]:
    """Return the first photograph of a pack as LR, bicubic, SR and HR, by these names, (H, W, 3) uint8."""
    upscale = with_generator(load_generator(folder / "generator.safetensors"), choose_device("cpu"))
    return {"LR": pack.lr(0, 4), "bicubic": with_bicubic(pack, 0), "SR": upscale(pack, 0), "HR": pack.hr(0)}


def load_protocol(params: Params, paths: Paths) -> tuple[dict[str, Pack], QualityWeights, list[Measure]]:
    """Load what ``evaluate`` takes besides an upscaler: the test sets, the weights, the further measures."""
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    also = measures.load(params.measures.also, choose_device(params.train.device))
    return packs, load_quality(paths.weights / "quality"), also
