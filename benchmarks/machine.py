"""The machine: what it is, which versions are installed, and the most operations per second that it was seen to do."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from masksr.training.device import cores

PACKAGES = ("torch", "numpy", "scipy", "pillow", "pyiqa", "dvc")
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def describe(device: str) -> dict[str, Any]:
    """CPU, cores, memory, GPU, operating system and versions."""
    about: dict[str, Any] = {"cpu": _cpu_name(), "cores": cores()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        about["memory GB"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
        about["gpu memory GB"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
        about["cuda"], about["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
    about["system"] = f"{platform.system()} {platform.machine()}"
    about["python"] = platform.python_version()
    return about | {name: _version(name) for name in PACKAGES}


def peaks(device: str, seconds: float) -> dict[str, dict[str, float]]:
    """FLOP/s of the best of many products of matrices and of many convolutions: {"fp32": {"matmul": ..., "conv": ...}}.

    Of one thread where this process has one; TF32 on GPUs that have it. Each kind is repeated for about ``seconds``.
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
                "matmul": 2 * side**3 / _best(lambda a=a, b=b: a @ b, seconds, gpu),
                "conv": 2 * x.numel() * channels * 9 / _best(lambda x=x, w=w: F.conv2d(x, w, padding=1), seconds, gpu),
            }
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return found


def _best(work: Callable[[], Any], seconds: float, gpu: bool) -> float:
    """Seconds of the fastest of many calls, after one in which cuDNN tries its kernels."""
    work()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        begin = time.perf_counter()
        work()
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
