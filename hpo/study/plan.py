"""Resolves a study into a plan: data sources, full spec, compiled space.

Everything here runs before a worker exists and imports no torch. The result is written into the
run directory, so that a resumed search starts from the same facts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.addresses import refuse_password, short_name, shown_address
from hpo.core.durable_files import write_atomically
from hpo.core.errors import DataError, HpoError, MachineError, RunError, SpecError
from hpo.core.event_json import from_dict
from hpo.core.machine_faults import describe_fault, find_fault
from hpo.core.own_cache import own_cache
from hpo.core.protocols import Trainer
from hpo.core.releases import newer_writer, own_version
from hpo.core.spec_dicts import flatten, is_same, lookup, merged, nest, value_at
from hpo.core.trainer_extras import CacheFolder, SourceSettler, SparseValidation
from hpo.run.run_dir import PLAN_FILE
from hpo.study.checks import read_epochs
from hpo.study.skill import schema_file_of
from hpo.study.spec import StudySpec
from hpo.study.spec_paths import anchored_path
from hpo.study.trainers import demand, demand_mapping
from hpo.study.weights import check_weights

if TYPE_CHECKING:
    from search_spaces import SearchSpace

MOST_ROUNDS = 10
"""Pinned values settle in two or three; more means that they chase each other."""
USER_KINDS = {
    "spec": SpecError,
    "data": DataError,
    "image": DataError,
    "credential": DataError,
    "infrastructure": MachineError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """The resolved facts of a study, as kept in a run directory."""

    study_uuid: str
    sources: dict[str, str]
    """train, reference, query, and where given test_reference and test_query."""
    base_spec: dict[str, Any]
    """The full spec of a trial before its parameters are set; what the space pins is in it."""
    algorithm: str
    pruner: str
    reason: str
    """Why this algorithm and pruner."""
    space_digest: str
    num_epochs: int
    written: dict[str, str] = field(default_factory=dict)
    """Files that `sources` were taken from, as `provenance.describe_written` tells of them."""
    planned_trials: int | None
    """The budget of trials that the space was compiled for; an extension leaves it as it was."""
    validated_every: int = 1
    """Epochs between two validations, which rungs and generations keep to; of searches that earlier
    releases have begun, 1."""
    first: list[dict[str, Any]] = field(default_factory=list)
    """Configurations to begin with, after the default one: `latents` and `source` of each."""
    learned: list[dict[str, Any]] = field(default_factory=list)
    """Latents of those that come after these: learned on other data."""
    versions: dict[str, str] = field(default_factory=dict)
    start: list[str] = field(default_factory=list)
    """What the trainer has chosen to start from, a line each; empty where the user chose."""
    earlier: dict[str, str] = field(default_factory=dict)
    """Stages before the last one (`hpo.study.stages`), each with the digest of its space."""
    screened_s: float = 0.0
    """Seconds that it took to compare networks for `start`; a budget of time is charged with it."""
    confirm: int = 0
    """How many of the best are trained again beside the default."""
    averages: bool = False  # of the best trials, after the search (`hpo.results.average`)
    warning: str = ""
    """What stands against algorithm and pruner, where they were chosen by the user."""
    idle: list[str] = field(default_factory=list)
    """What was set and does nothing in any trial, a line each."""
    route_style: str | None = None
    """Of the AutoML route, how rungs are trained (`hpo.algorithms.entry.Style`); None for other
    searches."""

    def write(self, folder: Path) -> None:
        """Write `plan.json` into a run directory."""
        write_atomically(folder / PLAN_FILE, json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True, kw_only=True)
class _First:
    """An entry of `StudyPlan.first`."""

    latents: Mapping[str, Any]
    source: str


def read_plan(folder: Path) -> StudyPlan:
    """Read `plan.json` of a run directory.

    Raises:
        RunError: when it is missing or damaged.
    """
    file, facts = folder / PLAN_FILE, None
    try:
        facts = json.loads(file.read_text("utf-8"))
        plan = StudyPlan(**facts)  # which takes no key that it does not know
        _ = from_dict(StudyPlan, facts), [from_dict(_First, start) for start in plan.first]
    except FileNotFoundError as error:
        raise RunError(f"{file}: is missing; restore it, or start a new search") from error
    except (OSError, TypeError, ValueError) as error:
        versions = facts.get("versions") if isinstance(facts, Mapping) else None
        if release := newer_writer(versions):
            raise RunError(
                f"{file}: was written by hpo {release}, and this is {own_version()}, which cannot "
                "read it; install that release, or a later one"
            ) from error
        raise RunError(
            f"{file}: must be the plan that a search wrote, and is damaged or of another program; "
            "restore it, or start a new search"
        ) from error
    return plan


@contextlib.contextmanager
def as_user_errors(where: str = "", folders: Sequence[Path] = ()) -> Iterator[None]:
    """Turn errors that a user can mend into ours: of trainers, the schema compiler, the machine.

    Args:
        where: begins the line.
        folders: what is written to; faults that name no path pass through where none are given, to
            somebody who knows.
    """
    prefix = f"{where}: " if where else ""
    try:
        yield
    except HpoError:
        raise
    except Exception as error:
        names = {base.__name__ for base in type(error).__mro__}
        kind = getattr(error, "kind", None)
        if "SearchSpaceError" in names:
            raise SpecError(f"{prefix}{error}") from error
        if isinstance(kind, str) and kind in USER_KINDS:
            raise USER_KINDS[kind](f"{prefix}{error}") from error
        fault = find_fault(error)
        if (fault is None or fault.path or folders) and (line := describe_fault(error, folders)):
            raise MachineError(line) from error
        raise


def kept_folder(trainer: Trainer) -> Path:
    """Where a trainer keeps pictures that it makes or splits: its cache folder, if it has one."""
    if isinstance(trainer, CacheFolder):
        return Path(trainer.cache_folder()["folder"])
    return own_cache()


def resolve_sources(study: StudySpec, trainer: Trainer, kept: Path | None = None) -> dict[str, str]:
    """Say where the images are; make or split them where the study asks for that.

    Args:
        study: which names them.
        trainer: makes and splits them.
        kept: where it keeps what it makes; None means its `kept_folder`.
    """
    data = study.data
    for place in filter(None, (data.folder, *data.splits.values())):
        refuse_password(place)
    kept = kept or kept_folder(trainer)
    with as_user_errors():
        if data.is_default:
            folder = kept / "demo" / f"seed-{study.search.used_seed}"
            return dict(trainer.demo_data(folder, study.search.used_seed))
        if data.group_by:
            demand(trainer, SourceSettler)
        if data.folder:
            name = f"{short_name(data.folder)}-{study.search.used_seed}"
            out = kept / "splits" / (f"{name}-disjoint" if data.class_disjoint else name)
            return dict(
                trainer.split_data(
                    anchored_path(data.folder, Path.cwd()),
                    out,
                    seed=study.search.used_seed,
                    class_disjoint=data.class_disjoint,
                    **({"group_by": data.group_by} if data.group_by else {}),
                )
            )
    sources = {name: anchored_path(path, Path.cwd()) for name, path in data.splits.items()}
    if not isinstance(trainer, SourceSettler):
        return sources
    with as_user_errors():
        out = kept / "splits" / "lists"
        return dict(trainer.settle_sources(sources, out, group_by=data.group_by))


def named_sources(study: StudySpec, plan: StudyPlan) -> dict[str, str]:
    """Say where the images of a study come from as its user knows them: no folder of the cache."""
    if study.data.is_default:
        return {"train": f"embedded data set (seed {study.search.used_seed})"}
    if study.data.folder:
        return {"all": shown_address(study.data.folder)}
    sources = {**plan.sources, **study.data.splits}
    return {name: shown_address(place) for name, place in sources.items()}


def build_base_spec(
    study: StudySpec, trainer: Trainer, sources: Mapping[str, str]
) -> dict[str, Any]:
    """Merge defaults, overrides, fixed values and data into the spec that every trial starts from.

    A range or a list of options may pin more: see `settle_space`.
    """
    wanted = dict(sources)
    if study.weights:
        wanted["weights"] = check_weights(
            study.weights, "weights", "name a file of weights, or their address (--weights)"
        )
    with as_user_errors("spec"):
        data = nest(demand_mapping(trainer.data_overrides(wanted), trainer, "data_overrides"))
        full = trainer.validate(merged(study.spec, study.search.fix, data))
        return demand_mapping(full, trainer, "validate")


def build_space(
    study: StudySpec, trainer: Trainer, base_spec: Mapping[str, Any], *, num_trials: int | None,
    given: Mapping[str, Any] | None = None,
) -> SearchSpace:  # fmt: skip
    """Compile the trainer's schema into the space of this study.

    Args:
        study: for its wishes.
        trainer: for its schema and what it knows of the spec.
        base_spec: the full spec of a trial before its parameters are set.
        num_trials: how long the search was planned to be; a short one starts from narrower ranges.
        given: what its user sets; where a search begins, it is used or refused.
    """
    from search_spaces import compile_space, load_schema

    with as_user_errors():
        schema = load_schema(schema_file_of(trainer))
        space = compile_space(
            schema,
            overlay=replace(study.overlay, given=given or {}),
            spec=base_spec,
            inactive=trainer.inactive,
            limits=demand_mapping(trainer.limits(base_spec), trainer, "limits"),
            multiple_of=trainer.multiple_of,
            num_trials=num_trials,
        )
    if not space.parameters:
        raise SpecError("search: nothing is left to search; every parameter is fixed or inactive")
    return space


def settle_space(
    study: StudySpec, trainer: Trainer, base_spec: Mapping[str, Any], *, num_trials: int | None
) -> tuple[dict[str, Any], SearchSpace]:
    """Compile a study's space, and put the values that it pins into the spec that trials share.

    Returns:
        The spec and its space.

    Raises:
        SpecError: when the space cannot be compiled, or the trainer refuses a pinned value.
    """
    given = flatten(study.spec)
    compile_for = partial(build_space, study, trainer, num_trials=num_trials, given=given)
    return settle(compile_for, trainer, base_spec)


def settle(
    compile_for: Callable[[Mapping[str, Any]], SearchSpace],
    trainer: Trainer,
    base_spec: Mapping[str, Any],
) -> tuple[dict[str, Any], SearchSpace]:
    """Bring a space and the spec that trials share together.

    A pinned value may leave others more room, less, or nothing to do, so the space is compiled
    again until it and the spec agree.
    """
    settled = dict(base_spec)
    for _ in range(MOST_ROUNDS):
        space = compile_for(settled)
        before, settled = settled, with_pinned(settled, space, trainer)
        if settled == before:
            return settled, space
    names = ", ".join(sorted(_unlike(before, space)))
    raise SpecError(f"search: {names}: each changes what the other may be; fix one of them")


def with_pinned(
    base_spec: Mapping[str, Any], space: SearchSpace, trainer: Trainer
) -> dict[str, Any]:
    """Return a full spec with the values that a space pins, checked by the trainer."""
    unlike = _unlike(base_spec, space)
    if not unlike:
        return dict(base_spec)
    with as_user_errors("spec"):
        return trainer.validate(merged(base_spec, unlike))


def _unlike(base_spec: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Pinned values that a spec does not have yet."""
    pinned = {pin.name: pin.value for pin in space.pinned}
    return {name: value for name, value in pinned.items() if value_at(base_spec, name) != value}


