"""How long each stage takes, roughly: for the order in which stages start, and for simulations.

Trainings are counted (``training.cost``); the rest is a guess from what was measured on CPU cores, which hardly matters
beside trainings of hours.
"""

from __future__ import annotations

from itertools import product

from masksr.cluster.plan import SHORT
from masksr.fetch.registry import load_registry
from masksr.params import Params
from masksr.training.cost import SUSTAINED, step_cost

# Seconds of one core. An image of BSD100 takes 0.26 s, one of Urban100 about 1.4 s, one of DIV2K 7.8 s (benchmarks).
SCORING = 3.0  # PI and fidelity of a test image, the mean over the profile paper's sets
PACKING = 1.5  # decode and downscale one image
NOTEBOOK = 3600 * SHORT  # imports, and DVC around it


def hours(params: Params, tflops: float | None = None) -> dict[str, float]:
    """Hours of every stage with a matrix, and of ``ends``, by DVC's name for it; others take seconds.

    tflops: what one training sustains (``cost.SUSTAINED`` where None).
    """
    cpu = params.train.device == "cpu"
    tflops = tflops or SUSTAINED["cpu" if cpu else params.train.precision][0]
    table1, sweep, data = params.table1, params.sweep, params.data

    def training(model: str, gan: bool) -> float:
        recipe = params.models[model]
        phases = [(params.masks["none"], recipe.gan.epochs)] if gan else [(p, p.epochs) for p in recipe.start.phases]
        flop = sum(step_cost(params, model, phase).flop * epochs for phase, epochs in phases)
        return (flop * params.train.steps_per_epoch / (tflops * 1e12) + NOTEBOOK) / 3600

    start, gan = ({model: training(model, kind) for model in table1.models} for kind in (False, True))
    images = {name: getattr(spec, "images", None) or 10 for name, spec in load_registry().sets.items()}
    tested = sum(min(images[name], data.limit or images[name]) for name in data.test)

    def scoring(kind: str, upscalers: int = 1) -> float:
        cores = (params.cluster.get(kind) or params.cluster["others"]).cpus
        return (upscalers * tested * SCORING / cores + NOTEBOOK) / 3600

    found = {f"{kind}@{name}": (images[name] * PACKING + NOTEBOOK) / 3600 for kind, name in _sets(params)}
    for model, seed in product(table1.models, table1.seeds):
        found[f"start@{model}-{seed}"] = start[model]
    for model, mask, seed in product(table1.models, table1.masks, table1.seeds):
        found[f"train@{model}-{mask}-{seed}"] = gan[model]
        found[f"evaluate@{model}-{mask}-{seed}"] = scoring("evaluate")
    for k, b, seed in product(sweep.k, sweep.b, sweep.seeds):
        found[f"sweep@{k}-{b}-{seed}"] = gan[sweep.model]
        found[f"evaluate_sweep@{k}-{b}-{seed}"] = scoring("evaluate_sweep")
    found["ends"] = scoring("ends", len(start) * len(table1.seeds) + 2)
    return found | dict.fromkeys(equal_trainings(params), SHORT)


def equal_trainings(params: Params) -> dict[str, str]:
    """Sweep points that are the very training of a variant: started at once, one would hold a GPU and wait."""
    sweep, masks = params.sweep, params.masks
    return {
        f"sweep@{k}-{b}-{seed}": f"train@{sweep.model}-{name}-{seed}"
        for name in params.table1.masks
        for k, b, seed in product(sweep.k, sweep.b, sweep.seeds)
        if params.mask(sweep.mask, k, b) == masks[name]
    }


def _sets(params: Params) -> list[tuple[str, str]]:
    data = params.data
    return [("data", data.train), ("data", data.validation), *(("test_data", name) for name in data.test)]
