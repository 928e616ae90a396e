"""Counts operations and bytes of whatever torch does, on real tensors or on fake ones that have only a shape."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Meter(TorchDispatchMode):
    """Counts, of all that torch does inside: ``flop``, and ``peak``, the most bytes of tensors alive at once.

    torch's own FlopCounterMode cannot be used here: it hooks the modules in a way that ``autograd.grad`` with respect
    to an input of the discriminator refuses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flop += formula(*args, **(kwargs or {}), out_val=out)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self._known:
                self._known.add(storage._cdata)  # views and in-place results share the storage and count once
                self.alive += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.alive)
        return out

    def _gone(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.alive -= size