def decided_values(study: StudySpec, trainer: Trainer, space: SearchSpace) -> dict[str, Any]:
    """Return what the user or the space says of every trial's spec, by dotted name.

    The values are as the trainer reads them, and worked out without the plan: one that was lost on
    the way to a trial shows. The seed and the folder are each trial's own, so they are not in it.
    """
    with as_user_errors("spec"):
        read = trainer.validate(merged(study.spec, study.search.fix))
    read = with_pinned(read, space, trainer)
    names = {*flatten(study.spec), *(pin.name for pin in space.pinned)}
    names -= {trainer.seed_key, "results_dir"}
    values = {name: value_at(read, name) for name in sorted(names)}
    return {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}


def find_unapplied(
    study: StudySpec, trainer: Trainer, plan: StudyPlan, space: SearchSpace
) -> dict[str, tuple[Any, Any]]:
    """Return what was decided of every trial and is not so: name -> (decided, what trials have).

    A run of a release that passed fixed values on to no trial has some, and so has one whose study
    file was edited.
    """
    of_data = trainer.data_overrides({**plan.sources, **({"weights": ""} if study.weights else {})})
    found = {}
    for name, value in decided_values(study, trainer, space).items():
        trained = value_at(plan.base_spec, name)
        if name not in of_data and not is_same(value, trained):
            found[name] = (value, trained)
    return found


