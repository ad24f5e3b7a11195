"""Counts operations for which a CPU waits when their tensors are on a GPU.

They are those whose result the CPU needs to go on: a number as a Python value, or a tensor whose
length depends on values. They are counted as they are dispatched, so a CPU shows them too.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "_local_scalar_dense", "_unique2", "bincount", "equal", "is_nonzero", "masked_select",
    "nonzero", "repeat_interleave", "unique_consecutive", "unique_dim",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_MASKS = {torch.bool, torch.uint8}


class _Counting(TorchDispatchMode):
    def __init__(self, counts):
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation._schema.name.partition("::")[2]
        has_mask = name in _INDEXING and any(i is not None and i.dtype in _MASKS for i in args[1])
        if name in WAITING or has_mask:
            self._counts[name] += 1
        return operation(*args, **(kwargs or {}))


@contextmanager
def count_waits():
    """Count inside; yields a Counter of names of operations."""
    counts: Counter[str] = Counter()
    with _Counting(counts):
        yield counts
