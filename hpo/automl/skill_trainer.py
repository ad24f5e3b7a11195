"""Trainer of one skill folder: its schema and template over the registered trainer, if any.

`hpo.study.skill_address` says how studies name it, so that workers and a resumed search find the
same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from hpo.automl.command_trainer import CommandTrainer, full_template
from hpo.automl.metrics import is_monitored, monitoring_metrics
from hpo.automl.objectives import SCORE
from hpo.automl.script import ScriptExecution, read_execution
from hpo.core.addresses import is_remote
from hpo.core.errors import RunError, SpecError
from hpo.core.metric_values import find_metric
from hpo.core.protocols import Progress, Report, Spec, Trainer, takes
from hpo.core.spec_dicts import flatten, lookup, merged, nest
from hpo.core.text import shell_word
from hpo.core.trainer_extras import EXTRAS, Explainer, SourceSettler, StartSaver, members_of
from hpo.core.trial import Direction
from hpo.study.skill import Skill, load_skill
from hpo.study.skill_address import ELSEWHERE, TRAIN, TrainerFacts, read_address
from hpo.study.trainers import demand, find_trainer, registered_trainer, restart_keys
from search_spaces import Schema, load_schema

_BATCH_KEYS = ("train.train_batch_per_replica", "train.batch_size", "dataset.batch_size",
              "batch_size")  # fmt: skip
"""Spec keys of the training batch of published networks."""
_SHARD_KEYS = ("policy.parallelism.dp_shard_size", "train.num_gpus", "num_gpus", "gpu_count")
"""Spec keys of the number of devices that share an epoch's samples."""
Limits = dict[str, tuple[float | None, float | None]]


def find_registered(
    skill: Skill, action: str, named: str, execution: ScriptExecution | None
) -> Trainer | None:
    """The trainer that knows a network's spec; scripts and actions but training are commands.

    Args:
        skill: the network's folder.
        action: what is run in each trial.
        named: a registered trainer to use in place of the network's own.
        execution: the script that the action is, where it is one.
    """
    if action != TRAIN or execution is not None:
        return None
    return find_trainer(named) if named else registered_trainer(skill.network_arch)


def keys_of(trainer: Trainer) -> frozenset[str]:
    """Every spec key that a trainer itself knows."""
    file = load_skill(trainer.skill_dir).schema_file()
    return frozenset(load_schema(file).leaves) if file.is_file() else frozenset()


def _gone(folder: Path, facts: TrainerFacts) -> str:
    """What is said of a workspace whose skill folder is gone."""
    how = f"`hpo resume WORKSPACE --moved {shell_word(f'{folder}=NEW')}`"
    if facts.is_elsewhere:
        how = "the skill folder in the call that goes on with the workspace"
    return f"{folder}: no such skill folder; bring it back, or give its new place: {how}"


