"""A parameter on its way from leaf to domain: cleaned bounds, options and relations, before the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.clauses import Clause
from search_spaces.domains.options import is_inside, same
from search_spaces.overlay import Wish
from search_spaces.relations import Relation
from search_spaces.rule import Bounds, Interval
from search_spaces.schema import Kind, Leaf


@dataclass(slots=True, kw_only=True)
class Draft:
    """One searched parameter while the space is being compiled."""

    leaf: Leaf
    wish: Wish
    default: Any
    bounds: Bounds = field(default_factory=Bounds)
    step: float = 0.0
    least: float | None = None
    """The smallest value that a multiple of a fixed parent may have."""
    power: float = 0.0
    excluded: tuple[float, ...] = ()
    relations: tuple[Relation, ...] = ()
    derived: Clause | None = None
    options: tuple[Any, ...] | None = None
    interval: Interval | None = None

    @property
    def name(self) -> str:
        """The parameter's dotted name."""
        return self.leaf.name

    @property
    def is_int(self) -> bool:
        """Whether values, or the elements of a list, are whole numbers."""
        if self.leaf.kind is Kind.FLOAT:
            return False
        if self.leaf.kind is Kind.INCREASING_LIST and isinstance(self.default, list):
            return all(isinstance(item, int) for item in self.default)
        return True

    @property
    def is_number(self) -> bool:
        """Whether the parameter is searched as one number."""
        return self.leaf.kind.is_number and self.options is None and self.derived is None

    @property
    def parents(self) -> tuple[str, ...]:
        """Names whose values must be known first."""
        derived = self.derived.parents if self.derived else ()
        named = [name for relation in self.relations for name in relation.parents]
        return tuple(dict.fromkeys([*derived, *named]))

    def reach(self) -> Bounds:
        """Return the ends of what is searched, for parameters measured by this one."""
        if self.interval is not None:
            return Bounds(low=self.interval.low, high=self.interval.high)
        numbers = [item for item in self.options or () if isinstance(item, int | float)]
        return Bounds(low=min(numbers), high=max(numbers)) if numbers else Bounds()


def draft_parameter(  # noqa: PLR0913 - what a draft is made of
    leaf: Leaf,
    wish: Wish,
    default: Any,
    *,
    constants: Mapping[str, Any],
    searched: frozenset[str],
    multiple: tuple[str, int] | None,
    problems: list[str],
    warnings: list[str],
) -> Draft:
    """Clean one parameter (R0): bounds, conditions, relations, options.

    Args:
        leaf: what the schema says.
        wish: what the user says; its conditions replace the schema's.
        default: the value that the spec holds.
        constants: spec values of parameters that are not searched.
        searched: names that are.
        multiple: (parent, least number of them) when values must be multiples of a parent.
        problems: every problem is appended.
        warnings: every adjustment is appended.
    """
    draft = Draft(leaf=leaf, wish=wish, default=default)
    draft.bounds = Bounds(low=_first(leaf.minimum), high=_first(leaf.maximum))
    clauses = leaf.clauses if wish.clauses is None else wish.clauses
    relations = [_apply(draft, clause) for clause in clauses]
    if multiple is not None:
        relations.append(Relation(op="multiple", parents=multiple[:1], factor=multiple[1]))
    relations.append(_implied(leaf, relations))
    for relation in relations:
        if relation is not None:
            _relate(draft, relation, constants, searched, problems)
    draft.options = _options(draft, problems)
    _drop_small_options(draft, problems, warnings)
    return draft


def _implied(leaf: Leaf, stated: list[Relation | None]) -> Relation | None:
    """Return the relation that a list kind implies when the schema names parents without a condition."""
    if not leaf.parents or any(stated):
        return None
    if leaf.kind is Kind.EQUAL_PAIR:
        return Relation(op="share", parents=leaf.parents)
    return Relation(op="<", parents=leaf.parents) if leaf.kind is Kind.INCREASING_LIST else None


def _drop_small_options(draft: Draft, problems: list[str], warnings: list[str]) -> None:
    if draft.least is None or draft.options is None:
        return
    small = [option for option in draft.options if option < draft.least]
    if small:
        draft.options = tuple(option for option in draft.options if option >= draft.least)
        told = problems if not draft.options else warnings
        told.append(f"{draft.name}: options below {draft.least:g} are left out: {small}")


def _first(bound: object) -> float | None:
    if isinstance(bound, tuple):
        return bound[0] if bound else None
    return bound if isinstance(bound, int | float) else None


