"""One training by several processes on one machine: torch.multiprocessing, with errors in a user's words."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from masksr.io import MasksrError

TIMEOUT = timedelta(hours=1)  # of ranks that wait for one that validates or writes
OURS = f"{MasksrError.__module__}.{MasksrError.__name__}: "  # as a traceback names it


def check_gpus(gpus: int, device: torch.device, wanted: str) -> None:
    """Raise MasksrError unless ``device`` is there ``gpus`` times; wanted: train.device, cpu is no limit."""
    there = torch.cuda.device_count() if device.type == "cuda" else int(device.type == "mps")
    if 1 < gpus > there and wanted != "cpu":
        raise MasksrError(
            f"train.gpus: {gpus}, but {there} can be used here; set it to {max(there, 1)} in params.yaml (a "
            "training that has begun goes on from its last checkpoint)"
        )


def launch(function: Callable[..., None], *arguments: Any, ranks: int, backend: str) -> None:
    """Call ``function(rank, ranks, *arguments)`` in ``ranks`` new processes; return when all have returned.

    function: of a module, by its name there. arguments: what pickle takes. backend: ``nccl``, a GPU for each
    rank, or ``gloo``, with the CPU's threads divided among them. torch's default process group is there when
    they begin. What rank 0 prints appears in the caller.

    When one rank fails, the others are ended and its error is raised here: a MasksrError as such, another
    with its traceback. They end with the caller, when it is interrupted and when it is killed (on Linux).
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
    # When the caller dies, Linux sends SIGINT, as spawn asks it to: that must end a rank that waits in C too.
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
