"""The one place where a trial's full spec is put together.

A spec is, from left to right: what all trials of a stage share (defaults, the user's settings,
data, and the values that the search space pins), what the space takes parameters for that do
nothing in this trial, the trial's own parameters, its seed, its folder and the checkpoint of its
parent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.core.errors import RunError
from hpo.core.spec_dicts import flatten, merged, value_at
from hpo.core.text import quoted
from hpo.core.trial import TrialRecord
from hpo.core.yaml_io import read_yaml
from hpo.run.run_dir import SPEC_FILE, RunDir

if TYPE_CHECKING:
    from search_spaces import SearchSpace

_CHECKPOINT = re.compile(r"/.*/(trials/\d{4,}/ckpt/best\.ckpt)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpecs:
    """Makes the specs of one search's trials."""

    base_spec: Mapping[str, Any]
    """What all trials share; the values that the space pins are in it (`settle_space`)."""
    seed_key: str
    """Spec key of the random seed; empty for a trainer that has none."""
    decided: Mapping[str, Any] = field(default_factory=dict)
    """What the user and the space say of every trial, by dotted name (`decided_values`)."""
    space: SearchSpace | None = None
    """None, in simulations, leaves parameters that do nothing at what trials share."""
    run: RunDir | None = None
    """Where trials have their folders; None for trials without one."""
    earlier: Mapping[str, TrialSpecs] = field(default_factory=dict)
    """Makes those of stages before the last one, by the stage's name."""
    parent_key: str = ""
    """Spec key of the checkpoint that a trial begins with (`StageStarter`)."""
    with_parent: Mapping[str, Any] = field(default_factory=dict)
    """What else is so where a trial has a parent, by dotted name."""

    def of(self, record: TrialRecord) -> TrialSpecs:
        """What makes the specs of a trial's stage."""
        return self.earlier.get(record.stage.name, self)

    def decided_for(self, record: TrialRecord) -> Mapping[str, Any]:
        """What is decided of one trial, its parameters apart: a parent changes some of it."""
        decided = self.of(record).decided
        return decided if record.stage.parent is None else {**decided, **self.with_parent}

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """Return the full spec of one trial, nested."""
        if (specs := self.of(record)) is not self:
            return specs.spec_of(record)
        idle = {} if self.space is None else self.space.idle(record.params)
        own: dict[str, Any] = {self.seed_key: record.seed} if self.seed_key else {}
        if self.run is not None:
            own["results_dir"] = str(self.run.trial_dir(record.number))
            if record.stage.parent is not None:
                best = self.run.checkpoints_dir(record.stage.parent) / "best.ckpt"
                own |= {**self.with_parent, self.parent_key: str(best)}
        return merged(self.base_spec, idle, record.params, own)

    def trained_spec(self, record: TrialRecord) -> dict[str, Any]:
        """Return the spec that a trial was started with, as it stands in its folder.

        What trials share may have changed since, by `hpo resume --force`. A trial without a folder,
        such as a job of a platform, has what is put together for it now.

        Raises:
            RunError: when the file in the folder is damaged.
        """
        folder = None if self.run is None else self.run.trial_dir(record.number)
        if folder is None or not (folder / SPEC_FILE).is_file():
            return self.spec_of(record)
        spec = read_yaml(folder / SPEC_FILE)
        if not isinstance(spec, Mapping):
            raise RunError(
                f"{folder / SPEC_FILE}: must be the spec of a trial, got {quoted(spec)}; restore it"
            )
        return merged(spec, self._parent_of(record, spec), {"results_dir": str(folder)})

    def _parent_of(self, record: TrialRecord, spec: Mapping[str, Any]) -> dict[str, str]:
        """The checkpoint of a trial's parent where that lies now: the run may have been moved."""
        if self.run is None or record.stage.parent is None:
            return {}
        best = str(self.run.checkpoints_dir(record.stage.parent) / "best.ckpt")
        return {
            name: place
            for name, (kept, place) in checkpoints_in(spec, self.run).items()
            if place == best and value_at(self.base_spec, name) != kept  # else the user's own
        }

    def decided_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What a spec has where the user or the space decided, by dotted name."""
        return {name: value_at(spec, name) for name in self.decided}


def checkpoints_in(spec: Mapping[str, Any], run: RunDir) -> dict[str, tuple[str, str]]:
    """Where a spec names the best checkpoint of a trial: name -> its value, the same in `run`."""
    flat = flatten(spec).items()
    found = ((name, _CHECKPOINT.fullmatch(value)) for name, value in flat if isinstance(value, str))
    return {name: (match[0], str(run.path / match[1])) for name, match in found if match}
