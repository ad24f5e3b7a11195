"""Trainer of one skill folder: its schema and template over the registered trainer, if any.

Studies name it `hpo.automl.skill_trainer:SkillTrainer@<folder>?metric=...&direction=...`, so that
workers and a resumed search find the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode

from hpo.automl.command_trainer import CommandTrainer
from hpo.automl.metrics import find_metric, is_monitored, monitoring_metrics
from hpo.core.errors import RunError, SpecError
from hpo.core.protocols import Report, Spec, Trainer
from hpo.core.spec_dicts import flatten, lookup, merged, nest
from hpo.core.trainer_extras import EXTRAS, Explainer, SourceSettler, StartSaver, members_of
from hpo.core.yaml_io import read_yaml
from hpo.study.skill import load_skill
from hpo.study.trainers import GROUP, demand, find_trainer, restart_keys

Limits = dict[str, tuple[float | None, float | None]]


def trainer_name(
    folder: Path,
    *,
    metric: str = "",
    direction: str = "",
    trainer: str = "",
    samples: int | None = None,
    is_elsewhere: bool = False,
) -> str:
    """Name the trainer of a skill folder.

    Args:
        folder: the skill folder.
        metric: what is optimized; empty means what the registered trainer monitors.
        direction: `maximize` or `minimize`.
        trainer: a registered trainer to use in place of the network's.
        samples: training samples; no batch over all devices may be larger.
        is_elsewhere: whether trials are jobs of a platform.
    """
    facts = {
        "metric": metric,
        "direction": direction,
        "trainer": trainer,
        "samples": "" if samples is None else str(samples),
        "platform": "yes" if is_elsewhere else "",
    }
    query = urlencode({name: value for name, value in facts.items() if value})
    return f"{__name__}:SkillTrainer@{quote(str(folder))}" + (f"?{query}" if query else "")


def registered_trainer(network: str) -> Trainer | None:
    """The trainer registered for a network, or None."""
    names = {point.name for point in entry_points(group=GROUP)}
    return find_trainer(network) if network in names else None


class SkillTrainer:
    """Implements `hpo.core.protocols.Trainer` for one skill folder.

    Args:
        argument: `<folder>?<facts>`, as `trainer_name` writes it.
    """

    def __init__(self, argument: str) -> None:
        from urllib.parse import unquote

        place, _, query = argument.partition("?")
        facts = dict(parse_qsl(query))
        self.skill = load_skill(Path(unquote(place)))
        self._samples = int(facts["samples"]) if "samples" in facts else None
        self._is_elsewhere = "platform" in facts
        named = facts.get("trainer", "")
        inner = find_trainer(named) if named else registered_trainer(self.skill.network_arch)
        self.is_registered = inner is not None
        metric, direction = facts.get("metric", ""), facts.get("direction", "maximize")
        command = None if inner else CommandTrainer(self.skill, metric, direction)
        self._inner = cast(Trainer, inner or command)  # what is optional may be left out
        self._other_metric = "" if self._is_own(metric) else metric
        self.name = self._inner.name
        self.skill_dir = self.skill.path
        self.monitoring_metric = self._other_metric or self._inner.monitoring_metric
        self.direction = facts.get("direction", self._inner.direction)
        self.epochs_key = self._inner.epochs_key
        self.seed_key = self._inner.seed_key
        self.multiple_of = self._inner.multiple_of
        self.restart_keys = restart_keys(self._inner)
        # From Python 3.12 on `isinstance` does not ask `__getattr__` for what a protocol demands.
        for name in {name for extra in EXTRAS for name in members_of(extra)}:
            if hasattr(self._inner, name) and not hasattr(type(self), name):
                setattr(self, name, getattr(self._inner, name))

    def __getattr__(self, name: str) -> Any:
        """Whatever else the trainer can do, as it does it."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def is_elsewhere(self) -> bool:
        """Whether trials are jobs of a platform, or of the caller."""
        return self._is_elsewhere

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
        from search_spaces import load_schema

        schema, file = self.skill.schema_file(), self.skill.template_file()
        tree = load_schema(schema).tree if schema.is_file() else {}
        over = read_yaml(file) if file.is_file() else {}
        if not isinstance(over, Mapping):
            raise SpecError(f"{file}: must be a mapping of keys, got {type(over).__name__}")
        return merged(tree, over)

    @cached_property
    def _own_template(self) -> dict[str, Any]:
        """The template without what the trainer would fill in by itself.

        What a template merely repeats is nobody's wish: values that belong to the start weights,
        such as pixel statistics, may take its place.
        """
        if not self.is_registered:
            return self.template
        usual = flatten(self._inner.validate({}))
        flat = flatten(self.template)
        return nest({k: v for k, v in flat.items() if k not in usual or usual[k] != v})

    @cached_property
    def known_keys(self) -> frozenset[str]:
        """Every spec key that the trainer itself knows, beside those of the skill."""
        from search_spaces import load_schema

        file = load_skill(self._inner.skill_dir).schema_file()
        return frozenset(load_schema(file).leaves) if file.is_file() else frozenset()

    def validate(self, spec: Spec) -> dict[str, Any]:
        """Return the full spec: defaults, template, then what is given; strange keys are kept."""
        full = merged(self._own_template, nest(spec))
        known, strange = self._split(full)
        return merged(self._inner.validate(known), strange)

    def _split(self, spec: Spec) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tell what the trainer knows from what it would refuse."""
        if not self.is_registered:
            return dict(spec), {}
        from search_spaces import load_schema

        schema = load_schema(self.skill.schema_file())
        legal = {*schema.leaves, *flatten(self.template), *self.known_keys, *self.skill.keys()}
        sections = {name.partition(".")[0] for name in self.known_keys}
        known: dict[str, Any] = {}
        strange: dict[str, Any] = {}
        for name, value in flatten(spec).items():
            is_free = schema.is_free(name) or any(
                name.startswith(f"{other}.") for other in legal if other not in schema.containers
            )
            # A section of another action, such as `evaluate`, is the trainer's own business.
            is_other = name.partition(".")[0] not in schema.tree and (
                name.partition(".")[0] in {*sections, *self.skill.actions}
            )
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
        """The spec key of the training batch."""
        return self.skill.shorthands.get("batch_size", "train.batch_size")

    def batch_cap(self, spec: Spec) -> int | None:
        """The largest batch per device that all samples together fill; None where unknown."""
        if self._samples is None:
            return None
        return self._samples // self.num_shards(spec)

    def num_shards(self, spec: Spec) -> int:
        """Devices that share an epoch's samples."""
        key = self.skill.gpu_key
        count = 1
        for name in (key, f"{key.rpartition('.')[0]}.num_nodes"):
            try:
                count *= max(1, int(lookup(spec, name)))
            except (KeyError, TypeError, ValueError):
                continue
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
        """As the trainer does, where it does anything."""
        if not isinstance(self._inner, SourceSettler):
            return dict(sources)
        return self._inner.settle_sources(sources, out, group_by=group_by)

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """None: the data of this route stand in the spec or come from roots."""
        del folder, seed
        return {}

    def inspect_data(self, spec: Spec) -> dict[str, Any]:
        """Look at all data, where they can be seen from here."""
        if self._is_elsewhere:
            return {"splits": {}, "findings": []}
        return self._inner.inspect_data(self._split(spec)[0])

    def stage(self, source: str) -> Path:
        """As the trainer does."""
        return self._inner.stage(source)

    def prepare(self, spec: Spec, progress: Callable[[str, int, int], None] | None = None) -> None:
        """As the trainer does; nothing where trials run elsewhere."""
        if not self._is_elsewhere:
            self._inner.prepare(self._split(spec)[0], progress)

    def probe(self, spec: Spec) -> dict[str, Any]:
        """As the trainer measures; nothing where trials run elsewhere."""
        return {} if self._is_elsewhere else self._inner.probe(self._split(spec)[0])

    # Actions -----------------------------------------------------------------------------------

    def fit(
        self,
        spec: Spec,
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
    ) -> dict[str, Any]:
        """Train; another metric than the monitored one is taken from the epoch's table.

        Its value is None where the table lacks it: the caller's own functions may know it.
        """
        if self._is_elsewhere:
            raise RunError(
                "this workspace's trials are jobs of a platform; go on with "
                "AutoMLRunner(platform_sdk=...).run(resume=True)"
            )
        known = self._split(spec)[0]
        start = {} if start_epoch is None else {"start_epoch": start_epoch}
        if not self._other_metric or not self.is_registered:
            return self._inner.fit(known, report, resume_from, **start)

        def report_other(line: Mapping[str, Any]) -> bool:
            metrics = {**(line.get("metrics") or {}), self._inner.monitoring_metric: line["value"]}
            value = find_metric(metrics, self._other_metric)
            return report({**line, "value": value, "metrics": metrics})

        return self._inner.fit(known, report_other, resume_from, **start)

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
