"""Compiles a schema, a spec and an overlay into a search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.activity import Activity, Inactive, explore
from search_spaces.assembly import make_domain
from search_spaces.choices import set_options, value_problem
from search_spaces.domains.base import Domain
from search_spaces.draft import Draft, Limit, apply_conditions, limited, usable_default
from search_spaces.errors import PointError, nearest
from search_spaces.fixing import check_fixed, check_given
from search_spaces.notes import Notes
from search_spaces.ordering import parents_first
from search_spaces.overlay import Overlay, ParameterChange
from search_spaces.overlay_reading import gather_changes
from search_spaces.parameter import FIXED, Parameter, Pinned
from search_spaces.parent_ranges import make_room, respect_child
from search_spaces.ranges import set_interval
from search_spaces.schema import MANDATORY, Schema, is_finite, lookup, merged, with_values
from search_spaces.selection import select_names
from search_spaces.space import SearchSpace

MultipleOf = Mapping[str, str | tuple[str, int]]
"""Name -> the parameter it is a multiple of, or (that parameter, least number of them)."""


def compile_space(
    schema: Schema,
    *,
    overlay: Overlay | None = None,
    spec: Mapping[str, Any] | None = None,
    inactive: Inactive | Mapping[str, str] | None = None,
    limits: Mapping[str, Limit] | None = None,
    multiple_of: MultipleOf | None = None,
    num_trials: int | None = None,
) -> SearchSpace:
    """Compile a space.

    Args:
        schema: what `load_schema` returned.
        overlay: what the user wants searched; None searches the schema's default list.
        spec: nested values that all trials share (template, overrides); what it lacks comes from
            the schema. Its values are the centre of the rule and the first trial, and relations
            to parameters that are not searched are measured by them. An explicit null takes a
            parameter out of the search.
        inactive: parameters that do nothing, with the reason. A mapping pins them. A callable on
            the nested spec is asked about other values of searched parameters too, so that what
            it names comes alive with them.
        limits: name -> (low, high), either may be None: what is searched is narrowed to it.
        multiple_of: name -> the parameter whose multiple it must be, or (that parameter, least).
        num_trials: the length of the search, if known; a short one starts from narrower ranges.

    Raises:
        RangeError: when the overlay, the limits or the relations leave nothing to search; it
            carries all problems at once.
    """
    compiler = _Compiler(
        schema=schema,
        overlay=overlay or Overlay(),
        spec=spec or {},
        limits=limits or {},
        multiples={
            name: (parent, 1) if isinstance(parent, str) else parent
            for name, parent in (multiple_of or {}).items()
        },
    )
    compiler.select()
    if callable(inactive):
        activity = explore(compiler.build(None).parameters, compiler.base, inactive)
        compiler.pin_idle(activity.always_idle)
        for text in activity.oracle.refusals:
            told = f"some combinations of what is searched are not legal specs, e.g. {text}"
            compiler.notes.warnings.append(told)
        idle = compiler.changed(activity.without_effect)
        space = replace(compiler.build(activity), without_effect=idle)
    else:
        compiler.pin_idle(inactive or {})
        space = compiler.build(None)
    return for_length(space, num_trials)


@dataclass(slots=True, kw_only=True)
class _Compiler:
    """One compilation; `build` runs a second time once it is known what is idle when."""

    schema: Schema
    overlay: Overlay
    spec: Mapping[str, Any]
    limits: Mapping[str, Limit]
    multiples: Mapping[str, tuple[str, int]]
    names: list[str] = field(default_factory=list)
    changes: dict[str, ParameterChange] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    pinned: dict[str, Pinned] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def select(self) -> None:
        """Decide what is searched and what the shared spec is."""
        schema, overlay = self.schema, self.overlay
        self.changes = gather_changes(schema, overlay, self.notes)
        self.names = select_names(schema, overlay, self.changes, self.notes)
        self.base = with_values(merged(schema.tree, self.spec), overlay.fixed)
        check_fixed(schema, overlay, self.value, self.notes)
        check_given(schema, overlay, self.names, self.value, self.notes)
        self.notes.raise_problems()
        for name, value in overlay.fixed.items():
            self.pinned[name] = Pinned(name, value, FIXED)
        for name in [name for name in self.names if _is_null(self.spec, name)]:
            if name not in self.changes:
                self.names.remove(name)
                self.notes.warn(name, "is null in the spec, so it is not searched")

    def pin_idle(self, idle: Mapping[str, str]) -> None:
        """Pin what does nothing at the spec's value (R10)."""
        overlay = self.overlay
        asked = {*overlay.ranges, *overlay.options, *overlay.extra}
        for name in [name for name in self.names if name in idle]:
            self.names.remove(name)
            value = None if _is_null(self.spec, name) else self.value(name)
            self.pinned[name] = Pinned(name, value, f"inactive: {idle[name]}")
            if name in asked:
                self.notes.warn(
                    name, f"is asked for and not searched, as it is {self.pinned[name].reason}"
                )

    def changed(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return those of some names whose value is not the schema's own."""
        leaves, value = self.schema.leaves, self.schema.value
        return {n: why for n, why in names.items() if n in leaves and self.value(n) != value(n)}

    def value(self, name: str) -> Any:
        """Return the value that trials share: the spec's, else the schema's."""
        found = lookup(self.base, name)
        if found in (None, MANDATORY) and name in self.schema.leaves:
            return self.schema.value(name)
        return found

    def build(self, activity: Activity | None) -> SearchSpace:
        """Draft, order, range and assemble the parameters."""
        notes = Notes(list(self.notes.problems), list(self.notes.warnings))
        drafts = self._drafts(notes)
        order = parents_first(
            list(drafts),
            {name: draft.parents for name, draft in drafts.items()},
            activity.deciders if activity else None,
        )
        for name in order:
            set_interval(drafts[name])
        notes.raise_problems()
        for name, leaf in self.schema.leaves.items():
            if name not in drafts:
                respect_child(leaf, self.value(name), self.multiples.get(name), drafts)
        make_room(drafts, order)
        searched = frozenset(self.names)
        made = [self._parameter(drafts[name], activity, searched) for name in order]
        notes.raise_problems()
        constants = [item for item in made if isinstance(item, Pinned)]
        if constants:
            self._pin_constants(constants, notes)
            return self.build(activity)
        space = SearchSpace(
            parameters=tuple(item for item in made if isinstance(item, Parameter)),
            pinned=tuple(self.pinned.values()),
            warnings=tuple(dict.fromkeys([*self.schema.warnings, *notes.warnings])),
        )
        return _with_first_values(space)

    def _pin_constants(self, constants: Sequence[Pinned], notes: Notes) -> None:
        """Take what turned out to have one value out of the search: others are measured by it."""
        names = tuple(pin.name for pin in constants)
        for pin in constants:
            default = self.value(pin.name)
            if default is not None and not _is_same(default, pin.value):
                notes.warn(pin.name, f"{pin.reason}; {pin.value!r} is used instead of {default!r}")
        self.pinned.update({pin.name: pin for pin in constants})
        self.names = [name for name in self.names if name not in names]
        self.base = with_values(self.base, {pin.name: pin.value for pin in constants})
        starts = tuple(f"{name}:" for name in names)
        self.notes.warnings.extend(text for text in notes.warnings if text.startswith(starts))

    def _drafts(self, notes: Notes) -> dict[str, Draft]:
        searched = frozenset(self.names)
        drafts: dict[str, Draft] = {}
        for name in self.names:
            leaf, change = self.schema.leaves[name], self.changes.get(name, ParameterChange())
            draft = Draft(
                leaf=leaf,
                change=change,
                default=usable_default(leaf, change, self.value(name), notes),
                notes=notes,
                limit=self.limits.get(name, (None, None)),
            )
            parents = self._parents(name)
            for parent in parents:
                if parent not in self.schema.leaves:
                    known = nearest(parent, self.schema.leaves)
                    notes.problem(name, f"depends on {parent}, which the schema lacks{known}")
            apply_conditions(
                draft,
                constants={parent: self.value(parent) for parent in parents},
                searched=searched,
                multiple=self.multiples.get(name),
            )
            set_options(draft)
            drafts[name] = draft
        for draft in drafts.values():
            self._check_parents(draft, drafts)
        return drafts

    def _check_parents(self, draft: Draft, drafts: Mapping[str, Draft]) -> None:
        """Note parents whose values are no numbers to be measured by."""
        for parent in draft.parents:
            searched = drafts.get(parent)
            if not (searched.is_measure if searched else is_finite(self.value(parent))):
                value = "" if searched else f" ({self.value(parent)!r})"
                draft.problem(
                    f"is measured by {parent}, which is not a number{value}; leave one of them out"
                )

    def _parents(self, name: str) -> tuple[str, ...]:
        change = self.changes.get(name, ParameterChange())
        named = self.schema.leaves[name].parents if change.parents is None else change.parents
        return (*named, self.multiples[name][0]) if name in self.multiples else named

    def _parameter(
        self, draft: Draft, activity: Activity | None, searched: frozenset[str]
    ) -> Parameter | Pinned | None:
        domain, why = make_domain(draft)
        if domain is None:
            return None
        constant = _constant(draft, domain)
        if constant is not None:
            return constant
        constants = {p: self.value(p) for p in draft.parents if p not in searched}
        parents = tuple(parent for parent in draft.parents if parent in searched)
        if not parents and not domain.dimensions(draft.name):
            value = domain.clamp(draft.default, constants)
            if problem := value_problem(draft, value):
                draft.problem(f"is {value!r}, which follows from {constants}, but {problem}")
            return Pinned(draft.name, value, f"follows from {constants}")
        condition = activity.condition(draft.name) if activity else None
        return Parameter(
            name=draft.name,
            type=draft.leaf.type_name,
            default=draft.default if parents else _first_value(draft, domain, constants),
            domain=domain,
            dimensions=tuple(
                replace(shape, condition=condition) for shape in domain.dimensions(draft.name)
            ),
            constants=constants,
            parents=parents,
            condition=condition,
            condition_text=activity.texts.get(draft.name, "") if activity else "",
            why=why,
            is_popular=draft.leaf.is_popular,
            description=draft.leaf.description,
            bounds=limited(draft, draft.bounds),
        )


def _with_first_values(space: SearchSpace) -> SearchSpace:
    """Return the space with the defaults of children moved inside what their parents leave."""
    firsts = space.default()
    parameters = (
        replace(item, default=firsts.get(item.name, item.default)) if item.parents else item
        for item in space.parameters
    )
    return replace(space, parameters=tuple(parameters))


def _first_value(draft: Draft, domain: Domain, constants: Mapping[str, Any]) -> Any:
    """Return the default moved inside the domain."""
    default = _spelled(draft)
    try:
        value = domain.clamp(default, constants)
    except PointError as error:
        draft.problem(str(error))
        return default
    if default is not None and not _is_same(default, value):
        draft.warn(f"the first trial takes {value!r} instead of the default {default!r}")
    return value


def _is_same(one: Any, other: Any) -> bool:
    """Compare values; the order of a list is not part of its value where it is drawn as a set."""
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return bool(one == other)


def _constant(draft: Draft, domain: Domain) -> Pinned | None:
    """Return the pinned form of a parameter that has one legal value."""
    if draft.relations or draft.derived:
        return None
    if draft.options is not None and len(draft.options) == 1:
        return Pinned(draft.name, draft.options[0], "has only one option")
    interval = draft.interval
    if interval is not None and interval.low == interval.high:
        try:
            value = domain.clamp(draft.default, {})
        except PointError:
            return None  # told where the first value is sought
        return Pinned(draft.name, value, f"has only one legal value: {interval.why}")
    return None


def _spelled(draft: Draft) -> Any:
    """Return the default as the option that means the same: case, blanks and null differ."""
    default = draft.default
    if draft.options is None or any(
        default == option and type(default) is type(option) for option in draft.options
    ):
        return default
    text = "none" if default in (None, "") else str(default).strip().lower()
    matching = [o for o in draft.options if isinstance(o, str) and o.strip().lower() == text]
    return matching[0] if matching else default


def _is_null(spec: Mapping[str, Any], name: str) -> bool:
    above, _, leaf = name.rpartition(".")
    node = lookup(spec, above) if above else spec
    return isinstance(node, Mapping) and leaf in node and node[leaf] is None


def for_length(space: SearchSpace, num_trials: int | None) -> SearchSpace:
    """R9: a search shorter than twice its dimensions starts from narrower ranges."""
    if num_trials is None or num_trials >= 2 * len(space.dimensions):
        return space
    return replace(space, early_trials=(num_trials + 1) // 2)
