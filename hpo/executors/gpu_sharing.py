"""Computes how many trials fit on one GPU, from the measured memory of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.errors import HpoError
from hpo.core.machine import free_memory_mib
from hpo.core.protocols import Executor, Trainer
from hpo.core.spec_dicts import lookup
from hpo.executors.division import Slots, share_cards
from hpo.executors.host_memory import fit_in_memory
from hpo.executors.probing import probe_slots
from hpo.study.sharing import AUTO

if TYPE_CHECKING:
    from search_spaces import SearchSpace

_MARGIN = 1.25
"""The allocator's gaps, and what other configurations need beyond the default one."""
_CONTEXT_MIB = 600.0
"""What CUDA itself takes in every process, beside the trial's own memory."""
MOST = 8
"""Trials on one GPU beyond which nothing is gained: they take turns on it."""
LEAST_GAIN = 1.05
"""Trials share a card where they are together this much quicker than one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What was chosen, and why in one line."""

    per_gpu: int
    reason: str
    at_a_time: int | None = None
    """Of the whole machine, where its memory and not its cores decided."""


Measured = tuple[dict[str, Any], Packing | None]
"""What was measured of an epoch in the slots, and what to tell of their choice."""


def measure_packed(
    executor: Executor,
    spec: Mapping[str, Any],
    slots: Slots,
    asked: int | str | None,
    growth: tuple[float, str] = (1.0, ""),
    *,
    as_told: bool = False,
    trials: int | None = None,
    briefly: bool = False,
) -> tuple[dict[str, Any], Slots, Packing | None]:
    """Measure an epoch in all slots at once, and divide GPUs anew where that was asked for.

    Without a GPU there are no more places than memory holds (`hpo.executors.host_memory`).

    With `auto` one trial per GPU is measured first, then as many at once as fit; they stay together
    only where that is quicker than one after the other.

    Args:
        executor: places calls and trials; is given a new division.
        spec: the base spec.
        slots: one trial per GPU for `auto`.
        asked: `auto`, a number, or None.
        growth: how much more memory a searched configuration may take than this spec, and why.
        as_told: whether the user said how many trials run at a time, or they run elsewhere.
        trials: how many there are to train; None: any number.
        briefly: as of `fit_in_memory`.

    Returns:
        The probe of the slots as they are then, the slots, and what to tell of the choice.
    """
    slots, scarce = fit_in_memory(
        executor, spec, slots, None if as_told else free_memory_mib(), growth, briefly=briefly
    )
    probe = probe_slots(executor, spec)
    if scarce:
        return probe, slots, Packing(per_gpu=1, reason=scarce, at_a_time=slots.count)
    if asked is None:
        return probe, slots, None
    if asked != AUTO:
        return probe, slots, _as_asked(slots, int(asked), probe, growth[0])
    packing = fit_on_card(probe, slots, growth, trials)
    if packing.per_gpu == 1:
        return probe, slots, packing
    number, together = _most_together(executor, spec, slots, packing.per_gpu)
    reason, gain = packing.reason, _gain(probe, together, number)
    if number < packing.per_gpu:
        reason += f", and yet {number + 1} together ran out of memory"
    if number == 1 or gain < LEAST_GAIN:
        executor.divide(slots)
        if number > 1:
            reason = f"{number} would fit, but are together no quicker than one (x{gain:.2f})"
        return probe, slots, Packing(per_gpu=1, reason=reason)
    words = f"{reason}; together they train {gain:.1f} times as fast as one"
    return together, share_cards(slots, number), Packing(per_gpu=number, reason=words)


def _most_together(
    executor: Executor, spec: Mapping[str, Any], slots: Slots, number: int
) -> tuple[int, dict[str, Any]]:
    """Measure so many trials on each card, and fewer while they run out of memory together."""
    for count in range(number, 1, -1):
        executor.divide(share_cards(slots, count))
        try:
            return count, probe_slots(executor, spec)
        except HpoError as error:
            if getattr(error, "kind", "") != "out_of_memory":
                raise
    return 1, {}


