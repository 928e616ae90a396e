"""One training by several processes on one machine: torchrun as a child, and all that can go wrong with children.

``launch`` is called where the training is wanted, in a notebook's kernel. Its child is torchrun's agent, which starts a
process for each rank and ends all when one fails. What rank 0 prints appears in the caller, the error of the rank that
failed first is raised there, and nobody outlives the caller, however it ends.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masksr.errors import MasksrError

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(hours=1)  # of ranks with one that validates or writes; one that dies is noticed at once
PARENT = "MASKSR_PARENT"  # the process whose end is the end


def check(gpus: int, device: torch.device, wanted: str) -> None:
    """Raise MasksrError unless ``device`` is there ``gpus`` times; wanted: train.device, of which cpu is no limit."""
    import torch

    there = torch.cuda.device_count() if device.type == "cuda" else int(device.type == "mps")
    if 1 < gpus > there and wanted != "cpu":
        found = f"{there} GPU{'s' * (there != 1)}"
        raise MasksrError(
            f"train.gpus: {gpus}, but {found} can be used here; set it to {max(there, 1)} in params.yaml (a training "
            "that has begun goes on from its last checkpoint)"
        )


def launch(function: Callable[..., None], *arguments: Any, ranks: int, backend: str) -> None:
    """Call ``function(rank, ranks, *arguments)`` in ``ranks`` new processes; return when all have returned.

    function: of a module, by its name there. arguments: what pickle takes. backend: ``nccl``, a GPU for each rank, or
    ``gloo``, with the CPU's threads divided among them. torch's default process group is there when they begin.

    Raises MasksrError with the error of the rank that failed first, whatever failed after it. The ranks end with the
    caller: when it is interrupted, and on Linux at once, elsewhere within a second, when it is killed.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="masksr-") as private:
        folder = Path(private)
        (folder / "job").write_bytes(pickle.dumps((function, arguments)))
        environment = os.environ | {
            PARENT: str(os.getpid()),
            "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // ranks)),
            "PYTHONPATH": os.pathsep.join(sys.path),  # so that it imports what we do
            "PYTHONUNBUFFERED": "1",
        }
        if backend == "gloo":  # which would look up the machine's name otherwise
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
        command = [sys.executable, "-m", "masksr.training.distributed", "agent", private, str(ranks), backend]
        # A session of its own: the terminal's Ctrl-C reaches us, and we end it.
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as agent:
            try:
                printed = _pass_on(agent)
            except BaseException:
                agent.kill()
                while os.read(agent.stdout.fileno(), 65536):  # until the last of them has closed it
                    pass
                raise
        if agent.returncode:
            raise _first_error(folder, ranks, agent.returncode, printed)


def _pass_on(agent: subprocess.Popen[bytes]) -> str:
    """Print what the processes print, as it comes; the end of it."""
    decoder, tail = codecs.getincrementaldecoder("utf-8")("replace"), ""
    while chunk := os.read(agent.stdout.fileno(), 65536):
        text = decoder.decode(chunk)
        sys.stdout.write(text)
        sys.stdout.flush()
        tail = (tail + text)[-2000:]
    agent.wait()
    return tail


def _first_error(folder: Path, ranks: int, status: int, printed: str) -> MasksrError:
    errors = [json.loads(path.read_text()) for path in folder.glob("error-*.json")]
    ends = json.loads((folder / "ends.json").read_text()) if (folder / "ends.json").exists() else {}
    # Where one was killed, what the others say is that they miss it. SIGTERM is how torchrun ends them when one failed.
    if killed := [(rank, -code) for rank, code in ends.items() if code < 0 and code != -signal.SIGTERM]:
        rank, number = killed[0]
        why = "; most often memory ran out" if number == signal.SIGKILL else ""
        return MasksrError(f"rank {rank} of {ranks} was ended by {signal.Signals(number).name}{why}")
    if errors:
        first = min(errors, key=lambda error: error["time"])
        where = f"rank {first['rank']} of {ranks}"
        if first["ours"]:
            return MasksrError(f"{first['message']} ({where})")
        return MasksrError(f"{where} failed: {first['message']}\n{first['traceback']}")
    return MasksrError(f"torchrun ended with status {status}:\n{printed}")


def _agent(folder: Path, ranks: str, backend: str) -> None:
    """The child of ``launch``: torchrun on this module, once more, as the ranks."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # its report of a failure; ours is what ``launch`` raises
    options = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={ranks}", f"--log-dir={folder}"]
    try:
        run.run(run.parse_args([*options, "-m", "masksr.training.distributed", "rank", str(folder), backend]))
    except ChildFailedError as error:
        ends = {rank: failure.exitcode for rank, failure in error.failures.items()}
        (folder / "ends.json").write_text(json.dumps(ends))
        sys.exit(1)


def _rank(folder: Path, backend: str) -> None:
    """A child of torchrun: one rank."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        if rank > 0:  # they would all say the same
            os.dup(1)  # stays open: by that the caller knows when the last of us has ended
            with open(folder / f"rank-{rank}.log", "wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
        import torch
        import torch.distributed as dist

        function, arguments = pickle.loads((folder / "job").read_bytes())
        if backend == "nccl":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend, timeout=PATIENCE)
        function(rank, ranks, *arguments)
        dist.barrier()
        dist.destroy_process_group()
    except BaseException as error:
        ours = isinstance(error, MasksrError)
        report = {
            "rank": rank,
            "time": time.monotonic(),  # of the machine, so the same for all ranks
            "ours": ours,
            "message": str(error) if ours else f"{type(error).__name__}: {error}",
            "traceback": "".join(traceback.format_exception(error)[-8:]).rstrip(),
        }
        unfinished = folder / f"unfinished-{rank}"
        unfinished.write_text(json.dumps(report))
        unfinished.replace(folder / f"error-{rank}.json")
        sys.stdout.flush()
        os._exit(1)  # at once: tidying up would wait for the other ranks


def _end_with_the_parent() -> None:
    """However the parent ends: on Linux by the kernel, elsewhere (and if it has ended by now) by looking."""
    parent = int(os.environ[PARENT])
    os.environ[PARENT] = str(os.getpid())  # for the children
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _end_with_the_parent()
    role, private, *rest = sys.argv[1:]
    (_agent if role == "agent" else _rank)(Path(private), *rest)
