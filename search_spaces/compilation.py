"""From a schema, a spec and an overlay to a search space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.activity import ActiveWhen, Activity, Inactive, explore
from search_spaces.assembly import make_domain, set_ranges
from search_spaces.domains.base import Domain
from search_spaces.draft import Draft, draft_parameter
from search_spaces.errors import PointError, RangeError, nearest
from search_spaces.ordering import parents_first
from search_spaces.overlay import Overlay, Wish, gather_wishes
from search_spaces.parameter import Parameter, Pinned
from search_spaces.ranges import Limit
from search_spaces.relations import Relation
from search_spaces.rule import Bounds
from search_spaces.schema import Schema, lookup, merged, with_values
from search_spaces.selection import select_names
from search_spaces.space import SearchSpace


def compile_space(  # noqa: PLR0913 - one keyword per source of knowledge
    schema: Schema,
    *,
    overlay: Overlay | None = None,
    spec: Mapping[str, Any] | None = None,
    inactive: Inactive | Mapping[str, str] | None = None,
    limits: Mapping[str, Limit] | None = None,
    multiples: Mapping[str, tuple[str, int]] | None = None,
    num_trials: int | None = None,
) -> SearchSpace:
    """Compile a space.

    Args:
        schema: what `load_schema` returned.
        overlay: what the user wants searched; None searches the schema's default list.
        spec: nested values that the trials share (template, overrides); missing ones come from the schema. They
            are the centre of the rule, the first trial, and what relations to unsearched parents are measured by.
            An explicit null takes a parameter out of the search.
        inactive: parameters that do nothing, with the reason: a mapping pins them; a callable on the nested spec
            is also asked about other values of searched parameters, so what it names can come alive with them.
        limits: name -> (low, high), either may be None: ranges are narrowed to it.
        multiples: name -> (parent, least): values are multiples of the parent's value, at least `least` of them.
        num_trials: the length of the search, if known; a short one starts from narrower ranges.

    Raises:
        RangeError: when the overlay, the limits or the relations leave nothing to search; all problems at once.
    """
    sources = _Sources(
        schema=schema,
        overlay=overlay or Overlay(),
        spec=spec or {},
        limits=limits or {},
        multiples=multiples or {},
    )
    compiler = _Compiler(sources)
    compiler.select()
    if isinstance(inactive, Mapping):
        compiler.pin_idle(inactive)
    space = compiler.build(None, None)
    if inactive is None or isinstance(inactive, Mapping):
        return _for_length(space, num_trials)
    activity = explore(space.parameters, compiler.base, inactive)
    compiler.pin_idle(activity.always_idle)
    return _for_length(compiler.build(activity, inactive), num_trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    schema: Schema
    overlay: Overlay
    spec: Mapping[str, Any]
    limits: Mapping[str, Limit]
    multiples: Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class _Compiler:
    """One compilation; `build` may run twice, the second time knowing what is idle when."""

    sources: _Sources
    names: list[str] = field(default_factory=list)
    wishes: dict[str, Wish] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    pinned: dict[str, Pinned] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def select(self) -> None:
        """Decide what is searched and what the shared spec is."""
        schema, overlay = self.sources.schema, self.sources.overlay
        problems: list[str] = []
        self.wishes = gather_wishes(schema, overlay, problems)
        self.names = select_names(
            schema, overlay, self.wishes, problems=problems, warnings=self.notes
        )
        _check_fixed(schema, overlay, problems)
        if problems:
            raise RangeError(problems)
        self.base = with_values(merged(schema.tree, self.sources.spec), overlay.fixed)
        self.pinned = {
            name: Pinned(name, value, "fixed by the user") for name, value in overlay.fixed.items()
        }
        for name in list(self.names):
            if _is_null(self.sources.spec, name) and name not in self.wishes:
                self.names.remove(name)
                self.notes.append(f"{name}: taken out of the spec, so not searched")

    def pin_idle(self, idle: Mapping[str, str]) -> None:
        """Pin what does nothing at the spec's value."""
        for name in [name for name in self.names if name in idle]:
            self.names.remove(name)
            self.pinned[name] = Pinned(name, self.value(name), f"inactive: {idle[name]}")

    def value(self, name: str) -> Any:
        """Return the value that trials share: the spec's, else the schema's."""
        found = lookup(self.base, name)
        if found is None and name in self.sources.schema.leaves:
            return self.sources.schema.value(name)
        return found

    def build(self, activity: Activity | None, inactive: Inactive | None) -> SearchSpace:
        """Draft, order, range and assemble the parameters."""
        problems: list[str] = []
        warnings = [*self.notes]
        drafts = self._drafts(problems, warnings)
        order = parents_first(
            list(drafts),
            {name: draft.parents for name, draft in drafts.items()},
            activity.deciders if activity else None,
        )
        for name in order:
            set_ranges(
                drafts[name], self.sources.limits.get(name), problems=problems, warnings=warnings
            )
        if problems:
            raise RangeError(problems)
        self._make_room(drafts, order, problems, warnings)
        parameters, constants = [], {}
        for name in order:
            made = self._parameter(drafts[name], activity, inactive, problems, warnings)
            if isinstance(made, Parameter):
                parameters.append(made)
            elif made is not None:
                constants[name] = made
        if problems:
            raise RangeError(problems)
        return SearchSpace(
            parameters=tuple(parameters),
            pinned=(*self.pinned.values(), *constants.values()),
            warnings=tuple(dict.fromkeys([*self.sources.schema.warnings, *warnings])),
        )

    def _drafts(self, problems: list[str], warnings: list[str]) -> dict[str, Draft]:
        leaves = self.sources.schema.leaves
        names = [*self.names]
        searched = frozenset(names)
        parents = {p for name in names for p in self._parents(name)} - searched
        constants = {parent: self.value(parent) for parent in sorted(parents)}
        drafts: dict[str, Draft] = {}
        for name in names:
            for parent in self._parents(name):
                if parent not in leaves:
                    problems.append(f"{name}: depends on {parent}, which the schema does not hold")
            drafts[name] = draft_parameter(
                leaves[name],
                self.wishes.get(name, Wish()),
                self.value(name),
                constants=constants,
                searched=searched,
                multiple=self.sources.multiples.get(name),
                problems=problems,
                warnings=warnings,
            )
        return drafts

    def _parents(self, name: str) -> tuple[str, ...]:
        wish = self.wishes.get(name)
        parents = wish.parents if wish and wish.parents is not None else None
        found = self.sources.schema.leaves[name].parents if parents is None else parents
        multiple = self.sources.multiples.get(name)
        return (*found, multiple[0]) if multiple else found

    def _make_room(
        self,
        drafts: Mapping[str, Draft],
        order: list[str],
        problems: list[str],
        warnings: list[str],
    ) -> None:
        """Narrow parents so that their children always have room; from the last child upwards."""
        for name in reversed(order):
            for relation in drafts[name].relations:
                for parent in relation.parents:
                    if parent in drafts:
                        _narrow(drafts[parent], relation, drafts[name].reach(), name, problems)
        for name, leaf in self.sources.schema.leaves.items():
            if name not in drafts and leaf.clauses and not set(leaf.parents).isdisjoint(drafts):
                self._respect(name, drafts, problems, warnings)

    def _respect(
        self, name: str, drafts: Mapping[str, Draft], problems: list[str], warnings: list[str]
    ) -> None:
        """Keep the relation of a child that is not searched to a parent that is."""
        value = self.value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        for clause in self.sources.schema.leaves[name].clauses:
            if clause.number is not None:
                continue
            relation = Relation(op=clause.op, parents=clause.parents)
            for parent in clause.parents:
                if parent in drafts:
                    _narrow(drafts[parent], relation, Bounds(low=value, high=value), name, problems)
                    warnings.append(f"{parent}: kept so that {name} = {value!r} stays {relation}")

    def _parameter(
        self,
        draft: Draft,
        activity: Activity | None,
        inactive: Inactive | None,
        problems: list[str],
        warnings: list[str],
    ) -> Parameter | Pinned | None:
        limit = self.sources.limits.get(draft.name)
        domain, why = make_domain(draft, limit, problems=problems, warnings=warnings)
        if domain is None:
            return None
        constants = {p: self.value(p) for p in draft.parents if p not in self.names}
        constant = _constant(draft, domain)
        if constant is not None:
            return Pinned(draft.name, constant[0], constant[1])
        condition, text = None, ""
        if activity is not None and inactive is not None and draft.name in activity.deciders:
            condition = ActiveWhen(draft.name, inactive, self.base)
            text = activity.texts[draft.name]
        shapes = domain.dimensions(draft.name)
        return Parameter(
            name=draft.name,
            type=draft.leaf.type_name,
            default=self._first_value(draft, domain, constants, warnings),
            domain=domain,
            dimensions=tuple(replace(shape, condition=condition) for shape in shapes),
            constants=constants,
            parents=tuple(p for p in draft.parents if p in self.names),
            condition=condition,
            condition_text=text,
            why=why,
            is_popular=draft.leaf.is_popular,
            description=draft.leaf.description,
        )

    def _first_value(
        self, draft: Draft, domain: Domain, constants: Mapping[str, Any], warnings: list[str]
    ) -> Any:
        """Return the default moved inside the domain, as far as that can be said without the parents."""
        if any(parent in self.names for parent in draft.parents):
            return draft.default
        default = _matching(draft)
        try:
            value = domain.clamp(default, constants)
        except PointError as error:
            raise RangeError([f"{draft.name}: {error}"]) from error
        if value != default and default is not None and draft.interval is None:
            warnings.append(
                f"{draft.name}: default {default!r} is not legal, the first trial takes {value!r}"
            )
        return value


