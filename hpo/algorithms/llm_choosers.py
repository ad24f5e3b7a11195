"""Base class of proposers that ask a language model, and the simplest of them.

The model thinks in a thread of its own (`hpo.algorithms.llm_question`), one trial at a time. A call
that fails is never silent: the trial is then chosen by the sampler beside the model, its note says
so and is counted, and after too many failures in a row the search ends with the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from hpo.algorithms.chooser import Chosen, Observation, StatelessChooser
from hpo.algorithms.llm_client import LlmClient, LlmError
from hpo.algorithms.llm_question import AT_ONCE_S, Question
from hpo.algorithms.llm_task import SYSTEM, Task, best_of
from hpo.algorithms.unit_points import is_new
from hpo.core.events import AlgorithmStep
from hpo.core.protocols import Emit
from hpo.core.text import count_of
from hpo.core.trial import FALLBACK, TrialRecord

T = TypeVar("T")

_ATTEMPTS = 2
"""How often a model is asked for one trial: again with the reason why its answer was no use."""


class LlmChooser(StatelessChooser):
    """Asks a model for one configuration at a time.

    Args:
        client: the model.
        task: the search in words.
        max_failures: failed trials in a row that are made up for; the next raises.
    """

    name = "llm"

    def __init__(self, client: LlmClient, task: Task, *, max_failures: int) -> None:
        self.client, self.task, self._max_failures = client, task, max_failures
        self._failures = 0
        self._emit: Emit | None = None
        self._question: Question[Chosen] | None = None
        self._steps: SimpleQueue[AlgorithmStep] = SimpleQueue()

    def attach(self, emit: Emit) -> None:
        """Send events through `emit` from now on."""
        self._emit = emit

    def restore(self, trial: TrialRecord) -> None:
        """Count recorded failures as they were counted live."""
        self._failures = self._failures + 1 if trial.is_fallback else 0

    def choose(self, number: int, seen: list[Observation]) -> Chosen | None:
        """Ask the model; None while it thinks. A failure leaves the trial to the sampler."""
        if self._question is None:
            self._question = Question(lambda: self.ask(number, seen))
            self._question.wait(AT_ONCE_S)
        if not self._question.is_answered():
            return None
        question, self._question = self._question, None
        try:
            chosen = question.answer()
        except LlmError as error:
            chosen = self._made_up_for(number, error)
        else:
            self._failures = 0
        self.flush()
        return chosen

    def settle(self) -> bool:
        """Wait while the model thinks."""
        if self._question is None:
            return False
        self._question.wait()
        return True

    def ask(self, number: int, seen: list[Observation]) -> Chosen:
        """Return the model's configuration; runs in a thread of its own.

        Raises:
            LlmError: when there is none.
        """

        def read(answer: dict[str, Any]) -> tuple[dict[str, Any], str]:
            return self.read_new(answer.get("params"), seen), _line(answer.get("why"))

        question = 'Answer {"params": {name: value}, "why": "one sentence"} for the next trial.'
        latents, why = self.converse(self.task.describe(seen, question=question), read)
        self.add_step("proposed", number, why)
        return Chosen(latents=latents, note=why)

    def converse(self, question: str, read: Callable[[dict[str, Any]], T]) -> T:
        """Ask, and once more with the reason when the answer cannot be read.

        Raises:
            LlmError: when the endpoint fails, or no answer could be read.
        """
        problem = ""
        for _ in range(_ATTEMPTS):
            again = f"\nYour last answer was no use: {problem}" if problem else ""
            answer = self.client.ask_json(SYSTEM, question + again)
            try:
                return read(answer)
            except LlmError as error:
                problem = str(error)
        raise LlmError(f"language model {self.client.model}: {problem}")

    def add_step(self, step: str, number: int, text: str, **more: Any) -> None:
        """Make an event of a step, for `flush` to emit."""
        self._steps.put(
            AlgorithmStep(algorithm=self.name, step=step, trial=number, text=text, more=more)
        )

    def flush(self) -> None:
        """Emit the steps so far; listeners are only ever called from the driver's thread."""
        while not self._steps.empty():
            step = self._steps.get()
            if self._emit is not None:
                self._emit(step)

    def read_new(self, params: Any, seen: Sequence[Observation]) -> dict[str, Any]:
        """Return the latents of an answer; what that leaves out is as in the best trial.

        Raises:
            LlmError: when it cannot be used, or was tried before.
        """
        best = best_of(seen, self.task.direction)
        base = self.task.space.default() if best is None else best.params
        latents = self.task.latents(params, base)
        if not is_new(latents, seen):
            raise LlmError("this configuration was tried before")
        return latents

    def _made_up_for(self, number: int, error: LlmError) -> Chosen:
        self._failures += 1
        if self._failures > self._max_failures:
            raise LlmError(
                f"{error}; {count_of(self._failures, 'trial')} in a row could not be chosen by it. "
                "Mend that and resume the search, or search with another --algorithm"
            ) from error
        self.add_step("fallback", number, str(error), failures=self._failures)
        return Chosen(note=f"fallback to tpe: {error}", memo={FALLBACK: True})


def _line(why: Any) -> str:
    """One line of the model's words, for notes."""
    text = " ".join(str(why or "").split())
    return text if len(text) <= 160 else text[:157] + "..."
