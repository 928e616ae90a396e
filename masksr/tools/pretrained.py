"""``masksr evaluate``: score checkpoints made elsewhere by our protocol, to check our numbers against."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from safetensors import safe_open
from torch import nn

from masksr import params as params_file
from masksr.data.packs import Pack
from masksr.fetch import find
from masksr.fetch.registry import find_set, load_registry
from masksr.io import MasksrError
from masksr.models.build import MODELS, NAMES, generator_with, infer_size, is_safetensors, read_weights
from masksr.params import Params
from masksr.paths import find_data_folder, user_path
from masksr.quality import measures
from masksr.quality.weights import default_weights
from masksr.results.evaluate import evaluate, with_bicubic, with_generator
from masksr.results.scores import summarize, write_quality
from masksr.training.device import choose_device


def load_pretrained(name: str, model: str, res_scale: float | None = None) -> tuple[Path, nn.Module]:
    """Find a checkpoint (a file, or an entry of data/registry.yaml, which may be downloaded) and load it.

    Loads a public ``.pth``, ``.pt`` or ``.safetensors`` file, or ours, strictly and in evaluation mode; sizes
    are read from the weights. An EDSR may be of x2, x3 or x4, as its attribute ``scale`` says. model:
    ``esrgan``, ``pesr`` or ``edsr``. res_scale: by default that of the entry or of our file, else see
    ``infer_size``. Raises MasksrError, before anything is downloaded, where the entry is not such a model for
    x4; and where the file cannot be read or holds another network (it names the keys).
    """
    architecture, folder = MODELS[model], None
    entry = None if user_path(name).is_file() else load_registry().weights.get(name.partition("/")[0])
    if entry:
        if (entry.architecture, entry.scale) != (architecture, 4):
            raise MasksrError(f"{name}: {entry.title}; not {NAMES[architecture]} for x4 (--model)")
        res_scale, folder = res_scale or entry.res_scale, find_data_folder(params_file.load().data.local)
    path = find.fetch_pretrained(name, folder)
    state = read_weights(path)
    if res_scale is None and is_safetensors(path):
        with safe_open(path, framework="pt") as file:  # our own files state it
            res_scale = json.loads((file.metadata() or {}).get("generator", "{}")).get("res_scale")
    size, scale = infer_size(state, architecture, str(path), res_scale=res_scale)
    return path, generator_with(state, size, scale, str(path))


def run(
    params: Params,
    checkpoint: str,
    model: str,
    *,
    sets: Sequence[str] = (),
    limit: int | None = None,
    res_scale: float | None = None,
    output: Path | None = None,
    also: Sequence[str] | None = None,
) -> pd.DataFrame:
    """``masksr evaluate``: score a checkpoint as the variants are scored, with bicubic and HR beside it.

    Prints the summary and writes the table to ``output`` if given. checkpoint, model, res_scale: see
    ``load_pretrained``. sets: names in data/registry.yaml; by default the test sets of the profile. limit:
    use only the first so many images of each; None: as many as the profile takes of its test sets, all of any
    other set. also: further measures; None: those of the profile. Returns a row per image and upscaler, with
    ``scores.COLUMNS`` and those of ``also``. Raises MasksrError, before any scoring, about wrong arguments.
    """
    device = choose_device(params.train.device)
    specs = [find_set(name) for name in sets or params.data.test]  # before a checkpoint is downloaded
    weights, taken = default_weights(), measures.load(params.measures.also if also is None else also, device)
    path, generator = load_pretrained(checkpoint, model, res_scale)
    if generator.scale != 4:
        raise MasksrError(f"{path} upscales by {generator.scale}; the protocol wants a checkpoint for x4")
    factor = getattr(generator.body[0], "res_scale", None)  # EDSR and PESR have one; it may be a guess
    scaled = f", residual blocks scaled by {factor:g}" if factor else ""
    print(f"{path.name}: {type(generator).__name__}{scaled}", flush=True)
    upscalers = {path.name: with_generator(generator, device), "bicubic": with_bicubic, "HR": Pack.hr}
    with tempfile.TemporaryDirectory(prefix="masksr-") as scratch:
        packs = {}
        for spec in specs:
            options = {"limit": limit or params.data.limit_of(spec.name), "data_folder": params.data.local}
            packs[spec.name] = find.build_pack(spec, Path(scratch, spec.name), scales=(4,), **options)
        rest = {"mask": "none", "seed": 0}
        tables = [evaluate(rest | {"model": who}, up, packs, weights, taken) for who, up in upscalers.items()]
    table = pd.concat(tables, ignore_index=True)
    if output is not None:  # before printing, which a terminal could refuse
        write_quality(table, output)
    print(f"\n{summarize(table)}")
    if output is not None:
        print(f"\nwrote {output}")
    return table
