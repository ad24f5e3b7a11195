"""The proposer of `hybrid`: a model plans phases of a search, classical samplers fill them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.algorithms.chooser import Chosen, Limits, Observation
from hpo.algorithms.confidence_bound import ConfidenceBound
from hpo.algorithms.llm_choosers import LlmChooser
from hpo.algorithms.llm_client import LlmClient, LlmError
from hpo.algorithms.llm_task import Task
from hpo.algorithms.narrowing import narrowed
from hpo.algorithms.unit_points import latents_at
from hpo.core.seeds import derive_seed
from hpo.core.text import count_of
from hpo.core.trial import TrialRecord

METHODS = ("random", "tpe", "bfbo")
_FOCUS = ', "focus": {name: [low, high]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a search.

    Example: `Phase(name="rates", trials=8, method="random", focus={"train.lr": [1e-4, 1e-2]})`.
    """

    name: str
    trials: int
    method: str
    focus: dict[str, list[float]]
    """Parameter -> [low, high] that the phase keeps to."""


def read_phases(data: Any, task: Task) -> tuple[Phase, ...]:
    """Check phases and return them.

    Args:
        data: a list of mappings with `trials` and, as one likes, `name`, `method`, `focus`.
        task: the search they are for.

    Raises:
        LlmError: naming the first that does not fit.
    """
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise LlmError(f"phases must be a list of one or more, got {data!r}")
    return tuple(_read_phase(item, index, task) for index, item in enumerate(data, 1))


def _read_phase(item: Any, index: int, task: Task) -> Phase:
    where = f"phase {index}"
    if not isinstance(item, Mapping):
        raise LlmError(f"{where}: must be a mapping, got {item!r}")
    unknown = sorted(set(item) - {"name", "trials", "method", "focus", "why"})
    if unknown:
        raise LlmError(f"{where}: unknown key {unknown[0]!r}")
    trials, method = item.get("trials"), item.get("method", "tpe")
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise LlmError(f"{where}: trials must be a whole number above 0, got {trials!r}")
    if method not in METHODS:
        raise LlmError(f"{where}: method must be one of {', '.join(METHODS)}, got {method!r}")
    focus = item.get("focus") or {}
    try:
        task.limits(focus)
    except LlmError as error:
        raise LlmError(f"{where}: focus: {error}") from None
    name = str(item.get("name") or f"phase {index}")
    kept = {str(k): [float(end) for end in ends] for k, ends in focus.items()}
    return Phase(name=name, trials=trials, method=method, focus=kept)


def phase_at(phases: Sequence[Phase], place: int) -> Phase:
    """The phase of the trial at a place, from 0; the last one goes on when all are through."""
    for phase in phases:
        if place < phase.trials:
            return phase
        place -= phase.trials
    return phases[-1]


class PhaseChooser(LlmChooser):
    """Carries out phases that a model plans once, at its first trial.

    Args:
        client: the model.
        task: the search in words.
        max_failures: calls in a row that may fail.
        num_trials: trials that are planned for.
        bound: chooses by a Gaussian process.
        narrows: whether phases may keep to parts of ranges.
    """

    name = "hybrid"

    def __init__(
        self,
        client: LlmClient,
        task: Task,
        *,
        max_failures: int,
        num_trials: int,
        bound: ConfidenceBound,
        narrows: bool = True,
    ) -> None:
        super().__init__(client, task, max_failures=max_failures)
        self._num_trials, self._bound, self._narrows = num_trials, bound, narrows
        self._phases: tuple[Phase, ...] | None = None
        self._first = 0

    def restore(self, trial: TrialRecord) -> None:
        """Take the recorded plan."""
        super().restore(trial)
        if trial.memo and "phases" in trial.memo:
            self._phases = tuple(Phase(**phase) for phase in trial.memo["phases"])
            self._first = trial.number

    def ask(self, number: int, seen: list[Observation]) -> Chosen:
        """Choose within the phase that is due; the first time, plan."""
        memo = None
        if self._phases is None:
            self._phases, self._first = self._plan(number, seen), number
            memo = {"phases": [asdict(phase) for phase in self._phases]}
        phase = phase_at(self._phases, number - self._first)
        limits = self._limits_of(phase) if self._narrows else {}
        latents = _METHODS[phase.method](self, number, seen, limits)
        note = f"{phase.name} ({phase.method})"
        return Chosen(latents=latents, note=note, memo=memo, limits=limits)

    def _limits_of(self, phase: Phase) -> Limits:
        """The limits of a phase; ranges that the space has lost since it was planned are none."""
        found: dict[str, tuple[float, float]] = {}
        for name, ends in phase.focus.items():
            with contextlib.suppress(LlmError):
                found.update(self.task.limits({name: ends}))
        return found

    def _plan(self, number: int, seen: list[Observation]) -> tuple[Phase, ...]:
        question = (
            f"Plan phases for {self._num_trials} trials. Answer "
            '{"phases": [{"name": text, "trials": number, "method": one of random, tpe, bfbo'
            f"{_FOCUS if self._narrows else ''}}}]}}: random explores, tpe and bfbo (a Gaussian "
            f"process) exploit{'; focus is optional' if self._narrows else ''}."
        )
        phases = self.converse(
            self.task.describe(seen, question=question),
            lambda answer: read_phases(answer.get("phases"), self.task),
        )
        self.add_step(
            "planned",
            number,
            "; ".join(f"{p.name}: {count_of(p.trials, 'trial')} by {p.method}" for p in phases),
            phases=[asdict(phase) for phase in phases],
        )
        return phases

    def _random(
        self, number: int, _seen: list[Observation], limits: Limits
    ) -> dict[str, Any] | None:
        rng = random.Random(derive_seed(self.task.seed, number, "phase"))
        space = narrowed(self.task.space, limits)
        return latents_at(space, [rng.random() for _ in space.dimensions])

    def _tpe(
        self, _number: int, _seen: list[Observation], _limits: Limits
    ) -> dict[str, Any] | None:
        return None

    def _bfbo(self, number: int, seen: list[Observation], limits: Limits) -> dict[str, Any] | None:
        return self._bound.best(number, seen, limits)


_METHODS = {"random": PhaseChooser._random, "tpe": PhaseChooser._tpe, "bfbo": PhaseChooser._bfbo}
