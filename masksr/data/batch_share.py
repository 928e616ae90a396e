"""The share of a batch that one process computes, and what the processes of a training compute together.

A loss that is a mean over images is the mean of the losses of equal shares, and the same holds for its
gradient: each process computes the gradient of its own share, and DistributedDataParallel averages them.
What couples the images of a batch (a mean inside a loss or a mask, batch normalisation) is averaged over the
processes at that point, and so is its gradient. Any number of processes thus takes the step that a single
one would, up to the rounding of sums in another order.
"""

import inspect
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Share:
    """The share of process ``rank`` of ``ranks`` in a batch that is computed in ``parts``, one after another.

    With more than one rank, torch's default process group must exist and have that many.
    """

    rank: int = 0
    ranks: int = 1
    parts: int = 1

    def of(self, batch: np.ndarray) -> np.ndarray:
        """Return this process's rows (B / ranks, ...) of a batch (B, ...).

        Every part is split among the processes, so that a part holds the same images for any number of them.
        """
        parts = batch.reshape(self.parts, self.ranks, -1, *batch.shape[1:])
        return parts[:, self.rank].reshape(-1, *batch.shape[1:])

    def mean(self, x: Tensor) -> Tensor:
        """Return the scalar mean of ``x`` over all processes, with its gradient. All of them must call it."""
        return x.mean() if self.ranks == 1 else average(x.mean())

    def synchronise(self, network: nn.Module, device: torch.device) -> None:
        """Make batch normalisation in ``network`` use the statistics of all processes; its keys stay."""
        if self.ranks == 1:
            return
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return
        for layer in network.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = SyncedBatchNorm

    def replicate(self, network: nn.Module) -> nn.Module:
        """Return what to call in place of ``network`` to have its gradients averaged over the processes."""
        if self.ranks == 1:
            return network
        # Batch statistics are already synchronised, or each process's own. torch 2.14 renames this option.
        # find_unused_parameters keeps the order of sums from changing after the first step, so that a
        # resumed training rounds like an uninterrupted one (which two processes do anyway).
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        return DistributedDataParallel(network, find_unused_parameters=True, **{name: False})


WHOLE = Share()


def average(x: Tensor) -> Tensor:
    """Return the elementwise mean of ``x`` over all processes. All must call it, in the same order."""
    return _Average.apply(x)


class _Average(torch.autograd.Function):
    """Backward averages over the processes too: each one's loss is a share of the loss and has this mean."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Average.forward(ctx, gradient)


class SyncedBatchNorm(nn.BatchNorm2d):
    """nn.SyncBatchNorm for a CPU, where torch has none: every process normalises the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        shares = torch.stack([x if of == rank else torch.zeros_like(x) for of in range(ranks)])
        whole = ranks * average(shares)  # (ranks, B / ranks, C, H, W): the sum gathers all shares
        return super().forward(whole.flatten(0, 1)).unflatten(0, (ranks, -1))[rank]
