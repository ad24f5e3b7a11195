"""The one place where a trial's full spec is put together.

A spec is, from left to right: what all trials share (defaults, the user's settings, data, and the
values that the search space pins), what the space takes parameters for that do nothing in this
trial, the trial's own parameters, its seed and its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.core.errors import RunError
from hpo.core.spec_dicts import merged, value_at
from hpo.core.text import quoted
from hpo.core.trial import TrialRecord
from hpo.core.yaml_io import read_yaml
from hpo.run.run_dir import SPEC_FILE, RunDir

if TYPE_CHECKING:
    from search_spaces import SearchSpace


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

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """Return the full spec of one trial, nested."""
        idle = {} if self.space is None else self.space.idle(record.params)
        own: dict[str, Any] = {self.seed_key: record.seed} if self.seed_key else {}
        if self.run is not None:
            own["results_dir"] = str(self.run.trial_dir(record.number))
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
        return merged(spec, {"results_dir": str(folder)})

    def decided_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What a spec has where the user or the space decided, by dotted name."""
        return {name: value_at(spec, name) for name in self.decided}
