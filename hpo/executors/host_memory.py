"""Lets fewer trials run at a time where the memory of a machine without a GPU holds no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpo.core.protocols import Executor
from hpo.core.text import count_of
from hpo.executors.division import Slots
from hpo.executors.probing import probe_slots

AMPLE_MIB = 8192
"""Where so much is free for every trial, nothing is measured: the recipes for photographs of the
trainers that we know take less (7 GB at 224 px)."""
MARGIN = 1.1
"""What is read beside a trial's own memory: its worker's buffers, the search itself."""


def fit_in_memory(
    executor: Executor,
    spec: Mapping[str, Any],
    slots: Slots,
    free_mib: int | None,
    growth: tuple[float, str] = (1.0, ""),
    *,
    briefly: bool = False,
) -> tuple[Slots, str]:
    """Measure one trial where memory may be short, and keep as many places as it holds.

    Args:
        executor: runs the measurement; is given a new division.
        spec: the base spec.
        slots: as the cores allow.
        free_mib: memory that new processes can take; None where it is not known, or where the user
            said how many run at a time.
        growth: how much more memory a searched configuration may take than this spec, and why.
        briefly: whether the trainer can measure memory alone (`brief` of `Trainer.probe`).

    Returns:
        The slots, and why there are fewer of them; nothing where there are not.
    """
    if slots.total_gpus or slots.count == 1 or not free_mib or free_mib >= slots.count * AMPLE_MIB:
        return slots, ""
    executor.divide(replace(slots, count=1))
    probe = probe_slots(executor, spec, True) if briefly else probe_slots(executor, spec)
    peak = float(probe.get("peak_memory_mib") or 0.0)
    factor, why = growth
    need = peak * factor * MARGIN
    fit = max(1, math.floor(free_mib / need)) if need else slots.count
    fewer = slots if fit >= slots.count else replace(slots, count=fit, cpus=slots.total_cpus // fit)
    executor.divide(fewer)
    if fewer is slots:
        return slots, ""
    words = f"each takes {peak:.0f} MiB at the peak"
    words += f", up to {factor:.2g} times that {why}" if factor > 1 else ""
    asked = slots.count
    return fewer, (
        f"{words}, with a margin {need:.0f}, and {free_mib} MiB of memory are free, where there "
        f"are cores for {count_of(asked, 'trial')}; --concurrent {asked} runs as many"
    )
