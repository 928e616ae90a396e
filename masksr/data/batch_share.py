"""The share of a batch that one process computes, and what the processes of a training work out together.

A loss that is a mean over images is the mean of the losses of equal shares, and so is its gradient: each
process takes the gradient of its own share, and DistributedDataParallel averages them. What couples the
images of a batch (a mean inside a loss or a mask, batch normalisation) is averaged over the processes where
it stands, its gradient as well. So any number of processes takes the step that one would, but for the
rounding of sums in another order.
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
    """What is computed at once: by process ``rank`` of ``ranks``, in ``parts`` one after the other.

    With more than one rank, torch's default process group must be there and have as many.
    """

    rank: int = 0
    ranks: int = 1
    parts: int = 1

    def of(self, batch: np.ndarray) -> np.ndarray:
        """This process's rows (B / ranks, ...) of a batch (B, ...).

        Every part is split among the processes, so that a part holds the same images for any number of them.
        """
        parts = batch.reshape(self.parts, self.ranks, -1, *batch.shape[1:])
        return parts[:, self.rank].reshape(-1, *batch.shape[1:])

    def mean(self, x: Tensor) -> Tensor:
        """The mean of ``x`` over all processes, a scalar, with its gradient. All of them must ask for it."""
        return x.mean() if self.ranks == 1 else average(x.mean())

    def synchronise(self, network: nn.Module, device: torch.device) -> None:
        """Give the batch normalisation of ``network`` the statistics of all processes; its keys stay."""
        if self.ranks == 1:
            return
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return
        for layer in network.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = SyncedBatchNorm

    def replicate(self, network: nn.Module) -> nn.Module:
        """What to call in place of ``network``, so that its gradients are averaged over the processes."""
        if self.ranks == 1:
            return network
        # Statistics are synchronised already, or each process's own. torch 2.14 has a new name for that.
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        return DistributedDataParallel(network, **{name: False})


WHOLE = Share()


def average(x: Tensor) -> Tensor:
    """The mean of ``x`` over all processes, element by element. All must ask for it, in the same order."""
    return _Average.apply(x)


class _Average(torch.autograd.Function):
    """Backwards a mean over the processes too: each one's loss is a share of the loss and has this mean."""

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
        whole = ranks * average(shares)  # (ranks, B / ranks, C, H, W): the sum of what each has of it
        return super().forward(whole.flatten(0, 1)).unflatten(0, (ranks, -1))[rank]