def planned_space(run: Path, study: StudySpec, trainer: Trainer, plan: StudyPlan) -> SearchSpace:
    """Compile the space of a run that has begun.

    Raises:
        RunError: when it is no longer the one that the search began with.
    """
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
    if space.digest != plan.space_digest:
        raise RunError(
            f"{run}: the search space has changed since the search began (digest "
            f"{plan.space_digest[:12]} -> {space.digest[:12]}); start a new search"
        )
    return space


def num_epochs_of(base_spec: Mapping[str, Any], trainer: Trainer) -> int:
    """Length of a full trial; 1 where the trainer knows no epochs."""
    if not trainer.epochs_key:
        return 1
    return read_epochs(lookup(base_spec, trainer.epochs_key), trainer.epochs_key)


def num_reports_of(base_spec: Mapping[str, Any], trainer: Trainer) -> int:
    """How often a full trial is validated."""
    return -(-num_epochs_of(base_spec, trainer) // validated_every(base_spec, trainer))


def validated_every(
    base_spec: Mapping[str, Any], trainer: Trainer, *, style: str | None = None
) -> int:
    """Epochs between two validations; where rungs are jobs, one is validated where it ends."""
    key = "train.validation_interval"
    if isinstance(trainer, SparseValidation):
        key = trainer.validation_key
    try:
        return 1 if style == "rungs" else max(1, int(lookup(base_spec, key)))
    except KeyError:
        return 1


def held_out_sources(sources: Mapping[str, str]) -> dict[str, str] | None:
    """Sources of the held-out evaluation, or None where no test queries were given."""
    if "test_query" not in sources:
        return None
    reference = sources.get("test_reference") or sources["reference"]
    return {"train": sources["train"], "reference": reference, "query": sources["test_query"]}
