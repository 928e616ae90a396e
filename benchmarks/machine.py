"""The machine: what it is, the most operations per second that it was seen to do, and fair timing on it."""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from benchmarks.harness import Findings
from masksr.training.device import cores

PACKAGES = ("torch", "numpy", "scipy", "pillow", "pyiqa", "dvc")
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
Seconds = dict[str, list[float]]  # of a call of each variant, one number a round


def measure(found: Findings, device: str, seconds: float) -> dict[str, dict[str, float]]:
    """Write down what the machine is and its ``peaks``, which are returned."""
    found.add("machine", "versions", **describe(device))
    measured = peaks(device, seconds)
    for precision, speeds in measured.items():
        found.add("machine", f"{precision}, at most", **{f"{kind} TFLOP/s": v / 1e12 for kind, v in speeds.items()})
    return measured


def describe(device: str) -> dict[str, Any]:
    """Date, CPU, cores, memory, GPU, driver, operating system and versions, on Linux."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    about = {"date": time.strftime("%Y-%m-%d"), "cpu": cpu[1] if cpu else platform.machine(), "cores": cores()}
    about["memory GB"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
        about["gpu memory GB"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
        about["cuda"], about["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
        driver = Path("/proc/driver/nvidia/version")
        about["driver"] = driver.read_text().splitlines()[0] if driver.exists() else None
    about |= {"system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            about[name] = version(name)
    return about


def peaks(device: str, seconds: float) -> dict[str, dict[str, float]]:
    """FLOP/s of the best of many products of matrices and of many convolutions: {"fp32": {"matmul": ..., "conv": ...}}.

    On a CPU of one thread; TF32 on GPUs that have it. Each kind is repeated for about ``seconds``.
    """
    gpu = device == "cuda"
    torch.backends.cudnn.benchmark = True
    side, channels, width, batch = (8192, 256, 128, 16) if gpu else (1536, 64, 96, 1)
    found = {}
    for name, dtype in PRECISIONS.items():
        if name == "tf32" and not (gpu and torch.cuda.get_device_capability() >= (8, 0)):
            continue
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        x = torch.randn(batch, channels, width, width, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            found[name] = {
                "matmul": 2 * side**3 / _best(lambda a=a, b=b: a @ b, seconds),
                "conv": 2 * x.numel() * channels * 9 / _best(lambda x=x, w=w: F.conv2d(x, w, padding=1), seconds),
            }
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return found


def _best(work: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest of many calls, after the one in which cuDNN tries its kernels."""
    return min(Timer("work()", globals={"work": work}).blocked_autorange(min_run_time=seconds).times)


def interleave(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    before: Callable[[str], None] = lambda name: None,
) -> Seconds:
    """Time all variants in turns, each once a round: a machine that gets slower gets slower for all of them.

    before: called with the name of a variant before its turn, off the clock. The garbage collector does not run.
    """
    seconds: Seconds = {name: [] for name in variants}
    gc.disable()
    try:
        for number in range(-warm_up, rounds):
            for name, run in variants.items():
                gc.collect()
                before(name)
                begin = time.perf_counter()
                run()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - begin)
    finally:
        gc.enable()
    return seconds


def compare(seconds: Seconds, slow: str, fast: str) -> dict[str, Any]:
    """How many times as fast as ``slow`` is ``fast``: median and quartiles over the rounds, in which both met the same
    machine; and the median seconds of both.
    """
    times = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    low, median, high = np.percentile(times, [25, 50, 75])
    medians = {f"{name} s": statistics.median(seconds[name]) for name in (slow, fast)}
    return {"ratio": float(median), "quartiles": f"{low:.3g} to {high:.3g}", **medians}
