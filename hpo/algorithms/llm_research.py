"""The proposer of `autoresearch`: retrieve, propose three, screen them, run one, keep or drop it.

Each step is an event. What is kept is the line of configurations that each improved on the one
before; what is discarded is shown to the model as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hpo.algorithms.chooser import Chosen, Limits, Observation
from hpo.algorithms.confidence_bound import ConfidenceBound
from hpo.algorithms.llm_choosers import LlmChooser
from hpo.algorithms.llm_client import LlmClient, LlmError
from hpo.algorithms.llm_phases import Phase, phase_at, read_phases
from hpo.algorithms.llm_task import Task, best_of
from hpo.core.errors import SpecError
from hpo.core.text import count_of
from hpo.core.trial import Direction, TrialRecord, TrialState

_CANDIDATES = 3


def read_program(data: Mapping[str, Any] | None, task: Task) -> tuple[str, tuple[Phase, ...]]:
    """Check a research program: `{"goal": text, "phases": [{name, trials, focus}]}`.

    Raises:
        SpecError: for what does not fit, before anything is trained.
    """
    if data is None:
        return "", ()
    unknown = sorted(set(data) - {"goal", "phases"})
    if unknown:
        raise SpecError(f"research_program: unknown key {unknown[0]!r}; it has goal and phases")
    if not data.get("phases"):
        return str(data.get("goal") or ""), ()
    try:
        phases = read_phases(data["phases"], task)
    except LlmError as error:
        raise SpecError(f"research_program: {error}") from None
    return str(data.get("goal") or ""), phases


class ResearchChooser(LlmChooser):
    """Runs experiments that a model designs.

    Args:
        client: the model.
        task: the search in words.
        max_failures: calls in a row that may fail.
        goal: of the research, in the user's words.
        phases: whose ranges the experiments keep to, in order; empty for the whole space.
        bound: whose Gaussian process screens candidates.
        notes: what the caller says of trials, by number.
    """

    name = "autoresearch"

    def __init__(
        self,
        client: LlmClient,
        task: Task,
        *,
        max_failures: int,
        goal: str,
        phases: Sequence[Phase],
        bound: ConfidenceBound,
        notes: Callable[[], Mapping[int, Any]] = dict,
    ) -> None:
        super().__init__(client, task, max_failures=max_failures)
        self._notes = notes
        self._goal, self._phases, self._bound = goal, tuple(phases), bound
        self._best: float | None = None
        self._outcomes: dict[int, str] = {}
        self._experiments = 0

    def restore(self, trial: TrialRecord) -> None:
        """Count a recorded experiment."""
        super().restore(trial)
        self._experiments += bool(trial.memo and "hypothesis" in trial.memo)

    def update(self, trial: TrialRecord) -> None:
        """Check an experiment after it has run, and keep or discard it."""
        sign = Direction(self.task.direction).sign
        if trial.state is TrialState.FAILED or trial.value is None:
            outcome, text = "failed", (trial.error or {}).get("message", "no value")
        elif self._best is None or sign * trial.value > sign * self._best:
            before = "nothing" if self._best is None else f"{self._best:.4f}"
            outcome, text = "kept", f"{trial.value:.4f} after {before}"
            self._best = trial.value
        else:
            outcome, text = "discarded", f"{trial.value:.4f} is not better than {self._best:.4f}"
        self._outcomes[trial.number] = outcome
        checked = "values read back from the live trainer" if trial.receipt else "no receipt"
        self.add_step("verified", trial.number, checked)
        self.add_step(outcome, trial.number, text)
        self.flush()

    def ask(self, number: int, seen: list[Observation]) -> Chosen:
        """Design the next experiment."""
        phase = phase_at(self._phases, self._experiments) if self._phases else None
        limits = {} if phase is None else self.task.limits(phase.focus)
        context = self._retrieve(number, seen, phase)
        if notes := self._notes():
            context = {**context, "feedback": {str(number): said for number, said in notes.items()}}
        question = (
            f"Design {_CANDIDATES} different experiments. Answer "
            '{"candidates": [{"params": {name: value}, "hypothesis": "one sentence"}]}.'
        )
        candidates = self.converse(
            self.task.describe(seen, question=question, **context),
            lambda answer: self._candidates(answer.get("candidates"), seen, limits),
        )
        hypotheses = [hypothesis for _, hypothesis in candidates]
        self.add_step(
            "proposed", number, count_of(len(candidates), "candidate"), hypotheses=hypotheses
        )
        latents, hypothesis = self._screen(number, candidates, seen)
        self._experiments += 1
        memo = {"hypothesis": hypothesis}
        return Chosen(latents=latents, note=hypothesis, memo=memo, limits=limits)

    def _retrieve(
        self, number: int, seen: Sequence[Observation], phase: Phase | None
    ) -> dict[str, Any]:
        """Gather what bears on the next experiment."""
        best = best_of(seen, self.task.direction)
        found = {
            "research_goal": self._goal,
            # A copy: trials are reported in another thread while a question is made.
            "outcomes_of_experiments": {str(n): what for n, what in dict(self._outcomes).items()},
            "best_trial": None if best is None else best.number,
            "phase": None if phase is None else asdict(phase),
        }
        failed = sum(o.state is TrialState.FAILED for o in seen)
        words = f"{count_of(len(seen), 'trial')}, {failed} of them failed"
        self.add_step("retrieved", number, words, phase=None if phase is None else phase.name)
        return found

    def _candidates(
        self, data: Any, seen: Sequence[Observation], limits: Limits
    ) -> list[tuple[dict[str, Any], str]]:
        """Check candidates before one is run: legal, new, and within the phase; at least one."""
        if not isinstance(data, Sequence) or isinstance(data, str):
            raise LlmError("candidates must be a list")
        found: list[tuple[dict[str, Any], str]] = []
        problem = "there are no candidates"
        for item in data[:_CANDIDATES]:
            try:
                found.append(self._candidate(item, seen, limits))
            except LlmError as error:
                problem = str(error)
        if not found:
            raise LlmError(problem)
        return found

    def _candidate(
        self, item: Any, seen: Sequence[Observation], limits: Limits
    ) -> tuple[dict[str, Any], str]:
        if not isinstance(item, Mapping):
            raise LlmError(f"a candidate must be a mapping, got {item!r}")
        latents = self.read_new(item.get("params"), seen)
        for name, (low, high) in limits.items():
            if name in latents and not low <= latents[name] <= high:
                raise LlmError(f"{name} lies outside the range of this phase")
        return latents, " ".join(str(item.get("hypothesis") or "no hypothesis").split())[:160]

    def _screen(
        self,
        number: int,
        candidates: Sequence[tuple[dict[str, Any], str]],
        seen: Sequence[Observation],
    ) -> tuple[dict[str, Any], str]:
        """Choose the candidate that a Gaussian process expects most of; the first without one."""
        scores = self._bound.score([latents for latents, _ in candidates], seen)
        index = 0 if scores is None else max(range(len(scores)), key=lambda i: (scores[i], -i))
        words = "the model's first choice" if scores is None else "the highest expected value"
        rounded = None if scores is None else [round(score, 4) for score in scores]
        self.add_step("screened", number, f"candidate {index + 1}: {words}", scores=rounded)
        return candidates[index]
