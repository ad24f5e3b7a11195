"""A parameter's draft: bounds and relations read from its leaf, before ranges are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces import grids
from search_spaces.clauses import COMPARISONS, Clause
from search_spaces.notes import Notes
from search_spaces.overlay import ParameterChange
from search_spaces.relations import Relation
from search_spaces.rule import Bounds, Interval
from search_spaces.schema import Kind, Leaf, is_finite, is_number

Limit = tuple[float | None, float | None]
"""(low, high) that a spec demands beside the schema; either may be None."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """One searched parameter while the space is being compiled."""

    leaf: Leaf
    change: ParameterChange
    default: Any
    """The value that the spec holds."""
    notes: Notes
    limit: Limit = (None, None)
    bounds: Bounds = field(default_factory=Bounds)
    conditions: Bounds = field(default_factory=Bounds)
    """The part of the bounds that conditions state; every element of a list must hold it."""
    because: str = ""
    """Which fixed values of others the bounds follow from, for messages."""
    step: float = 0.0
    step_reason: str = ""
    powers: tuple[float, ...] = ()
    """The bases of which every value is a power."""
    excluded: tuple[float, ...] = ()
    relations: tuple[Relation, ...] = ()
    derived: Clause | None = None
    options: tuple[Any, ...] | None = None
    """The values to choose from; None when the parameter is not searched as a choice."""
    interval: Interval | None = None
    span: Bounds = field(default_factory=Bounds)
    """The bounds that all elements of an increasing list share, or those of a share of a parent."""

    @property
    def name(self) -> str:
        """The parameter's dotted name."""
        return self.leaf.name

    @property
    def kind(self) -> Kind:
        """What values the parameter takes."""
        return self.leaf.kind

    @property
    def is_int(self) -> bool:
        """Whether values, or the elements of a list, are whole numbers."""
        if self.kind is Kind.INCREASING_LIST and isinstance(self.default, list):
            return all(isinstance(item, int) for item in self.default)
        return self.kind is not Kind.FLOAT

    @property
    def grid(self) -> float:
        """The distance of the values that are drawn; 0 for any real number."""
        return self.step or float(self.is_int)

    @property
    def is_vector(self) -> bool:
        """Whether a number is searched as a list of numbers, each with its own bounds."""
        is_listed = isinstance(self.default, list) or isinstance(self.change.low, tuple)
        return self.leaf.allows_list and is_listed and not self.change.stays_number

    @property
    def is_number(self) -> bool:
        """Whether the parameter is searched as one number."""
        is_plain = self.options is None and self.derived is None and not self.is_vector
        return self.kind.is_number and is_plain

    @property
    def is_measure(self) -> bool:
        """Whether every value is one number, so that others can be measured by it."""
        if self.options is not None:
            return all(map(is_number, self.options))
        return self.is_number or (self.derived is not None and self.kind.is_number)

    @property
    def parents(self) -> tuple[str, ...]:
        """Names whose values must be known first."""
        derived = self.derived.parents if self.derived else ()
        named = [name for relation in self.relations for name in relation.parents]
        return tuple(dict.fromkeys([*derived, *named]))

    def problem(self, text: str) -> None:
        """Note what makes the parameter impossible to search as asked."""
        self.notes.problem(self.name, text)

    def warn(self, text: str) -> None:
        """Note an adjustment that still gives right results."""
        self.notes.warn(self.name, text)

    def warn_guess(self, where: str) -> None:
        """Note a range that the schema leaves open."""
        text = f"unbounded in the schema, searched {where} because of its default"
        self.warn(f"{text}; give a range to be sure")

    def reach(self) -> Bounds:
        """Return the ends of what is searched, for parameters measured by this one."""
        if self.interval is not None:
            return self._interval_reach(self.interval)
        if self.derived is not None:
            return self.span
        if self.kind is Kind.INCREASING_LIST:
            return self._list_reach()
        numbers = [item for item in self.options or () if is_number(item)]
        return Bounds(low=min(numbers), high=max(numbers)) if numbers else Bounds()

    def _interval_reach(self, interval: Interval) -> Bounds:
        """Return the least and the greatest value that is legal."""
        low, high, least = interval.low, interval.high, self.leaf.positive_from
        step = 2.0 if self.kind is Kind.EQUAL_PAIR else self.grid
        if 0 < low < least <= high:
            low = grids.up(least, step) if step else least
        if low <= 0 < high < least:
            high = 0.0
        while step and low in self.excluded and low < high:
            low = low + step if step % 1 == 0 else grids.nearest(low + step, step)
        while step and high in self.excluded and low < high:
            high = high - step if step % 1 == 0 else grids.nearest(high - step, step)
        low_open, high_open = low in self.excluded, high in self.excluded
        return Bounds(low=low, high=high, low_open=low_open, high_open=high_open)

    def _list_reach(self) -> Bounds:
        """Return how low the last and how high the first of increasing numbers can be."""
        gap = float(self.is_int) * (len(self.default) - 1 if isinstance(self.default, list) else 1)
        low, high = self.span.low, self.span.high
        return Bounds(
            low=None if low is None else low + gap, high=None if high is None else high - gap
        )


