"""Finds what `hpo space` shows: a study's space, a skill's, or a bare schema's."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hpo.cli.overlay_flags import overlay_changes, overlay_from_args
from hpo.cli.study_flags import flag_of
from hpo.core.errors import RunError, SpecError
from hpo.core.machine import this_machine
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged, nest
from hpo.core.text import quoted
from hpo.core.yaml_io import read_yaml
from hpo.run.run_dir import find_run
from hpo.study.laid_over import laid_over
from hpo.study.packaged import given_study, packaged_studies
from hpo.study.plan import settle
from hpo.study.skill import load_skill, schema_file_of
from hpo.study.spec import DEFAULT_TRAINER, StudySpec, load_study
from hpo.study.stages import read_stages, refuse_unknown, stage_study
from hpo.study.start import complete_study
from hpo.study.text_values import read_assignments
from hpo.study.trainers import find_trainer, registered_trainer
from search_spaces import Overlay, Schema, SearchSpace, compile_space, load_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSource:
    """Everything that a space is compiled from."""

    schema: Schema
    overlay: Overlay
    spec: Mapping[str, Any] | None = None
    trainer: Trainer | None = None
    stages: Mapping[str, SpaceSource] = field(default_factory=dict)
    """Stages before the last one, by name, in order."""
    reasons: tuple[str, ...] = ()
    """What the trainer has chosen to start from, a line each."""

    def compiled(self, num_trials: int | None) -> SearchSpace:
        """Compile the space as a search of so many trials does."""
        compile_with = partial(
            compile_space, self.schema, overlay=self.overlay, num_trials=num_trials
        )
        trainer = self.trainer
        if trainer is None or self.spec is None:
            return compile_with(spec=self.spec)

        def compile_for(spec: Mapping[str, Any]) -> SearchSpace:
            return compile_with(
                spec=spec,
                inactive=trainer.inactive,
                limits=trainer.limits(spec),
                multiple_of=getattr(trainer, "multiple_of", None),
            )

        return settle(compile_for, trainer, self.spec)[1]


def find_source(args: argparse.Namespace) -> SpaceSource:
    """Find schema, spec and trainer that the arguments of `hpo space` name.

    Raises:
        SpecError: when a file is missing or no trainer fits a study.
    """
    if args.schema:
        if args.set:
            raise SpecError("--set: a schema alone has no spec; name a study or a skill folder")
        return SpaceSource(schema=load_schema(args.schema), overlay=overlay_from_args(args))
    if args.skill:
        return _skill_source(args, overlay_from_args(args))
    study, is_of_run = _given(args) if args.study else (StudySpec(), False)
    study = laid_over(
        study,
        {
            "spec": read_assignments(args.set, study.find_skill),
            "search": overlay_changes(args, study.find_skill),
        },
        spell_search=flag_of,
    )
    if is_of_run:  # which holds what was chosen when it began
        return _study_source(study)
    start = complete_study(study, find_trainer(study.trainer or DEFAULT_TRAINER), this_machine())
    return replace(_study_source(start.study), reasons=start.reasons)


def _given(args: argparse.Namespace) -> tuple[StudySpec, bool]:
    """The study of a file or name (a packaged study, else a run), and whether it is a run's."""
    if Path(args.study).is_file() or args.study in packaged_studies():
        return given_study(args.study), False
    try:
        return load_study(find_run(args.study, Path(args.out)).study_file), True
    except RunError as error:
        if Path(args.study).suffix:
            return given_study(args.study), False  # says that there is no such file
        raise SpecError(f"{error}; a study file ends in .yaml") from error


def _skill_source(args: argparse.Namespace, overlay: Overlay) -> SpaceSource:
    """A skill folder: its template is the spec; a registered trainer knows the rest."""
    skill = load_skill(Path(args.skill))
    schema = load_schema(skill.schema_file("train"))
    file = skill.template_file("train")
    template = read_yaml(file) if file.is_file() else {}
    if not isinstance(template, Mapping):
        raise SpecError(f"{file}: must be a mapping of keys, got {quoted(template)}")
    network = skill.network_arch or schema.network_arch
    return SpaceSource(
        schema=schema,
        overlay=overlay,
        spec=merged(nest(template), nest(read_assignments(args.set, lambda: skill))),
        trainer=registered_trainer(network),
    )


def _study_source(study: StudySpec) -> SpaceSource:
    """A study: pictures are counted where it names them, and never made or split here."""
    trainer = find_trainer(study.trainer or DEFAULT_TRAINER)
    schema = load_schema(schema_file_of(trainer))
    given = {
        name: path
        for name in ("train", "reference", "query")
        if (path := getattr(study.data, name)) and Path(path).exists()
    }
    if study.weights:
        given["weights"] = study.weights
    spec = trainer.validate(
        merged(study.spec, study.search.fix, nest(trainer.data_overrides(given)))
    )
    refuse_unknown(study, trainer, spec)

    def of(own: StudySpec, laid_over: Mapping[str, Any]) -> SpaceSource:
        laid = trainer.validate(merged(spec, nest(laid_over))) if laid_over else spec
        return SpaceSource(schema=schema, overlay=own.overlay, spec=laid, trainer=trainer)

    earlier = read_stages(study.search)
    stages = {name: of(stage_study(study, stage), stage.spec) for name, stage in earlier.items()}
    return replace(of(study, {}), stages=stages)
