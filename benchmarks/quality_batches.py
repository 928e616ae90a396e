"""The quality of many images: numpy on all cores, and torch's batches on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.pictures import Image, picture
from benchmarks.report import Cell, Row, Table
from benchmarks.timing import Variant, interleaved
from masksr.quality import score_many
from masksr.quality.weights import QualityWeights
from masksr.training.device import cores

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
TORCH = "torch, GPU" if ON_GPU else "torch, CPU"


def tables(weights: QualityWeights, quick: bool) -> list[Table]:
    """By number of images; a whole set."""
    return [_by_count(weights, quick), _whole_set(weights, quick)]


def _ways(images: list[Image], weights: QualityWeights) -> dict[str, Variant]:
    """Score all of them, each with itself for its HR image."""
    workers = cores()
    return {
        "cores": Variant(lambda: score_many(images, images, weights, workers=workers)),
        "batch": Variant(lambda: score_many(images, images, weights, device=DEVICE)),
    }


def _by_count(weights: QualityWeights, quick: bool) -> Table:
    rows = []
    height, width = (128, 128) if quick else (320, 480)
    for count in (1, 2) if quick else (1, 4, 16, 64) if ON_GPU else (1, 4, 16):
        ways = _ways([picture(height, width, n) for n in range(count)], weights)
        pairs = zip(*(way.run() for way in ways.values()), strict=True)  # which also warms both up
        difference = max(abs(one.pi - other.pi) for one, other in pairs)
        found = interleaved(ways, 1 if quick else 2, warm_up=0, synchronize=_wait)
        cells: dict[str, Cell] = {
            "images": count,
            "numpy s": found.of("cores").median,
            "numpy images a second": count / found.of("cores").median,
            f"{TORCH}, s": found.of("batch").median,
            f"{TORCH}, images a second": count / found.of("batch").median,
            "ratio": found.ratio("cores", "batch"),
            "PI differs by": f"{difference:.0e}",
        }
        if ON_GPU:
            cells["GPU memory GB"] = _gpu_memory(ways["batch"].run) / 1e9
        rows.append(Row(cells, found.seconds))
    note = (
        f"Images of {width} x {height} with their HR (PI, PSNR, SSIM, RMSE) by numpy, {cores()} at a time on "
        f"{cores()} cores, and in batches of torch, at most 19 such images or one of 2K: that bounds memory."
    )
    if not ON_GPU:
        threads = torch.get_num_threads()
        note += f" Without a GPU they are on the CPU ({threads} threads), where masksr itself takes numpy."
    return Table("Quality by number of images", note, rows)


def _whole_set(weights: QualityWeights, quick: bool) -> Table:
    """The scoring that an evaluation does, in the way that it chooses."""
    count, (height, width) = (4, (104, 128)) if quick else (100, (320, 480))
    images = [picture(*((width, height) if n % 4 == 3 else (height, width)), n) for n in range(count)]
    name = "batch" if ON_GPU else "cores"
    found = interleaved({name: _ways(images, weights)[name]}, 1, warm_up=int(ON_GPU), synchronize=_wait)
    seconds = found.of(name).median
    by = "torch, GPU" if ON_GPU else f"numpy, {cores()} cores"
    cells: dict[str, Cell] = {"images": count, "by": by, "s": seconds, "images a second": count / seconds}
    note = f"{count} images of {width} x {height}, every fourth upright, with their HR: NIQE, Ma, PI, PSNR, SSIM, RMSE."
    return Table("Quality of a whole set", note, [Row(cells, found.seconds)])


def _wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def _gpu_memory(run: Callable[[], object]) -> int:
    """Bytes that torch had on the GPU at most during ``run``."""
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()
