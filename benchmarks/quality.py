"""The perceptual index against stock pyiqa, and how its cost grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.pictures import Image, picture
from benchmarks.report import Cell, Row, Table, met
from benchmarks.timing import Variant, in_child, interleaved, memory
from masksr.quality.filters import luma_plane
from masksr.quality.index import score, score_many
from masksr.quality.ma import FEATURES, Forest, MaModel
from masksr.quality.niqe import NiqeModel, niqe_features
from masksr.quality.weights import QualityWeights, read_ma, read_niqe, write_ma, write_niqe
from masksr.training import devices

TARGET = 15.0  # times pyiqa's speed, per image on one core
MOST_MEMORY = 3e9  # bytes, for one image of 2K


def tables(quick: bool) -> list[Table]:
    """PI against pyiqa's, by image size, of a whole set."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_weights(folder)
        weights = read_weights(folder)
        by_image = [_against_pyiqa(folder, weights, quick), _by_size(folder, weights, quick)]
        return [*by_image, _whole_set(weights, quick)]


def _against_pyiqa(folder: Path, weights: QualityWeights, quick: bool) -> Table:
    stock, rows = pyiqa_score(folder), []
    for height, width in [(128, 128)] if quick else [(256, 256), (320, 480)]:
        image = picture(height, width)
        variants = {
            "pyiqa": Variant(lambda i=image: stock(i)),
            "masksr": Variant(lambda i=image: score(i, weights=weights)),
        }
        difference = abs(stock(image) - score(image, weights=weights).pi)  # which also warms both up
        found = interleaved(variants, 1 if quick else 3, warm_up=0)
        ratio = found.ratio("pyiqa", "masksr")
        cells = {
            "image": f"{width} x {height}",
            "pyiqa s": found.of("pyiqa").median,
            "masksr s": found.of("masksr").median,
            "ratio": ratio,
            "target": None if quick else TARGET,
            "met": None if quick else met(ratio.median, at_least=TARGET),
            "PI differs by": f"{difference:.0e}",
        }
        rows.append(Row(cells, found.seconds))
    note = (
        "NIQE, Ma and PI of one image on one core. Ma's forest is 200 trees at random: what counts here is the time, "
        "and the difference to pyiqa's number."
    )
    return Table("Quality (PI)", note, rows)


def _by_size(folder: Path, weights: QualityWeights, quick: bool) -> Table:
    sizes = (
        [(96, 96), (128, 128)] if quick else [(128, 128), (256, 256), (320, 480), (512, 512), (1356, 2040)]
    )
    rows = []
    for height, width in sizes:
        name, image = f"{width} x {height}", picture(height, width)
        large = image.size > 10**6
        run = Variant(lambda i=image: score(i, weights=weights))
        found = interleaved({name: run}, 1 if quick or large else 3, warm_up=0 if large else 1)
        seconds, megapixels = found.of(name).median, image.size / 3e6
        cells = {"image": name, "s": seconds, "s per megapixel": seconds / megapixels}
        if large:
            peak = in_child(peak_memory, folder, height, width)
            cells |= {
                "peak GB": peak / 1e9,
                "target GB": MOST_MEMORY / 1e9,
                "met": met(peak, at_most=MOST_MEMORY),
            }
        rows.append(Row(cells, found.seconds))
    return Table("Quality by image size", "One image on one core. Memory is that of the whole process.", rows)


def _whole_set(weights: QualityWeights, quick: bool) -> Table:
    """The scoring that an evaluation does."""
    count, (height, width) = (4, (104, 128)) if quick else (100, (320, 480))
    images = [picture(*((width, height) if n % 4 == 3 else (height, width)), n) for n in range(count)]
    cores = devices.cores()
    run = Variant(lambda: score_many(images, images, weights, workers=cores))
    found = interleaved({"cores": run}, 1, warm_up=0)
    seconds = found.of("cores").median
    cells: dict[str, Cell] = {
        "images": count,
        "cores": cores,
        "s": seconds,
        "images a second": count / seconds,
    }
    note = (
        f"Images of {width} x {height}, every fourth upright, with their HR: NIQE, Ma, PI, PSNR, SSIM, RMSE."
    )
    return Table("Quality of a whole set", note, [Row(cells, found.seconds)])


def peak_memory(folder: Path, height: int, width: int) -> int:
    """Bytes that a process had at most that scored one image. For a process of its own."""
    score(picture(height, width), weights=read_weights(folder))
    return memory(peak=True)


def pyiqa_score(folder: Path) -> Callable[[Image], float]:
    """Stock pyiqa's PI by the PIRM protocol, with the weights in ``folder``: its halves, for ``pi`` takes no path."""
    from pyiqa.archs.niqe_arch import NIQE
    from pyiqa.archs.nrqm_arch import NRQM

    settings = {"crop_border": 4, "color_space": "ycbcr"}
    niqe = NIQE(**settings, pretrained_model_path=str(folder / "niqe.mat"))
    nrqm = NRQM(**settings, pretrained_model_path=str(folder / "ma.mat"))

    @torch.inference_mode()
    def pi(image: Image) -> float:
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
        return (10 - nrqm(tensor).item() + niqe(tensor).item()) / 2

    return pi


def write_weights(folder: Path, *, trees: int = 200, levels: int = 9) -> None:
    """niqe.mat, fitted on one photograph, and ma.mat: full trees with random thresholds."""
    rng = np.random.default_rng(0)
    forests = tuple(
        _forest(rng, n, most, trees, levels) for n, most in zip(FEATURES, (2, 2, 40), strict=True)
    )
    write_ma(folder / "ma.mat", MaModel(forests, np.array([-0.3, 0.2, 0.5, 0.4])))
    features = niqe_features(luma_plane(picture(512, 512)))
    covariance = np.cov(features, rowvar=False) + 0.01 * np.eye(36)
    write_niqe(folder / "niqe.mat", NiqeModel(features.mean(axis=0), covariance))


def read_weights(folder: Path) -> QualityWeights:
    niqe, ma = read_niqe(folder / "niqe.mat"), read_ma(folder / "ma.mat")
    return QualityWeights(niqe, ma, "stand-in", "stand-in", "-", "-")


def _forest(rng: np.random.Generator, features: int, most: float, trees: int, levels: int) -> Forest:
    nodes = 2 ** (levels + 1) - 1
    inner = np.arange(nodes) < 2**levels - 1
    left = np.where(inner, np.arange(nodes) * 2 + 1, 0)[:, None].repeat(trees, 1).astype(np.int32)
    feature = rng.integers(0, features, (nodes, trees), dtype=np.int32)
    threshold, value = rng.uniform(0, most, (nodes, trees)), rng.uniform(0, 10, (nodes, trees))
    return Forest(left, np.where(left, left + 1, 0).astype(np.int32), feature, threshold, value)
