"""Sensitivity of the plain GAN stage, then its masks, on one GPU: many small trainings side by side, by the clock.

Everything is one training of ``masksr.training.train``, stored by its key under --root, so that the same command goes on
where it was. What is finished goes to --out as zip files, generators as float16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import shutil
import sys
import time
import traceback
import zipfile
from concurrent.futures import ProcessPoolExecutor, wait, FIRST_EXCEPTION
from multiprocessing import get_context
from pathlib import Path

import numpy as np

START = time.monotonic()
PROFILE = "real_gpu"
EPOCH = 25  # steps
HERE = Path(__file__).resolve().parent


def say(*words):
    print(f"[{time.monotonic() - START:6.1f}]", *words, flush=True)


# ---- the recipes ------------------------------------------------------------------------------------------------------

GENERATORS = {
    "esrgan": {"architecture": "rrdb", "num_feat": 32, "num_block": 4, "num_grow_ch": 16},
    "pesr": {"architecture": "pesr", "depth": 8, "num_channels": 48, "res_scale": 0.1},
    "edsr": {"architecture": "edsr", "n_resblocks": 8, "n_feats": 48, "res_scale": 0.1},
}
TV = 1.0e-6 * (256 / 96) ** 2  # a sum over the pixels of a patch: as strong as at the paper's 64 LR pixels
# The paper's weights first; then with a larger GAN term. The first that moves NIQE enough is taken.
GRID = {
    "esrgan": [
        ({}, 2e-4),
        ({"gan": 0.1, "l1": 5.0}, 1e-4),
        ({"gan": 0.1, "l1": 1.0}, 1e-4),
        ({"gan": 0.3, "l1": 5.0}, 1e-4),
        ({"gan": 0.1, "l1": 5.0}, 2e-4),
    ],
    "pesr": [({}, 1e-4), ({}, 2e-4), ({"gan": 3.0}, 1e-4), ({"gan": 10.0}, 1e-4), ({"gan": 3.0}, 2e-4)],
    "edsr": [({}, 1e-4), ({}, 2e-4), ({"gan": 0.5}, 1e-4), ({"gan": 1.5}, 1e-4), ({"gan": 0.5}, 2e-4)],
}
MASK = {"kind": "error", "k": 0.2, "b": 0.5, "error_range": "native", "window": 1, "per_channel": False,
        "apply": "both", "detach": True}
MASKS = {
    "none": {"kind": "none"},
    "paper": MASK,
    "letter": MASK | {"apply": "sr"},
    "relative": MASK | {"error_range": "relative"},
    "relative_letter": MASK | {"error_range": "relative", "apply": "sr"},
    "flat_letter": MASK | {"kind": "constant", "apply": "sr"},
    "shuffled_letter": MASK | {"kind": "shuffled", "apply": "sr"},
    "flat_relative_letter": MASK | {"kind": "constant", "error_range": "relative", "apply": "sr"},
}
TABLE = {
    "pesr": ["none", "letter", "flat_letter", "paper", "relative_letter", "relative", "shuffled_letter"],
    "esrgan": ["none", "letter", "relative_letter", "flat_relative_letter"],
    "edsr": ["none", "letter", "flat_letter"],
}
SWEEP = {"k": [0.0005, 0.002, 0.01, 0.05, 0.2], "b": [0.0, 0.25, 0.5]}


def recipe(base, model, change, rate, steps, start_steps, tiny):
    """base: the entry of profiles/study.yaml as a dict."""
    found = json.loads(json.dumps(base))
    found["generator"] = GENERATORS[model]
    found["discriminator"]["num_feat"] = 32
    found["lr_patch"], found["batch"] = 24, 16
    found["loss"] |= {"tv": TV} if model == "pesr" else {}
    found["loss"] |= change
    epochs = steps // EPOCH
    halve = sorted({max(1, round(epochs * part)) for part in (0.5, 0.75, 0.875)} - {epochs})
    found["gan"] = {"epochs": epochs, "learning_rate": rate, "halve_at": halve}
    n = max(start_steps // EPOCH, 1)
    phases = [(4, n)] if model != "edsr" else [(2, max(n // 5, 1)), (4, max(n - n // 5, 1))]
    found["start"] = {
        "init": None,
        "init_scale": 4 if model != "edsr" else 2,
        "phases": [
            {"scale": scale, "loss": "mse" if model == "esrgan" else "l1", "epochs": e, "learning_rate": 5e-4,
             "halve_at": sorted({max(1, round(e * part)) for part in (0.5, 0.7, 0.85, 0.95)} - {e})}
            for scale, e in phases
        ],
    }
    if tiny:
        small = {"rrdb": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}, "pesr": {"depth": 1, "num_channels": 8},
                 "edsr": {"n_resblocks": 1, "n_feats": 8}}
        found["generator"] = found["generator"] | small[found["generator"]["architecture"]]
        found["discriminator"]["num_feat"] = 4
        found["batch"] = 2
    return found


def settings(tiny, device, steps, start_steps, entries):
    """Params with models ``name -> (model, change, rate)``."""
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load((HERE / "profiles/study.yaml").read_text())
    content["profile"] = PROFILE
    content["data"] |= {"train": "BSDS500_part", "validation": "Set5", "test": ["BSD100", "Urban100"], "limit": None}
    content["weights"] |= {"vgg": "oxford", "quality": "auto"}
    content["measures"] = {"also": []}
    content["train"] |= {
        "device": device, "precision": "bf16" if device == "cuda" else "fp32", "steps_per_epoch": EPOCH,
        "log_every": 50, "validate_every": 250, "validation_patches": 32, "checkpoint_every": 500,
    }
    content["models"] = {
        name: recipe(content["models"][model], model, change, rate, steps, start_steps, tiny)
        for name, (model, change, rate) in entries.items()
    }
    content["masks"] = MASKS
    first = next(iter(entries))
    content["table1"] = {"models": list(entries), "masks": ["none", "letter"], "seeds": [0, 1, 2]}
    content["sweep"] = {"model": first, "mask": "letter", **SWEEP, "seeds": [0]}
    content["figure4"]["crops"] = []
    from masksr.params import Params

    return Params.model_validate(content)


# ---- the material -----------------------------------------------------------------------------------------------------


def build_material(data, root, tiny):
    from masksr.fetch.find import build_pack
    from masksr.fetch.registry import FolderSet, Layout
    from masksr.paths import Paths

    paths = Paths(root, PROFILE)
    sets = {"BSDS500_part": ("train", "train/BSDS500/{name}.jpg"), "tune": ("test", "tune/{name}.jpg"),
            "Set5": ("validation", "test/Set5/HR/{name}.png")}
    for name, (role, pattern) in sets.items():
        if (paths.set(name) / "manifest.json").exists() or (paths.set(name)).exists():
            continue
        count = len(list(data.glob(pattern.format(name="*"))))
        about = {"title": name, "role": role, "cite": "-", "licence": "-", "homepage": "-", "images": count}
        spec = FolderSet(name=name, kind="folder", layouts=[Layout(hr=pattern)], **about)
        build_pack(spec, paths.set(name), data_folder=data)
        say(name, count, "pictures packed")
    paths.weights.mkdir(parents=True, exist_ok=True)
    if tiny:
        from masksr.models.checkpoints import save_weights
        from masksr.models.vgg import random_vgg19

        save_weights(random_vgg19(0.125, seed=0), paths.weights / "vgg19.safetensors")
    else:
        shutil.copyfile(data / "weights/vgg19.safetensors", paths.weights / "vgg19.safetensors")


# ---- in the worker processes ------------------------------------------------------------------------------------------


def prepare_worker():
    import torch

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(f"/tmp/gpu_study-worker-{os.getpid()}.log", "a", buffering=1)


def run_start(params, root, model, seed):
    from masksr.paths import Paths
    from masksr.training.train import train_start

    begun = time.monotonic()
    record = train_start(params, model, seed, Paths(root, PROFILE))
    return record["psnr"], time.monotonic() - begun


def run_gan(params, root, model, mask, seed, k=None, b=None):
    from masksr.paths import Paths
    from masksr.training.train import read_history, train_gan

    begun = time.monotonic()
    paths = Paths(root, PROFILE)
    out = paths.trained(model, mask, seed, k, b)
    record = train_gan(params, model, params.mask(mask, k, b), seed, paths, out)
    last = read_history(out).iloc[-1]
    return {"psnr": record["psnr"], "rate": float(last["images_per_s"]), "seconds": time.monotonic() - begun,
            "d": float(last["d_real"] - last["d_fake"]), "mask_mean": float(last["mask_mean"])}


def judge(root, data, folder):
    """NIQE, PSNR-Y and the mean colour shift on the pictures kept for this; of bicubic and HR with folder None, "HR"."""
    import torch

    from masksr.data.packs import Pack
    from masksr.models.checkpoints import load_generator
    from masksr.paths import Paths
    from masksr.quality.fidelity import psnr
    from masksr.quality.filters import luma_plane
    from masksr.quality.niqe import niqe
    from masksr.quality.weights import read_niqe
    from masksr.results.evaluate import load_hr, with_bicubic, with_generator

    pack, model = Pack(Paths(root, PROFILE).set("tune")), read_niqe(data / "weights/niqe_modelparameters.mat")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ends = {"HR": load_hr, "bicubic": with_bicubic}
    upscale = ends.get(folder) or with_generator(load_generator(Path(folder) / "generator.safetensors"), device)
    rows = []
    for number in range(len(pack)):
        sr, hr = upscale(pack, number), pack.hr(number)
        shift = np.abs(sr.mean(axis=(0, 1)) - hr.mean(axis=(0, 1))).max()
        chroma = (sr - sr.mean(axis=2, keepdims=True)).std() - (hr - hr.mean(axis=2, keepdims=True)).std()
        rows.append([niqe(luma_plane(sr), model), min(psnr(sr, hr), 99.0), float(shift), float(chroma)])
    rows = np.array(rows)
    mean, error = rows.mean(axis=0), rows[:, 0].std(ddof=1) / len(rows) ** 0.5
    return {"niqe": mean[0], "niqe_each": rows[:, 0].tolist(), "niqe_error": error, "psnr": mean[1],
            "shift": mean[2], "chroma": mean[3]}


# ---- the course of things ---------------------------------------------------------------------------------------------


class Course:
    def __init__(self, options):
        self.o = options
        self.root, self.data, self.out = options.root, options.data, options.out
        self.device = "cpu" if options.tiny else "cuda"
        self.ends = START + options.seconds
        self.pool = None

    def left(self):
        return self.ends - time.monotonic()

    def open_pool(self):
        self.pool = ProcessPoolExecutor(self.o.workers, mp_context=get_context("spawn"), initializer=prepare_worker)

    def close_pool(self):
        if self.pool:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None

    def all(self, calls, until=None, hard=True):
        """Results by key of {key: (function, *arguments)}; raises the first error where hard; None past the time."""
        futures = {self.pool.submit(*call): key for key, call in calls.items()}
        wait(futures, timeout=max(1, until if until is not None else self.left() - 15),
             return_when=FIRST_EXCEPTION if hard else "ALL_COMPLETED")
        found = {}
        for future, key in futures.items():
            if future.done() and not future.cancelled():
                error = future.exception()
                if error and hard:
                    raise error
                found[key] = {"error": repr(error)} if error else future.result()
        return found

    def pilot(self):
        """Some steps of everything at once: it fails at once where something is wrong; the steps a second of all."""
        entries = {f"pilot_{m}_{n}": (m, c, r) for m, grid in GRID.items() for n, (c, r) in enumerate(grid)}
        params = settings(self.o.tiny, self.device, EPOCH * (2 if self.o.tiny else 8), EPOCH * (1 if self.o.tiny else 2), entries)
        self.all({name: (run_start, params, self.root, name, 0) for name in entries}, until=90)
        found = self.all({name: (run_gan, params, self.root, name, "none", 0) for name in entries}, until=90)
        if len(found) < len(entries):
            raise RuntimeError("the pilot did not end in time")
        per = {m: np.mean([found[f"pilot_{m}_{n}"]["rate"] / params.models[f"pilot_{m}_0"].batch for n in range(len(GRID[m]))]) for m in GRID}
        say("pilot: steps a second of each", {m: round(float(v), 1) for m, v in per.items()}, "seconds", round(max(f["seconds"] for f in found.values()), 1))
        return float(sum(per[m] * len(GRID[m]) for m in GRID)) * min(1, self.o.workers / len(entries))

    def run(self):
        build_material(self.data, self.root, self.o.tiny)
        plan_file = self.root / "plan.json"
        self.start_mps()
        try:
            self.open_pool()
            if plan_file.exists():
                plan = json.loads(plan_file.read_text())
            else:
                try:
                    rate = self.pilot()
                except Exception as error:
                    if not os.environ.get("CUDA_MPS_PIPE_DIRECTORY"):
                        raise
                    say("MPS does not do it:", repr(error)[:500])
                    self.close_pool()
                    self.stop_mps()
                    self.open_pool()
                    rate = self.pilot()
                jobs = sum(map(len, GRID.values())) + 3 * sum(map(len, TABLE.values())) + 6
                steps = 0.85 * rate * (self.left() - 45 + self.o.later) / jobs
                steps = int(np.clip(steps, 600, 3000) // 200 * 200)
                plan = {"rate": rate, "steps": 2 * EPOCH if self.o.tiny else steps, "start_steps": EPOCH * 5 if self.o.tiny else 3000, "mps": bool(os.environ.get("CUDA_MPS_PIPE_DIRECTORY"))}
                plan_file.write_text(json.dumps(plan))
            say("plan", plan)
            chosen = self.tune(plan)
            self.masks(plan, chosen)
        finally:
            self.close_pool()
            self.stop_mps()
            self.pack()

    def tune(self, plan):
        file = self.root / "tune.json"
        if file.exists():
            return json.loads(file.read_text())["chosen"]
        entries = {f"{m}_t{n}": (m, c, r) for m, grid in GRID.items() for n, (c, r) in enumerate(grid)}
        params = settings(self.o.tiny, self.device, plan["steps"], plan["start_steps"], entries)
        starts = {(f"{m}_t0", s): (run_start, params, self.root, f"{m}_t0", s) for m in GRID for s in (0, 1, 2)}
        found = self.all(starts)
        say("starts", {f"{k[0]} s{k[1]}": (round(v[0], 2), round(v[1])) for k, v in found.items()})
        self.all({name: (run_start, params, self.root, name, 0) for name in entries})  # taken from the store
        found = self.all({name: (run_gan, params, self.root, name, "none", 0) for name in entries}, hard=False)
        say("tuned", {k: v.get("error") or round(v["seconds"]) for k, v in found.items()})
        found = {name: v for name, v in found.items() if "error" not in v}
        if len(found) < len(entries) // 2:
            raise RuntimeError("most of the grid failed, or its time was over")
        runs = self.root / "runs" / PROFILE
        judged = {name: (judge, self.root, self.data, str(runs / "variants" / f"{name}-none-s0")) for name in found}
        judged |= {f"{m} start": (judge, self.root, self.data, str(runs / "start" / f"{m}_t0-s0")) for m in GRID}
        judged |= {"HR": (judge, self.root, self.data, "HR"), "bicubic": (judge, self.root, self.data, "bicubic")}
        scores = self.all(judged, hard=False)
        for name, v in scores.items():
            say(f"{name:12}", " ".join(f"{key} {value:.3f}" for key, value in v.items() if isinstance(value, float)), v.get("error", ""))
        chosen = {m: self.choose(m, scores) for m in GRID}
        say("chosen", chosen)
        file.write_text(json.dumps({"scores": scores, "chosen": chosen, "trainings": found}, indent=1, default=float))
        return chosen

    def choose(self, model, scores):
        """The first setting that lowers NIQE by 0.7 and keeps PSNR within 2.5 dB and colours; else the lowest NIQE so."""
        before = scores[f"{model} start"]
        good = {}
        for n in range(len(GRID[model])):
            after = scores.get(f"{model}_t{n}", {})
            if "niqe" in after and np.isfinite(after["niqe"]):
                fine = before["psnr"] - after["psnr"] <= 2.5 and after["shift"] < before["shift"] + 2.0 and after["chroma"] < 3
                good[n] = (not fine, after["niqe"] - before["niqe"])
        for n, (bad, change) in good.items():
            if not bad and change <= -0.7:
                return n
        return min(good, key=good.get) if good else 1

    def masks(self, plan, chosen):
        entries = {m: (m, *GRID[m][chosen[m]]) for m in ("pesr", "esrgan", "edsr")}
        params = settings(self.o.tiny, self.device, plan["steps"], plan["start_steps"], entries)
        (self.root / "params.json").write_text(params.model_dump_json(indent=1))
        self.all({(m, s): (run_start, params, self.root, m, s) for m in entries for s in (0, 1, 2)})
        calls = {}
        for seed in (0, 1, 2):
            for m in entries:
                for mask in TABLE[m]:
                    calls[f"{m}-{mask}-s{seed}"] = (run_gan, params, self.root, m, mask, seed)
        for seed in (0, 1):
            for k in SWEEP["k"]:
                for b in SWEEP["b"]:
                    calls[f"sweep k{k} b{b} s{seed}"] = (run_gan, params, self.root, "pesr", "letter", seed, k, b)
        done = self.all(calls, hard=False)
        for name, v in done.items():
            say(f"{name:28}", v.get("error") or {key: round(value, 3) for key, value in v.items()})
        say(len(done), "of", len(calls), "done")

    def pack(self):
        """Zip what is finished and was not packed yet; generators as float16."""
        try:
            from safetensors import safe_open
            from safetensors.torch import save_file

            listed = self.root / "packed.json"
            packed = set(json.loads(listed.read_text())) if listed.exists() else set()
            runs = self.root / "runs" / PROFILE
            records = [p for p in sorted(runs.glob("*/*/training.json")) if "pilot" not in p.parent.name]
            order = sorted(records, key=lambda p: ("_t" in p.parent.name, "sweep" in str(p), p.parent.name[-2:]))
            zips, size, number, files = None, 0, 0, []
            self.out.mkdir(parents=True, exist_ok=True)
            for record in order:
                name = record.parent.relative_to(runs).as_posix()
                if name in packed:
                    continue
                weights = self.root / "half.safetensors"
                with safe_open(record.parent / "generator.safetensors", "pt") as f:
                    tensors = {k: f.get_tensor(k) for k in f.keys()}
                    about = f.metadata()
                save_file({k: v.half().contiguous() if v.is_floating_point() else v for k, v in tensors.items()}, weights, about)
                if zips is None or size + weights.stat().st_size > 14.5e6:
                    if zips:
                        zips.close()
                    if number >= 5:
                        say("no room for", name)
                        zips = None
                        break
                    zips = zipfile.ZipFile(self.out / f"runs-{number}.zip", "w", zipfile.ZIP_DEFLATED)
                    number, size = number + 1, 0
                zips.write(weights, f"{name}/generator.safetensors")
                size += zips.infolist()[-1].compress_size
                for other in ("history.csv", "training.json"):
                    zips.write(record.parent / other, f"{name}/{other}")
                    size += zips.infolist()[-1].compress_size
                packed.add(name)
            if zips:
                zips.close()
            listed.write_text(json.dumps(sorted(packed)))
            for name in ("plan.json", "tune.json", "params.json"):
                if (self.root / name).exists():
                    files.append(name)
            with zipfile.ZipFile(self.out / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for name in files:
                    archive.write(self.root / name, name)
                for log in Path("/tmp").glob("gpu_study-worker-*.log"):
                    archive.write(log, f"logs/{log.name}")
            say("packed", len(packed))
        except Exception:
            traceback.print_exc()

    def start_mps(self):
        if self.device != "cuda" or not shutil.which("nvidia-cuda-mps-control") or self.o.no_mps:
            say("no MPS")
            return
        env = {"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps", "CUDA_MPS_LOG_DIRECTORY": "/tmp/mps-log"}
        for folder in env.values():
            Path(folder).mkdir(exist_ok=True)
        subprocess.run(["nvidia-cuda-mps-control", "-d"], env=os.environ | env)
        probe = "import torch; print((torch.ones(9, device='cuda') + 1).sum().item())"
        try:
            out = subprocess.run([sys.executable, "-c", probe], env=os.environ | env, timeout=40, capture_output=True, text=True)
            if "18" in out.stdout:
                os.environ.update(env)
                say("MPS on")
                return
            say("MPS probe", out.stdout, out.stderr[-300:])
        except subprocess.TimeoutExpired:
            say("MPS probe hangs")
        self.stop_mps(env)

    def stop_mps(self, env=None):
        env = env or {k: os.environ[k] for k in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY") if k in os.environ}
        if env:
            try:
                subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, env=os.environ | env, timeout=15)
            except Exception as error:
                say("MPS quit:", repr(error))
            for key in env:
                os.environ.pop(key, None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("carry"))
    parser.add_argument("--root", type=Path, default=Path("/tmp/real"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--later", type=float, default=0, help="seconds that another call will have")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--no-mps", action="store_true")
    parser.add_argument("--material", action="store_true", help="build the packs alone")
    options = parser.parse_args()
    options.data, options.root, options.out = (p.resolve() for p in (options.data, options.root, options.out))
    options.root.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.material:
        build_material(options.data, options.root, options.tiny)
    else:
        Course(options).run()