def _constant(draft: Draft, domain: Domain) -> tuple[Any, str] | None:
    """Return the value and the reason of a parameter that cannot vary."""
    if draft.relations or draft.derived:
        return None
    if draft.options is not None and len(draft.options) == 1:
        return draft.options[0], "has only one option"
    interval = draft.interval
    if interval is not None and interval.low == interval.high:
        return domain.clamp(draft.default, {}), f"has only one legal value ({interval.why})"
    return None


def _matching(draft: Draft) -> Any:
    """Return the default as the option that it spells, where spelling differs."""
    default = draft.default
    if draft.options is None or any(
        default == option and type(default) is type(option) for option in draft.options
    ):
        return default
    text = "none" if default in (None, "") else str(default).strip().lower()
    for option in draft.options:
        if str(option).strip().lower() == text:
            return option
    return default


def _narrow(
    parent: Draft, relation: Relation, child: Bounds, child_name: str, problems: list[str]
) -> None:
    """Cut a parent's range or options so that the relation can hold."""
    if parent.options is not None:
        kept = tuple(o for o in parent.options if _allows(relation, o, child))
        if not kept:
            problems.append(f"{parent.name}: no option leaves room for {child_name} ({relation})")
        parent.options = kept
        return
    if parent.interval is None:
        return
    reach = relation.tightened(parent.reach(), child)
    if parent.is_int:
        reach = reach.closed_integers()
    elif reach.low is not None and reach.high is not None:
        inset = (parent.interval.high - parent.interval.low) * 0.001
        reach = Bounds(
            low=reach.low + (inset if reach.low_open else 0),
            high=reach.high - (inset if reach.high_open else 0),
        )
    if reach.low is None or reach.high is None or reach.low > reach.high:
        problems.append(
            f"{parent.name}: leaves no room for {child_name} ({relation}); widen one of them"
        )
        return
    parent.interval = replace(parent.interval, low=reach.low, high=reach.high)