class SkillTrainer:
    """Implements `hpo.core.protocols.Trainer` for one skill folder.

    Args:
        argument: `<folder>?<facts>`, as `hpo.study.skill_address` writes it.
    """

    def __init__(self, argument: str) -> None:
        folder, self.facts = read_address(argument)
        if not folder.exists():
            raise SpecError(_gone(folder, self.facts))
        self.skill, facts = load_skill(folder), self.facts
        self.action = facts.action
        inner = find_registered(self.skill, facts.action, facts.trainer, self.execution)
        self.is_registered = inner is not None
        command = None if inner else CommandTrainer(
            self.skill, facts.metric, facts.direction or "maximize",
            action=facts.action, execution=self.execution,
        )  # fmt: skip
        self._inner = cast(Trainer, inner or command)  # what is optional may be left out
        self._other_metric = "" if self._is_own(facts.metric) else facts.metric
        self.name = self._inner.name
        self.skill_dir = self.skill.path
        metric = self._other_metric or self._inner.monitoring_metric
        self.monitoring_metric = SCORE if facts.primary else metric
        self.stops_by = (facts.metric, Direction(facts.primary).sign) if facts.primary else None
        """The metric and its sign by which trials are stopped early; None: by their value."""
        self.direction = facts.direction or self._inner.direction
        self.epochs_key = self._inner.epochs_key
        self.seed_key = self._inner.seed_key
        self.multiple_of = self._inner.multiple_of
        self.restart_keys = restart_keys(self._inner)
        # From Python 3.12 on `isinstance` does not ask `__getattr__` for what a protocol demands.
        for name in {name for extra in EXTRAS for name in members_of(extra)}:
            if hasattr(self._inner, name) and not hasattr(type(self), name):
                setattr(self, name, getattr(self._inner, name))

    @cached_property
    def execution(self) -> ScriptExecution | None:
        """The script that is run in each trial, where the action is one."""
        return read_execution(
            self.skill.path, self.skill.action(self.facts.action), self.facts.execution
        )

    def __getattr__(self, name: str) -> Any:
        """Whatever else the trainer can do, as it does it."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def is_elsewhere(self) -> bool:
        """Whether trials are jobs of a platform, or of the caller."""
        return self.facts.is_elsewhere

    @property
    def inner(self) -> Trainer:
        """The registered trainer, or the one that runs the skill's commands."""
        return self._inner

    def _is_own(self, metric: str) -> bool:
        published = monitoring_metrics(self.skill, self._inner)
        return not metric or is_monitored(metric, self._inner, published)

    # The spec ----------------------------------------------------------------------------------

    @cached_property
    def template(self) -> dict[str, Any]:
        """The schema's defaults under the skill's template, nested."""
        return full_template(self.skill, self.action)

    @cached_property
    def _own_template(self) -> dict[str, Any]:
        """The template without what the trainer would fill in by itself.

        What a template merely repeats nobody chose: values that belong to the start weights
        (pixel statistics, say) may take its place.
        """
        if not self.is_registered:
            return self.template
        usual = flatten(self._inner.validate({}))
        flat = flatten(self.template)
        return nest({k: v for k, v in flat.items() if k not in usual or usual[k] != v})

    @cached_property
    def known_keys(self) -> frozenset[str]:
        """Every spec key that the trainer itself knows, beside those of the skill."""
        return keys_of(self._inner)

    def validate(self, spec: Spec) -> dict[str, Any]:
        """Return the full spec: defaults, template, then what is given; strange keys are kept."""
        full = merged(self._own_template, nest(spec))
        known, strange = self._split(full)
        return merged(self._inner.validate(known), strange)

    @cached_property
    def _schema(self) -> Schema:
        return load_schema(self.skill.schema_file())

    @cached_property
    def _legal(self) -> frozenset[str]:
        own = self._schema.leaves
        return frozenset((*own, *flatten(self.template), *self.known_keys, *self.skill.keys()))

    @cached_property
    def _below_leaves(self) -> tuple[str, ...]:
        """How names begin whose section is itself a leaf, so that anything may stand in it."""
        return tuple(f"{name}." for name in self._legal if name not in self._schema.containers)

    @cached_property
    def _sections(self) -> frozenset[str]:
        return frozenset((*(n.partition(".")[0] for n in self.known_keys), *self.skill.actions))

    def _split(self, spec: Spec) -> tuple[dict[str, Any], dict[str, Any]]:
        """Separate what the trainer knows from what it would refuse."""
        if not self.is_registered:
            return dict(spec), {}
        schema, legal = self._schema, self._legal
        known: dict[str, Any] = {}
        strange: dict[str, Any] = {}
        for name, value in flatten(spec).items():
            is_free = schema.is_free(name) or name.startswith(self._below_leaves)
            # A section of another action, such as `evaluate`, is the trainer's own business.
            section = name.partition(".")[0]
            is_other = section not in schema.tree and section in self._sections
            (known if name in legal or is_free or is_other else strange)[name] = value
        return nest(known), nest(strange)

    def inactive(self, spec: Spec) -> dict[str, str]:
        """As the trainer says."""
        return self._inner.inactive(self._split(spec)[0])

    def limits(self, spec: Spec) -> Limits:
        """The trainer's limits, and no batch larger than all the samples there are."""
        found = self.own_limits(spec)
        cap = self.batch_cap(spec)
        if cap is not None:
            low, high = found.get(self.batch_key, (None, None))
            found[self.batch_key] = (low, cap if high is None else min(cap, high))
        return found

    def own_limits(self, spec: Spec) -> Limits:
        """The trainer's limits alone."""
        return dict(self._inner.limits(self._split(spec)[0]))

    @property
    def batch_key(self) -> str:
        """The spec key of the training batch: the skill's short name, else the first known one."""
        short = self.skill.shorthands.get("batch_size")
        known = flatten(self.template)
        return short or next((key for key in _BATCH_KEYS if key in known), _BATCH_KEYS[1])

    def batch_cap(self, spec: Spec) -> int | None:
        """The largest batch per device that all samples together fill; None where unknown."""
        if self.facts.samples is None:
            return None
        return self.facts.samples // self.num_shards(spec)

    def num_shards(self, spec: Spec) -> int:
        """Devices that share an epoch's samples."""
        own = self.skill.gpu_key
        keys = [own] if own else [key for key in _SHARD_KEYS if _count(spec, key) > 1][:1]
        count = 1
        for name in (*keys, *(f"{key.rpartition('.')[0]}.num_nodes" for key in keys)):
            count *= _count(spec, name)
        return count

    # The data ----------------------------------------------------------------------------------

    def data_overrides(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """As the trainer says."""
        return self._inner.data_overrides(sources)

    def split_data(
        self, folder: str, out: Path, *, seed: int, class_disjoint: bool, group_by: str = ""
    ) -> dict[str, str]:
        """As the trainer does."""
        more = {"group_by": group_by} if group_by else {}  # not every trainer takes it
        return self._inner.split_data(folder, out, seed=seed, class_disjoint=class_disjoint, **more)

    def settle_sources(
        self, sources: Mapping[str, str], out: Path, *, group_by: str = ""
    ) -> dict[str, str]:
        """As the trainer does, where it does anything; an address stays, as others may read it."""
        if not isinstance(self._inner, SourceSettler):
            return dict(sources)
        elsewhere = [name for name, place in sources.items() if is_remote(place)]
        local = {name: place for name, place in sources.items() if name not in elsewhere}
        return {**sources, **self._inner.settle_sources(local, out, group_by=group_by)}

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """None: the data of this route stand in the spec or come from roots."""
        del folder, seed
        return {}

    def inspect_data(
        self, spec: Spec, *, opens: bool = True, beside: Spec | None = None
    ) -> dict[str, Any]:
        """Look at all data, where they can be seen from here."""
        if self.facts.is_elsewhere:
            return {"splits": {}, "findings": []}
        look: Callable[..., dict[str, Any]] = self._inner.inspect_data
        if not opens and takes(look, "opens"):
            look = partial(look, opens=False)
        own = self._split(spec)[0]
        if beside is None:
            return look(own)
        if not takes(look, "beside"):
            return look(own) | {"findings": []}
        return look(own, beside=self._split(beside)[0])

    def stage(self, source: str) -> Path:
        """As the trainer does."""
        return self._inner.stage(source)

    def prepare(self, spec: Spec, progress: Progress | None = None) -> None:
        """As the trainer does; nothing where trials run elsewhere."""
        if not self.facts.is_elsewhere:
            self._inner.prepare(self._split(spec)[0], progress)

    def probe(self, spec: Spec, brief: bool = False) -> dict[str, Any]:
        """As the trainer measures; nothing where trials run elsewhere."""
        if self.facts.is_elsewhere:
            return {}
        more = {"brief": True} if brief and takes(self._inner.probe, "brief") else {}
        return self._inner.probe(self._split(spec)[0], **more)

    # Actions -----------------------------------------------------------------------------------

    def fit(
        self,
        spec: Spec,
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Train; another metric than the monitored one is taken from the epoch's table.

        Its value is None where the table lacks it: the caller's own functions may know it.
        """
        if self.facts.is_elsewhere:
            raise RunError(ELSEWHERE)
        known = self._split(spec)[0]
        more: dict[str, Any] = {} if start_epoch is None else {"start_epoch": start_epoch}
        if progress is not None and takes(self._inner.fit, "progress"):
            more["progress"] = progress
        if not self._other_metric or not self.is_registered:
            return self._inner.fit(known, report, resume_from, **more)

        def report_other(line: Mapping[str, Any]) -> bool:
            metrics = {**(line.get("metrics") or {}), self._inner.monitoring_metric: line["value"]}
            value = find_metric(metrics, self._other_metric)
            return report({**line, "value": value, "metrics": metrics})

        return self._inner.fit(known, report_other, resume_from, **more)

    def save_start(self, spec: Spec, path: Path) -> None:
        """As the trainer does; not every one can."""
        demand(self._inner, StartSaver).save_start(self._split(spec)[0], path)

    def evaluate(self, spec: Spec) -> dict[str, Any]:
        """As the trainer does."""
        return self._inner.evaluate(self._split(spec)[0])

    def explain(self, spec: Spec, with_map: bool = True) -> dict[str, Any]:
        """As the trainer does."""
        return demand(self._inner, Explainer).explain(self._split(spec)[0], with_map)

    def export(self, spec: Spec) -> dict[str, Any]:
        """As the trainer does."""
        return self._inner.export(self._split(spec)[0])

    def predict(self, folder: Path, images: list[Path], topk: int) -> list[dict[str, Any]]:
        """As the trainer does."""
        return self._inner.predict(folder, images, topk)


def _count(spec: Spec, key: str) -> int:
    """A number of devices in a spec; 1 where it has none."""
    try:
        return max(1, int(lookup(spec, key)))
    except (KeyError, TypeError, ValueError):
        return 1