_INCOMPARABLE = (
    Kind.LIST,
    Kind.FREE,
    Kind.UNKNOWN,
    Kind.SUBSET,
    Kind.OPTIONAL,
    Kind.BACKBONE_RUN,
)
_NUMBER_LISTS = (Kind.INCREASING_LIST, Kind.EQUAL_PAIR, Kind.BACKBONE_RUN, Kind.FLOAT, Kind.INT)


def usable_default(leaf: Leaf, change: ParameterChange, value: Any, notes: Notes) -> Any:
    """Return a default that the parameter's kind can start from, else None and a warning.

    Numbers are looked at where they are searched; here it is the shape of lists.
    """
    if isinstance(value, str) and (leaf.kind.is_number or leaf.kind is Kind.BOOL):
        return converted(value, leaf.kind)
    if leaf.kind.is_number and isinstance(value, list) and (change.stays_number or not value):
        return value[0] if value else None
    if leaf.kind not in _NUMBER_LISTS or (leaf.kind.is_number and not isinstance(value, list)):
        return value
    step = 1 if leaf.kind in (Kind.EQUAL_PAIR, Kind.BACKBONE_RUN, Kind.INT) else None
    is_list = isinstance(value, list) and all(map(is_number, value))
    if is_list and all(is_finite(item) and not (step and item % step) for item in value):
        return value or None
    if value is not None:
        notes.warn(leaf.name, f"its default {value!r} is not a list of numbers to start from")
    return None


def converted(value: Any, kind: Kind) -> Any:
    """Return a value in its parameter's type: numbers are written as text here and there."""
    try:
        if not isinstance(value, str):
            return float(value) if kind is Kind.FLOAT and is_number(value) else value
        text = value.strip()
        if kind is Kind.BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in (Kind.INT, Kind.ORDERED_INT):
            return int(text)
        return float(text) if kind is Kind.FLOAT else text
    except (ValueError, OverflowError):
        return value


def apply_conditions(
    draft: Draft,
    *,
    constants: Mapping[str, Any],
    searched: frozenset[str],
    multiple: tuple[str, int] | None,
) -> None:
    """Clean one parameter (R0): take over bounds, conditions and relations.

    Args:
        draft: a fresh one; conditions that the user gives replace the schema's.
        constants: spec values of parameters that are not searched.
        searched: names of those that are.
        multiple: (parent, least) when values must be multiples of a parent's value.
    """
    leaf, change = draft.leaf, draft.change
    clauses = leaf.clauses if change.clauses is None else change.clauses
    relations = [relation for clause in clauses if (relation := _apply(draft, clause))]
    if multiple is not None:
        relations.append(Relation(op="multiple", parents=multiple[:1], factor=multiple[1]))
    if not relations and leaf.parents and draft.derived is None:
        relations += _implied(draft)
    for relation in relations:
        _relate(draft, relation, constants, searched)
    draft.bounds = draft.conditions.within(first(leaf.minimum), first(leaf.maximum))
    _check_together(draft)


_SIDES = {
    ">": "below",
    ">=": "below",
    "<": "above",
    "<=": "above",
    "multiple": "grid",
    "share": "all",
}


def _check_together(draft: Draft) -> None:
    """Note relations to searched parents that need not leave room together.

    One side can always be given room by narrowing the parent. Two sides would need the parents to
    know of each other.
    """
    if draft.relations and (draft.kind in _INCOMPARABLE or draft.is_vector):
        draft.problem(f"must be {draft.relations[0]}, but a list cannot be compared")
    sides = {_SIDES[relation.op] for relation in draft.relations if relation.op in _SIDES}
    if draft.derived is not None and _has_more(draft):
        draft.problem(f"must be {draft.derived}, which leaves no other condition and no range")
    has_grid = "grid" in sides
    if len(sides) > 1:
        listed = " and ".join(map(str, draft.relations))
        draft.problem(f"must be {listed}; search over one of these parameters less, or fix it")
    elif has_grid and (draft.step or not draft.kind.is_number):
        draft.problem(f"cannot be {draft.relations[0]} beside its other conditions")


