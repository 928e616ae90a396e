"""Upscaling whole pictures: masksr's tiles, in fp32 and bf16, against a plain forward pass of the whole picture."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import profiles
from benchmarks.pictures import picture
from benchmarks.profiles import Case
from benchmarks.report import Row, Table
from benchmarks.timing import Variant, in_children, interleaved, memory
from masksr.data.images import to_tensor
from masksr.models.checkpoints import build_generator
from masksr.results.tiles import upscale_tiled
from masksr.training.cost import Meter
from masksr.training.device import autocast, cores


def tables(device: str, quick: bool) -> list[Table]:
    """ESRGAN at growing pictures; both networks are full size unless ``quick``."""
    sizes = [(24, 32), (40, 40)] if quick else [(40, 60), (80, 120)] if device == "cpu" else [(80, 120), (339, 510)]
    return [_against_whole(sizes, device, quick)]


def _against_whole(sizes: list[tuple[int, int]], device: str, quick: bool) -> Table:
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    network, rows = _network(device, quick), []
    ours = _network(device, quick).to(memory_format=torch.channels_last)  # as masksr.tools.upscale has it
    for height, width in sizes:
        lr = _lr(height, width)
        with torch.no_grad(), Meter() as meter:  # in inference mode convolutions pass it by
            network(lr.to(device))
        runs = {
            "whole": partial(whole, network, lr),
            "fp32": partial(tiled, ours, lr, "fp32"),
            "bf16": partial(tiled, ours, lr, "bf16"),
        }
        variants = {name: Variant(run) for name, run in runs.items()}
        found = interleaved(variants, 1 if quick else 3, warm_up=0 if quick else 1, synchronize=synchronize)
        largest = not quick and device == "cpu" and (height, width) == sizes[-1]
        most = in_children(partial(peak_memory, height, width), runs, cores()) if largest else {}
        for name in ("fp32", "bf16"):
            cells = {
                "LR picture": f"{width} x {height}",
                "masksr": name,
                "whole s": found.of("whole").median,
                "masksr s": found.of(name).median,
                "ratio": found.ratio("whole", name),
                "LR megapixels a second": height * width / found.of(name).median / 1e6,
                "GFLOP": meter.flop / 1e9,
            }
            if most:
                cells |= {"whole GB": most["whole"] / 1e9, "masksr GB": most[name] / 1e9}
            rows.append(Row(cells, {key: found.seconds[key] for key in ("whole", name)}))
    note = (
        "ESRGAN, one picture in memory to one in memory, without reading and writing files. 'Whole' is the network's "
        "forward pass in fp32 and NCHW; on a CPU these pictures fit into one tile. Memory is that of a whole process."
    )
    return Table("Upscaling", note, rows)


def peak_memory(height: int, width: int, variant: str) -> int:
    """Bytes that a process had at most that upscaled one picture on the CPU. For a process of its own."""
    network, lr = _network("cpu", quick=False), _lr(height, width)
    if variant == "whole":
        whole(network, lr)
    else:
        tiled(network.to(memory_format=torch.channels_last), lr, variant)
    return memory(peak=True)


@torch.inference_mode()
def whole(network: nn.Module, lr: Tensor) -> Tensor:
    """(1, 3, h, w) to uint8 (1, 3, 4h, 4w), in one forward pass."""
    sr = network(lr.to(next(network.parameters()).device)) * (255 / network.pixel_range)
    return sr.clamp(0, 255).round().to(torch.uint8).cpu()


def tiled(network: nn.Module, lr: Tensor, precision: str) -> Tensor:
    """The same through masksr's tiles of default size."""
    device = next(network.parameters()).device
    with autocast(device, precision)():  # type: ignore[arg-type]
        return upscale_tiled(network, lr)


def _network(device: str, quick: bool) -> nn.Module:
    recipe = profiles.recipe(Case("esrgan", 32, 2, tiny=quick))
    return build_generator(recipe.generator, 4, seed=0).to(device).eval()


def _lr(height: int, width: int) -> Tensor:
    return to_tensor(picture(height, width), pixel_range=1.0)
