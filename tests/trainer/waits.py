"""Counts operations for which a CPU waits when their tensors are on a GPU.

They are those whose result the CPU needs to go on: a number as a Python value, or a tensor whose
length depends on values. Every operation that torch dispatches is counted, also those that others
begin (indexing by a mask begins `nonzero`), so a CPU shows what a GPU would wait for. Numbers that
an operation reads inside, as the fused optimizers do on a CPU, do not count: theirs on a GPU are
kernels.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import torch

WAITING = {
    "_unique2", "bincount", "equal", "is_nonzero", "masked_select", "nonzero", "repeat_interleave",
    "unique_consecutive", "unique_dim",
}  # fmt: skip


@contextmanager
def count_waits():
    """Count inside; yields a Counter of names of operations, which is filled at the end."""
    counts: Counter[str] = Counter()
    with torch.autograd.profiler.profile() as profile:
        yield counts
    for event in profile.function_events:
        name, parent = event.name.removeprefix("aten::"), event.cpu_parent
        is_outermost = parent is None or not parent.name.startswith("aten::")
        counts[name] += name in WAITING or (name == "item" and is_outermost)
    for name in [name for name, count in counts.items() if not count]:
        del counts[name]
