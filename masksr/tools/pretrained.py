"""``masksr evaluate``: checkpoints made elsewhere under our protocol, numbers to check ours against."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from masksr.data.packs import Pack
from masksr.errors import MasksrError
from masksr.fetch.find import build_pack
from masksr.fetch.registry import Weights, find_set, load_registry
from masksr.fetch.weights import check_name, find_pretrained
from masksr.files import user_path
from masksr.models.checkpoints import (
    MODELS,
    NAMES,
    Architecture,
    GeneratorSize,
    generator_with,
    infer_size,
    load_generator,
    read_weights,
)
from masksr.params import Params
from masksr.paths import Paths, data_folder
from masksr.quality import further, measures
from masksr.quality.weights import QualityWeights
from masksr.results.evaluate import evaluate, load_hr, with_bicubic, with_generator, write_quality
from masksr.results.scores import check_output, summarize
from masksr.tools.weights import choose_weights
from masksr.training.device import choose_device

ENDS = {"bicubic": with_bicubic, "HR": load_hr}  # of the scale


def load_pretrained(path: Path, architecture: Architecture, *, res_scale: float | None = None) -> nn.Module:
    """The generator in a public ``.pth``, ``.pt`` or ``.safetensors`` file or in one of ours, in evaluation mode.

    Loaded strictly; the sizes are read from the file (``models.sizes.infer_size``, also on ``res_scale``). An EDSR may
    be of x2, x3 or x4, as its attribute ``scale`` says. Raises MasksrError where the file cannot be read, holds another
    network (it names the keys) or one of a scale that the network here does not have.
    """
    if size := _recorded_size(path):
        if size.architecture != architecture:
            use = next(model for model, known in MODELS.items() if known == size.architecture)
            raise MasksrError(f"{path} holds {NAMES[size.architecture]}; use --model {use}")
        if res_scale not in (None, getattr(size, "res_scale", None)):
            raise MasksrError(f"{path} was written by masksr and says all its sizes; leave out --res-scale")
        return load_generator(path)
    state = read_weights(path)
    size, scale = infer_size(state, architecture, str(path), res_scale=res_scale)
    if scale not in ((2, 3, 4) if architecture == "edsr" else (4,)):
        raise MasksrError(f"{path} holds {NAMES[architecture]} that upscales by {scale}; use a checkpoint for x4")
    return generator_with(state, size, scale, str(path))


def _recorded_size(path: Path) -> GeneratorSize | None:
    """What ``build.save_generator`` wrote of the network; None for a file that is not of ours."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return TypeAdapter(GeneratorSize).validate_json((file.metadata() or {}).get("generator", ""))
    except (OSError, SafetensorError, ValidationError):
        return None  # read_weights says what is wrong with a file that cannot be read


def published_as(name: str, model: str) -> Weights | None:
    """The entry of the registry that has this name, None if there is none.

    Raises MasksrError, before anything is downloaded, where it is not a ``model`` for x4.
    """
    spec = load_registry().weights.get(name)
    if spec and (spec.architecture != MODELS[model] or spec.scale != 4):
        raise MasksrError(f"{name}: {spec.title}; --model {model} wants {NAMES[MODELS[model]]} for x4")
    return spec


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
    """``masksr evaluate``: score a checkpoint, print the summary, and write the table to ``output`` where it is named.

    checkpoint: a file, or the name of one in data/registry.yaml. model: ``esrgan``, ``pesr`` or ``edsr``. sets: without
    any, the test sets of the profile. also: further measures; None: those of the profile. limit, res_scale and errors:
    as of evaluate_pretrained.
    """
    if model not in MODELS:
        raise MasksrError(f"--model {model}: choose from {', '.join(MODELS)}")
    check_output(output)
    also = params.measures.also if also is None else also
    measures.check(also)
    names = list(sets or params.data.test)
    for name in names:
        find_set(name)  # before a checkpoint is downloaded
    paths, folder = Paths.of(params), data_folder(params)
    if not user_path(checkpoint).is_file() and (spec := published_as(checkpoint, model)):
        res_scale = spec.res_scale if res_scale is None else res_scale
    check_name(checkpoint)
    weights = choose_weights("auto", params, paths)  # before a checkpoint is downloaded
    path = find_pretrained(checkpoint, folder)
    settings = {"data_folder": folder, "title": path.name, "res_scale": res_scale, "weights": weights, "also": also}
    table = evaluate_pretrained(params, paths, path, MODELS[model], names, limit, **settings)
    print(f"\n{summarize(table)}")
    if output is not None:
        write_quality(table, output)
        print(f"\nwrote {output}")
    return table


def evaluate_pretrained(
    params: Params,
    paths: Paths,
    checkpoint: Path,
    architecture: Architecture,
    sets: Sequence[str],
    limit: int | None,
    *,
    data_folder: Path | None,
    title: str,
    weights: QualityWeights,
    res_scale: float | None = None,
    also: Sequence[str] = (),
) -> pd.DataFrame:
    """Score a checkpoint as ``results.evaluate`` scores the variants, with bicubic and HR as the ends of the scale.

    sets: names in data/registry.yaml. limit: at most the first so many images of each; None: as many as the profile
    takes of its test sets, all of any other set. data_folder: see ``fetch.sets``. title: what stands in the column
    model. also: see ``further.load``.

    Returns a table with ``scores.COLUMNS`` and those of ``also``, a row per image and upscaler, with a problem
    where there is no PI. Raises MasksrError where the checkpoint, its scale (only x4) or a set is not what is needed,
    before anything is scored.
    """
    if title in ENDS:
        raise MasksrError(f"a checkpoint cannot be called {title}, as an end of the scale is; rename its file")
    generator = load_pretrained(checkpoint, architecture, res_scale=res_scale)
    if generator.scale != 4:
        raise MasksrError(f"{checkpoint} upscales by {generator.scale}; the protocol is x4, so use a checkpoint for x4")
    size = sum(parameter.numel() for parameter in generator.parameters())
    factor = getattr(generator.body[0], "res_scale", None)  # of EDSR and PESR, and perhaps a guess
    scaled = "" if factor is None else f", residual blocks scaled by {factor:g}"
    print(f"{title}: {type(generator).__name__}, {size:,} parameters{scaled}", flush=True)
    device = choose_device(params.train.device)
    taken = further.load(also, device)
    with tempfile.TemporaryDirectory(prefix="masksr-", ignore_cleanup_errors=True) as scratch:
        packs = {
            name: _pack(paths.set(name), name, limit or params.data.limit_of(name), data_folder, Path(scratch))
            for name in sets
        }
        upscalers = {title: with_generator(generator, device)} | ENDS
        tables = [
            evaluate({"model": who, "mask": "none", "seed": 0}, upscale, packs, weights, taken)
            for who, upscale in upscalers.items()
        ]
    return pd.concat(tables, ignore_index=True)


def _pack(made: Path, name: str, limit: int | None, data_folder: Path | None, scratch: Path) -> Pack:
    """The pack of a set: that of the profile, ``made``, where it is and has these images, else one for this run."""
    with suppress(MasksrError):  # never packed, or by a version of masksr with another format
        pack = Pack(made)
        if limit in (None, len(pack)):
            return pack
    return build_pack(find_set(name), scratch / name, scales=(4,), data_folder=data_folder, limit=limit)
