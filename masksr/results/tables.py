"""From one row per image to the tables of the report: the variants of Table 1."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import pandas as pd

from masksr.io import MasksrError, notice, write_atomic
from masksr.params import Mask, Params
from masksr.paths import Paths
from masksr.results.scores import KEYS, measure_titles, read_quality


class Variant(NamedTuple):
    """A row of the tables and the scores that it averages."""

    block: str  # "variants", or "ends" of the scale
    model: str
    mask: str
    title: str
    scores: pd.DataFrame


def variant_title(params: Params, model: str, mask: str) -> str:
    """``ESRGAN``; the paper's ``ESRGAN+Mask``; ``ESRGAN+Mask (SR alone)``; or ``ESRGAN, pretrained``."""
    if model not in params.models:  # HR, bicubic
        return model
    ending = {"none": "", "paper": "+Mask", "start": ", pretrained"}.get(mask)
    return params.models[model].title + (f"+Mask ({mask_words(params, mask)})" if ending is None else ending)


def mask_words(params: Params, name: str) -> str:
    """Say how a mask differs from the paper's: ``relative error, SR alone``.

    Returns its name where no words tell it from others, as with another k.
    """
    words = {key: _words(mask) for key, mask in params.masks.items() if key != "none"}
    own = words.get(name) and list(words.values()).count(words[name]) == 1
    return words[name] if own else name.replace("_", " ")


def _words(mask: Mask) -> str:
    ranges = {"1": "error in [0, 1]", "255": "error in [0, 255]", "relative": "relative error"}
    found = [
        "" if mask.kind == "error" else mask.kind,
        ranges.get(mask.error_range, ""),
        f"window of {mask.window}" if mask.window > 1 else "",
        "for each colour" if mask.per_channel else "",
        {"sr": "SR alone", "gradient": "gradient alone"}.get(mask.apply, ""),
        "" if mask.detach else "with its gradient",
    ]
    return ", ".join(filter(None, found))


def legend_words(params: Params) -> dict[str, str]:
    """Return what figures call the masks of Table 1, its pretrained generators (``start``) and its models."""
    words = {mask: f"mask ({mask_words(params, mask)})" for mask in params.table1.masks}
    words |= {"start": "pretrained", "none": "no mask", "paper": "mask"}
    return words | {name: model.title for name, model in params.models.items()}


def inspected_mask(params: Params) -> tuple[str, Mask]:
    """Return the mask that figures look at, the first of ``table1.masks`` but ``none``, and its settings.

    Where Table 1 has plain variants only, it is ``none``, with the settings of Figure 5's mask.
    """
    name = next((mask for mask in params.table1.masks if mask != "none"), "none")
    return name, params.masks[params.sweep.mask if name == "none" else name]


def list_variants(quality: pd.DataFrame, params: Params) -> list[Variant]:
    """List the variants of ``table1`` in params.yaml, then HR, bicubic and the starts as far as measured.

    Raises MasksrError where a variant was not measured with each seed on each test set.
    """
    models, seeds, variants = params.table1.models, params.table1.seeds, []
    quality = quality[quality["set"].isin(params.data.test)].sort_values(KEYS)
    trained = list(product(models, params.table1.masks))
    for model, mask in [*trained, ("HR", "none"), ("bicubic", "none"), *product(models, ["start"])]:
        part = quality[(quality["model"] == model) & (quality["mask"] == mask)]
        block = "variants" if (model, mask) in trained else "ends"
        if block == "variants":
            part = part[part["seed"].isin(seeds)]
            measured = set(zip(part["set"], part["seed"], strict=True))
            for name, seed in sorted(set(product(params.data.test, seeds)) - measured):
                what = f"{model} with mask {mask}, seed {seed}, on {name}"
                raise MasksrError(f"the quality tables have nothing of {what}; run `dvc repro`")
        if len(part):
            variants.append(Variant(block, model, mask, variant_title(params, model, mask), part))
    return variants


def write_results(files: Mapping[str, str | bytes], paths: Paths) -> None:
    """Write files to ``results/<profile>``, and say where."""
    for name, content in files.items():
        path = paths.results / name
        write_atomic(path, content.encode() if isinstance(content, str) else content)
        notice(f"wrote {path.relative_to(paths.root).as_posix()}")
