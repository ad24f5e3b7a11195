"""Measures an epoch in every slot at once, as the search will run it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hpo.core.protocols import Executor


def probe_slots(executor: Executor, spec: Mapping[str, Any], *more: Any) -> dict[str, Any]:
    """Let every slot measure an epoch at the same time.

    One trial alone is quicker than several that share memory and cores; the slowest counts.

    Args:
        executor: of the slots.
        spec: what is measured.
        more: given to the trainer's `probe` behind the spec.

    Returns:
        What the trainer's `probe` tells in the slowest slot, the highest peak memory of all, the
        least that was free, and `start_s`: seconds until a worker that is started anew has come as
        far as its first step.
    """
    began = time.monotonic()
    measured = [dict(result) for result in executor.call_in_all_slots("probe", spec, *more)]
    wall = time.monotonic() - began
    slowest = max(measured, key=lambda probe: float(probe.get("seconds_per_epoch") or 0.0))
    took = slowest.get("took_s")
    peaks = [float(probe["peak_memory_mib"]) for probe in measured if probe.get("peak_memory_mib")]
    if peaks:
        slowest["peak_memory_mib"] = max(peaks)
    free = [float(probe["free_memory_mib"]) for probe in measured if probe.get("free_memory_mib")]
    if free:
        slowest["free_memory_mib"] = min(free)
    return {**slowest, "start_s": 0.0 if took is None else round(max(0.0, wall - took), 2)}