def _has_more(draft: Draft) -> bool:
    """Tell whether a share of a parent is to hold more than bounds."""
    change, leaf = draft.change, draft.leaf
    given = change.has_range or change.options or leaf.options or draft.is_vector
    return bool(given or draft.step or draft.powers or draft.excluded or draft.relations)


def first(bound: object) -> float | None:
    """Return a bound as one number: the first one of a list."""
    if isinstance(bound, tuple):
        return first(bound[0]) if bound else None
    return bound if isinstance(bound, int | float) else None


def element(bound: Any, index: int) -> Any:
    """Return what a bound says of one element of a list; a single number speaks of all."""
    if isinstance(bound, tuple):
        return bound[index] if -len(bound) <= index < len(bound) else None
    return bound


def element_bounds(draft: Draft, index: int) -> Bounds:
    """Return the bounds of one element of a list: its own ends, and those of the conditions."""
    low, high = element(draft.leaf.minimum, index), element(draft.leaf.maximum, index)
    return draft.conditions.within(low, high)


def _implied(draft: Draft) -> list[Relation]:
    """Return what a list kind implies when the schema names parents without a condition."""
    leaf = draft.leaf
    if leaf.kind is Kind.EQUAL_PAIR:
        return [Relation(op="share", parents=leaf.parents)]
    if leaf.kind is Kind.INCREASING_LIST:
        return [Relation(op="<", parents=leaf.parents)]
    parents = ", ".join(leaf.parents)
    draft.warn(f"depends on {parents}, but no condition says how, so nothing is enforced")
    return []


def _apply(draft: Draft, clause: Clause) -> Relation | None:
    """Take over a clause; return the relation when it speaks of parents."""
    number = clause.number
    if clause.op == "//":
        draft.derived = clause
    elif number is None:
        return Relation(op=clause.op, parents=clause.parents)
    elif clause.op in COMPARISONS:
        draft.conditions = draft.conditions.compared(clause.op, number)
    elif clause.op == "!=":
        draft.excluded += (number,)
    elif clause.op == "^":
        draft.powers += (number,)
    elif draft.is_int and number % 1 and not (draft.leaf.options or draft.change.options):
        draft.problem(f"whole numbers cannot be multiples of {number:g}")
    else:
        _put_on(draft, number, f"{number:g}")
    return None


def _relate(
    draft: Draft, relation: Relation, constants: Mapping[str, Any], searched: frozenset[str]
) -> None:
    """Keep a relation to searched parents; turn one to fixed values into bounds."""
    if any(parent in searched for parent in relation.parents):
        draft.relations += (relation,)
        return
    missing = [parent for parent in relation.parents if not is_finite(constants.get(parent))]
    if missing:
        value = constants.get(missing[0])
        draft.problem(
            f"must be {relation}, but {missing[0]} has no number ({value!r}); set it or leave "
            f"{draft.name} out"
        )
    elif relation.op == "!=":
        draft.excluded += tuple(float(constants[parent]) for parent in relation.parents)
    elif relation.op == "multiple":
        parent = relation.parents[0]
        if constants[parent] <= 0 or (draft.is_int and constants[parent] % 1):
            draft.problem(f"cannot be {relation}, which is {constants[parent]!r}; correct it")
            return
        step = float(constants[parent])
        _put_on(draft, step, f"{parent} = {constants[parent]}")
        least = grids.at(relation.factor, step)
        low, high = draft.limit
        draft.limit = (least if low is None else max(low, least), high)
    else:
        draft.conditions = relation.narrow(draft.conditions, constants)
        named = ", ".join(f"{parent} = {constants[parent]!r}" for parent in relation.parents)
        draft.because += f" (must be {relation}, and {named})"


def _put_on(draft: Draft, step: float, reason: str) -> None:
    """Leave multiples of a step only, of those that are left."""
    draft.step = grids.common(draft.step, step)
    draft.step_reason += f" and of {reason}" if draft.step_reason else reason


def limited(draft: Draft, bounds: Bounds) -> Bounds:
    """Return bounds cut to what the spec demands."""
    return bounds.within(*draft.limit)


def with_range(interval: Interval, low: float, high: float) -> Interval:
    """Return an interval with other ends; the narrower range of early trials stays inside."""
    early = interval.early
    if early is not None:
        early = (min(max(early[0], low), high), min(max(early[1], low), high))
        early = early if early[0] < early[1] else None
    return replace(interval, low=low, high=high, early=early)
