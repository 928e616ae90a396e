"""Where a training runs, in which precision, and in how many processes."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from masksr.io import MasksrError

Autocast = Callable[[], torch.autocast]
Precision = Literal["fp32", "tf32", "bf16"]
TIMEOUT = timedelta(hours=1)  # for ranks that wait while another validates or writes
OURS = f"{MasksrError.__module__}.{MasksrError.__name__}: "  # as a traceback names it


def choose_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """Return the device that ``train.device`` asks for; ``auto`` prefers cuda, then mps, then cpu.

    Raises MasksrError when that device is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, yes in there.items() if yes)  # type: ignore[assignment]
    elif not there[wanted]:
        raise MasksrError(f"train.device: {wanted} is not available on this machine; use auto or cpu")
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: cuDNN's default would round to 10 bits
    return torch.device(wanted)


def cores() -> int:
    """Return how many CPU cores this process may use: not all where ``masksr cluster`` shares them out."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("MASKSR_CORES", "")
    return min(there, int(limit)) if limit.isdecimal() and int(limit) else there


def make_deterministic(device: torch.device) -> None:
    """Make the same seed give the same bits on the same machine, which CUDA has to be told.

    Where CUDA has no deterministic implementation of an operation, torch warns and goes on.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # saves a kernel for each new tensor


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device ran out of memory: CUDA has a class for it, others only words."""
    words = ("out of memory", "allocate memory", "STATUS_ALLOC_FAILED")
    by_name = any(word in str(error) for word in words)
    return by_name or isinstance(error, torch.OutOfMemoryError | MemoryError)


def autocast(device: torch.device, precision: Precision) -> Autocast:
    """Return a factory of contexts in which the networks compute in ``precision``; losses stay in fp32."""
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")


def allow_tf32(device: torch.device, precision: Precision) -> None:
    """Let convolutions and matrix products round what they multiply to TF32's 10 bits, for ``tf32`` only.

    This affects the whole process. Raises MasksrError where ``tf32`` is asked of a device without it.
    """
    wanted = precision == "tf32"
    if wanted and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        name = describe_device(device)
        raise MasksrError(f"train.precision: tf32 needs an NVIDIA GPU from Ampere on, not {name}; use fp32")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = wanted


def memory_format(device: torch.device, precision: Precision) -> torch.memory_format:
    """Return the faster memory layout of images and weights: channels last, except for fp32 on CUDA.

    With channels last a CPU is faster in both precisions (measured), and so are the tensor cores of a GPU.
    fp32 does not use these, and cuDNN's fp32 kernels for channels last are few and slow.
    """
    nchw = device.type == "cuda" and precision == "fp32"
    return torch.contiguous_format if nchw else torch.channels_last


def compile_network(network: nn.Module, how: bool | Literal["reduce-overhead"]) -> None:
    """Compile a network in place, for fixed shapes: else graphs would depend on shapes seen before a resume.

    how: ``reduce-overhead`` also replays CUDA graphs; each step then begins with
    ``cudagraph_mark_step_begin``. Kernels are not chosen by timing them (inductor's deterministic mode):
    another process could choose others, and a training resumed there would get other bits.
    """
    from torch._inductor import config  # here, so that only compiling waits for the compiler's import

    if hasattr(config, "deterministic"):  # from torch 2.10 on
        config.deterministic = True
    network.compile(dynamic=False, mode=None if how is True else how)


def describe_device(device: torch.device) -> str:
    """Describe the hardware, for provenance: ``NVIDIA H100 80GB HBM3`` or ``CPU, 2 threads``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {torch.get_num_threads()} threads"


# ---- One training by several processes on one machine, with errors in a user's words ----------------------
def check_gpus(gpus: int, device: torch.device, wanted: str) -> None:
    """Raise MasksrError unless there are ``gpus`` such devices. wanted: train.device; cpu sets no limit."""
    there = torch.cuda.device_count() if device.type == "cuda" else int(device.type == "mps")
    if 1 < gpus > there and wanted != "cpu":
        raise MasksrError(
            f"train.gpus: {gpus}, but {there} can be used here; set it to {max(there, 1)} in params.yaml (a "
            "training that has begun goes on from its last checkpoint)"
        )


def launch(function: Callable[..., None], *arguments: Any, ranks: int, backend: str) -> None:
    """Call ``function(rank, ranks, *arguments)`` in ``ranks`` new processes; return when all have returned.

    function: defined at the top of a module. arguments: picklable. backend: ``nccl``, with a GPU for each
    rank, or ``gloo``, with the CPU's threads divided among them. torch's default process group exists when
    they begin. What rank 0 prints appears in the caller. When one rank fails, the others are ended and its
    error is raised: a MasksrError as such, others with their traceback. All end with the caller; where it is
    killed, on Linux.
    """
    threads = max(1, torch.get_num_threads() // ranks)
    with tempfile.TemporaryDirectory(prefix="masksr-") as folder:
        setup = (ranks, backend, f"file://{folder}/rendezvous", threads)
        context = mp.spawn(_run_rank, (*setup, function, arguments), nprocs=ranks, join=False)
        try:
            while not context.join():
                pass
        except mp.ProcessExitedException as error:
            name = error.signal_name or f"status {error.exit_code}"
            why = "; most often memory ran out" if name == "SIGKILL" else ""
            raise MasksrError(f"rank {error.error_index} of {ranks} was ended by {name}{why}") from None
        except mp.ProcessRaisedException as error:
            _, ours, message = str(error).rpartition(OURS)
            if ours:
                raise MasksrError(f"{message.strip()} (rank {error.error_index} of {ranks})") from None
            raise
        finally:
            for process in context.processes:
                process.kill()
                process.join()


def _run_rank(
    rank: int, ranks: int, backend: str, rendezvous: str, threads: int, function: Any, arguments: Any
) -> None:
    # When the caller dies, Linux sends SIGINT, as spawn asks it to: it must end even a rank waiting in C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if rank > 0:  # they would all say the same
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
    torch.set_num_threads(threads)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    else:  # gloo would look up the machine's name otherwise
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=ranks, timeout=TIMEOUT)
    function(rank, ranks, *arguments)
    dist.barrier()
    dist.destroy_process_group()
