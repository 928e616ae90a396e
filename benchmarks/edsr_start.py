"""``python -m benchmarks.edsr_start``: what EDSR's x4 network gains by all that fits of its x2 network.

mini's EDSR is trained at x2 for 200 steps; then at x4 for 300, once with a fresh tail, once with all but its second
sub-pixel convolution, as EDSR-PyTorch's loader has it. PSNR-Y is of the validation patches, beside bicubic's, for three
seeds. It gains little: 28.99 and 29.04 dB after 300 steps (means; bicubic 28.96; 0.02 to 0.09 dB a seed), and nothing
after 100 (28.07 and 28.02) and 200 (28.96 and 28.80), where the rate is still high. At one rate, 1e-3, which moves
single steps by half a dB, it was 28.74 and 29.02 after 300 (0.07 to 0.68 dB a seed).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# One thread, as all benchmarks on a CPU.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import pandas as pd

from masksr.fetch.find import build_pack
from masksr.io import project_root
from masksr.models.build import build_generator, read_weights, save_weights, seed_for
from masksr.params import Params, load
from masksr.paths import Paths
from masksr.training.train import train_start

STEPS, HALVE_AT = 300, (180, 240, 270)  # as mini's: at one rate single steps differ by half a dB


def settings_with(start: dict) -> Params:
    """mini with this start of EDSR, on a CPU; an epoch is a step, and every 100 are validated."""
    content = load(project_root() / "profiles/mini.yaml").model_dump(exclude_unset=True)
    content["models"]["edsr"]["start"] = start
    content["train"] |= {"device": "cpu", "steps_per_epoch": 1, "validate_every": 100, "checkpoint_every": 1000}
    return Params.model_validate(content)


def phase(scale: int, steps: int, halve_at: tuple[int, ...] = ()) -> dict:
    return {"scale": scale, "loss": "l1", "epochs": steps, "learning_rate": 1e-3, "halve_at": list(halve_at)}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder), "mini")
        first = settings_with({"init": None, "init_scale": 2, "phases": [phase(2, 200)]})
        size = first.models["edsr"].generator
        for name in (first.data.train, first.data.validation):
            build_pack(name, paths.set(name))
        for seed in (0, 1, 2):
            train_start(first, "edsr", seed, paths)
            fitting = read_weights(paths.start("edsr", seed) / "generator.safetensors")
            fresh = build_generator(size, 4, seed_for(seed, "generator x4")).state_dict()
            tail = {key: value for key, value in fresh.items() if key.startswith("tail.")}
            for title, weights in {"fresh tail": fitting | tail, "what fits": fitting}.items():
                save_weights(weights, file := Path(folder) / f"{title} {seed}.safetensors")
                start = {"init": str(file), "init_scale": 4, "phases": [phase(4, STEPS, HALVE_AT)]}
                train_start(settings_with(start), "edsr", seed, paths)
                validated = pd.read_csv(paths.start("edsr", seed) / "validation.csv")
                rows += [{"start": title, "seed": seed} | row for row in validated.to_dict("records")]
                print(pd.DataFrame(rows).to_markdown(index=False), flush=True)
    table = pd.DataFrame(rows).pivot_table(index="start", columns="step", values="psnr")
    print(f"\nPSNR-Y in dB, means of three seeds (bicubic: {rows[-1]['psnr_bicubic']:.2f})\n\n{table.to_markdown()}")


if __name__ == "__main__":
    main()