def _apply(draft: Draft, clause: Clause) -> Relation | None:
    """Take over a clause; return the relation when it speaks of parents."""
    number = clause.number
    if clause.op == "//":
        draft.derived = clause
        return None
    if number is None:
        return Relation(op=clause.op, parents=clause.parents)
    if clause.op in (">", ">="):
        draft.bounds = draft.bounds.raised(number, is_open=clause.op == ">")
    elif clause.op in ("<", "<="):
        draft.bounds = draft.bounds.lowered(number, is_open=clause.op == "<")
    elif clause.op == "!=":
        draft.excluded += (number,)
    elif clause.op == "^":
        draft.power = number
    else:
        draft.step = number
    return None


def _relate(
    draft: Draft,
    relation: Relation,
    constants: Mapping[str, Any],
    searched: frozenset[str],
    problems: list[str],
) -> None:
    """Keep a relation to searched parents; turn one to fixed values into bounds."""
    if any(parent in searched for parent in relation.parents):
        draft.relations += (relation,)
        return
    missing = [p for p in relation.parents if not _is_number(constants.get(p))]
    if missing:
        problems.append(
            f"{draft.name}: must be {relation}, but {missing[0]} has no number "
            f"({constants.get(missing[0])!r}); set it or leave {draft.name} out"
        )
    elif relation.op == "!=":
        draft.excluded += tuple(float(constants[parent]) for parent in relation.parents)
    elif relation.op == "multiple":
        draft.step = relation.step(constants) or draft.step
        draft.least = draft.step * relation.factor
    else:
        draft.bounds = relation.narrow(draft.bounds, constants)


def _options(draft: Draft, problems: list[str]) -> tuple[Any, ...] | None:
    """Return the values to choose from, None when the parameter is not searched as a choice."""
    leaf, wish = draft.leaf, draft.wish
    if wish.options:
        return _wanted(draft, problems)
    if leaf.kind is Kind.BOOL:
        return (False, True)
    if leaf.kind in (Kind.SUBSET, Kind.OPTIONAL):
        return None
    if draft.power:
        return _powers(draft)
    return leaf.options or None


def _wanted(draft: Draft, problems: list[str]) -> tuple[Any, ...]:
    leaf = draft.leaf
    kept: list[Any] = []
    for given in draft.wish.options:
        option = _converted(given, leaf.kind)
        problem = _option_problem(draft, option)
        if problem:
            problems.append(f"{leaf.name}: option {given!r} {problem}")
        elif not any(same(option, other) for other in kept):
            kept.append(option)
    if leaf.kind.is_number:
        kept.sort()
    return tuple(kept)


def _option_problem(draft: Draft, option: Any) -> str:
    leaf = draft.leaf
    if leaf.kind.is_number:
        if not _is_number(option) or (leaf.kind is Kind.INT and not isinstance(option, int)):
            return f"must be a {'whole ' if leaf.kind is Kind.INT else ''}number"
        if draft.step and option % draft.step:
            named = [str(r) for r in draft.relations if r.op == "multiple"]
            return f"must be a multiple of {draft.step:g}" + (f" ({named[0]})" if named else "")
        if not is_inside(option, draft.bounds):
            return f"must lie in {draft.bounds}"
        return "is excluded" if option in draft.excluded else ""
    if leaf.options and not any(same(option, other) for other in leaf.options):
        return f"must be one of {list(leaf.options)}"
    return ""


def _converted(option: Any, kind: Kind) -> Any:
    if not isinstance(option, str):
        return float(option) if kind is Kind.FLOAT and _is_number(option) else option
    text = option.strip()
    try:
        if kind in (Kind.INT, Kind.ORDERED_INT):
            return int(text)
        if kind is Kind.FLOAT:
            return float(text)
    except ValueError:
        return text
    if kind is Kind.BOOL and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _powers(draft: Draft) -> tuple[Any, ...]:
    base, bounds = draft.power, draft.bounds
    default = draft.default if _is_number(draft.default) else base
    wish = draft.wish
    high = bounds.high if bounds.high is not None else max(default * 4, base)
    found, value = [], 1.0
    while value <= high:
        inside = is_inside(value, bounds) and value not in draft.excluded
        wanted = (not _is_number(wish.low) or value >= wish.low) and (  # type: ignore[operator]  # a number
            not _is_number(wish.high) or value <= wish.high  # type: ignore[operator]  # a number
        )
        if inside and wanted:
            found.append(int(value) if draft.is_int else value)
        value *= base
    return tuple(found)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