def fit_on_card(
    probe: Mapping[str, Any],
    slots: Slots,
    growth: tuple[float, str] = (1.0, ""),
    trials: int | None = None,
) -> Packing:
    """Say how many trials fit on a card, by the peak of one of them, with a margin.

    Args:
        probe: with `peak_memory_mib`, and `total_memory_mib` and `free_memory_mib` of a GPU.
        slots: of the machine, for its cores.
        growth: how much more memory a searched configuration may take, and why.
        trials: how many there are to train; None: any number.
    """
    if slots.total_gpus == 0:
        return Packing(per_gpu=1, reason="no GPU is visible; trials share the CPU's cores")
    if slots.devices > 1:
        return Packing(per_gpu=1, reason=f"each trial has {slots.devices} GPUs to itself")
    peak, total = probe.get("peak_memory_mib"), probe.get("total_memory_mib")
    if not peak or not total:
        return Packing(per_gpu=1, reason="the trainer does not tell how much memory it takes")
    factor, why = growth
    need = float(peak) * factor * _MARGIN + _CONTEXT_MIB
    # What is free was seen by a process that had CUDA's own part already.
    room = min(float(total), float(probe.get("free_memory_mib") or total) + _CONTEXT_MIB)
    fit = math.floor(room / need)
    cores = int(slots.cpus)
    words = f"{peak:.0f} MiB at the peak"
    words += f", up to {factor:.2g} times that {why}" if factor > 1 else ""
    words += f", with a margin {need:.0f} of the card's {total:.0f} MiB each"
    words += f", of which {room:.0f} are free" if room < total else ""
    if fit <= 1:
        return Packing(per_gpu=1, reason=f"{words}: one fits")
    limits = [
        (fit, f"{words}: {fit} fit"),
        (cores, "as many as there are CPU cores for each GPU"),
        (MOST, f"{words}: {fit} fit, and at most {MOST} are used"),
    ]
    if trials is not None:
        limits.append((-(-trials // slots.count), "as many as there are trials for each GPU"))
    number, reason = min(limits)
    return Packing(per_gpu=max(1, number), reason=reason)


def growth_of(
    space: SearchSpace, trainer: Trainer, base_spec: Mapping[str, Any]
) -> tuple[float, str]:
    """How much more memory than the base spec a searched batch takes at its largest: (times, why).

    Most memory of a training is its batch's activations.
    """
    for parameter in space.parameters:
        if parameter.name not in trainer.multiple_of:
            continue
        drawn = parameter.distribution
        high = max(drawn.get("options") or [drawn.get("high") or 0])
        usual = float(lookup(base_spec, parameter.name))
        if 0 < usual < high:
            return float(high) / usual, f"at {parameter.name} {high:g}"
    return 1.0, ""


def _as_asked(slots: Slots, asked: int, probe: Mapping[str, Any], factor: float) -> Packing:
    """The number that was asked for, with a word of warning where it will hardly fit."""
    if slots.total_gpus == 0:
        return Packing(per_gpu=1, reason="no GPU is visible; trials share the CPU's cores")
    peak, total = probe.get("peak_memory_mib"), probe.get("total_memory_mib")
    reason = "as asked for"
    if peak and total:
        left = float(total) / asked - _CONTEXT_MIB
        reason += f"; each may take {left:.0f} MiB and was measured to take {peak:.0f}"
        if float(peak) * factor > left:
            reason += ", which is TOO LITTLE for some: those run out of memory"
    return Packing(per_gpu=slots.per_card, reason=reason)


def _gain(alone: Mapping[str, Any], together: Mapping[str, Any], number: int) -> float:
    """How many times as fast a card trains with so many trials on it."""
    one, each = (float(probe.get("seconds_per_epoch") or 0.0) for probe in (alone, together))
    return number * one / each if one and each else float(number)