def _allows(relation: Relation, option: Any, child: Bounds) -> bool:
    if not isinstance(option, int | float):
        return False
    room = relation.narrow(child, dict.fromkeys(relation.parents, option))
    if room.low is None or room.high is None or room.low < room.high:
        return True
    return room.low == room.high and not (room.low_open or room.high_open)


def _check_fixed(schema: Schema, overlay: Overlay, problems: list[str]) -> None:
    for name in overlay.fixed:
        if name not in schema.leaves and not schema.is_free(name):
            reason = (
                "is a group of parameters, not one"
                if name in schema.containers
                else f"no such parameter in the schema{nearest(name, schema.leaves)}"
            )
            problems.append(f"{name}: {reason}")
        elif name in overlay.ranges or name in overlay.options:
            problems.append(f"{name}: is fixed and has a range; drop one of the two")


def _is_null(spec: Mapping[str, Any], name: str) -> bool:
    above, _, leaf = name.rpartition(".")
    node = lookup(spec, above) if above else spec
    return isinstance(node, Mapping) and leaf in node and node[leaf] is None


def _for_length(space: SearchSpace, num_trials: int | None) -> SearchSpace:
    """R9: a search shorter than twice its dimensions starts from narrower ranges."""
    if num_trials is None or num_trials >= 2 * len(space.dimensions):
        return space
    return replace(space, early_trials=(num_trials + 1) // 2)


__all__ = ["compile_space"]
