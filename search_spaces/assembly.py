"""Builds the domain of a parameter from its draft."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from search_spaces.choices import set_members, weights_of
from search_spaces.domains.base import Domain
from search_spaces.domains.lists import AllOrNone, Derived, Subset
from search_spaces.domains.options import Options, Ordinal, count_slots
from search_spaces.draft import Draft
from search_spaces.schema import Kind
from search_spaces.sequences import make_increasing, make_number, make_run, make_square, make_vector

_ORDERED = (Kind.ORDERED, Kind.ORDERED_INT, Kind.INT, Kind.FLOAT)


def make_domain(draft: Draft) -> tuple[Domain | None, str]:
    """Return a draft's domain and why it looks that way; None when a problem was noted."""
    if draft.derived is not None:
        return _derived(draft)
    if draft.options is not None:
        return _choice(draft)
    if draft.is_number:
        return _number(draft)
    for refused in _refusals(draft):
        draft.problem(f"a list like this is not drawn {refused}; name options or fix it")
    return _MAKERS[draft.kind](draft)


def _refusals(draft: Draft) -> Iterator[str]:
    """Say which conditions the elements of a list are not drawn by."""
    if draft.kind in (Kind.SUBSET, Kind.OPTIONAL):
        return
    if draft.powers:
        yield f"from powers of {draft.powers[0]:g}"
    is_free = draft.kind.is_number or (draft.is_int and draft.step == 1)
    if draft.step and not is_free:
        yield f"from multiples of {draft.step_reason}"
    if draft.excluded and draft.kind is Kind.BACKBONE_RUN:
        yield f"without {draft.excluded[0]:g}"


def _derived(draft: Draft) -> tuple[Domain | None, str]:
    clause = draft.derived
    if clause is None or clause.number is None:
        return None, ""
    domain = Derived(parent=clause.parents[0], divisor=clause.number)
    return domain, "follows its parent"


def _number(draft: Draft) -> tuple[Domain | None, str]:
    interval = draft.interval
    if interval is None:
        return None, ""
    number = make_number(
        draft, interval, anchor=draft.default, step=draft.grid, relations=draft.relations
    )
    return number, interval.why


def _choice(draft: Draft) -> tuple[Domain | None, str]:
    options = draft.options or ()
    if not options:
        return None, ""
    weights = weights_of(draft)
    slots = count_slots(weights) if weights else ()
    prior = ", their weights as a prior" if slots else ""
    if draft.kind not in _ORDERED:
        why = f"{len(options)} options without an order{prior}"
        return Options(options=options, slots=slots), why
    type_name = "power" if draft.powers and not draft.change.options else "ordinal"
    domain = Ordinal(options=options, slots=slots, relations=draft.relations, type_name=type_name)
    return domain, f"{len(options)} values in order{prior}"


def _subset(draft: Draft) -> tuple[Domain | None, str]:
    return Subset(options=set_members(draft)), "each option is in or out"


def _all_or_none(draft: Draft) -> tuple[Domain | None, str]:
    return AllOrNone(options=set_members(draft)), "nothing, or the whole list"


_MAKERS: dict[Kind, Callable[[Draft], tuple[Domain | None, str]]] = {
    Kind.INCREASING_LIST: make_increasing,
    Kind.EQUAL_PAIR: make_square,
    Kind.BACKBONE_RUN: make_run,
    Kind.SUBSET: _subset,
    Kind.OPTIONAL: _all_or_none,
    Kind.FLOAT: make_vector,
    Kind.INT: make_vector,
}
