"""Lets a language model read the trials of any algorithm periodically and narrow ranges.

It is switched on by `AUTOML_LLM_ANALYZER_ENABLED`; every `AUTOML_LLM_ANALYZER_INTERVAL` ended
trials (5) it says what it sees, as an event. With `AUTOML_LLM_ANALYZER_NARROW_RANGES` it may also
narrow ranges, which then hold for what is proposed from there on; they are kept with the next
trial, so a resumed search has them too. A failed call is an event and changes nothing else. It
thinks beside the trials; it is waited for where none runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo.algorithms.around import AroundAlgorithm
from hpo.algorithms.chooser import Limits, Observation
from hpo.algorithms.llm import task_of
from hpo.algorithms.llm_client import LLM_OPTIONS, LlmClient, LlmError, make_client
from hpo.algorithms.llm_question import AT_ONCE_S, Question
from hpo.algorithms.llm_task import SYSTEM, Task
from hpo.algorithms.options import resolve_options
from hpo.core.errors import SpecError
from hpo.core.events import AlgorithmStep
from hpo.core.protocols import Algorithm, Emit, Narrowable
from hpo.core.trial import Decision, Measurement, Suggestion, TrialRecord
from hpo.core.yaml_io import parse_yaml

if TYPE_CHECKING:
    from hpo.algorithms.entry import Setting

PREFIX = "AUTOML_LLM_ANALYZER_"
MEMO = "analyzer_limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerSettings:
    """What the environment asks for."""

    interval: int
    narrows: bool


def read_settings(environment: Mapping[str, str]) -> AnalyzerSettings | None:
    """Read the analyzer's variables; None where it is not switched on.

    Raises:
        SpecError: for values that are none.
    """
    if not _flag(environment, "ENABLED"):
        return None
    text = environment.get(f"{PREFIX}INTERVAL") or "5"
    if not text.isdigit() or int(text) < 1:
        raise SpecError(f"{PREFIX}INTERVAL: must be a whole number above 0, got {text!r}")
    return AnalyzerSettings(interval=int(text), narrows=_flag(environment, "NARROW_RANGES"))


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(f"{PREFIX}{name}", "").strip()
    if text in ("", "0"):
        return False
    value = parse_yaml(text, f"{PREFIX}{name}")
    if value in (True, 1):
        return True
    if value is False:
        return False
    raise SpecError(f"{PREFIX}{name}: must be true or false, got {text!r}")


def analyzed(algorithm: Algorithm, setting: Setting, options: Mapping[str, Any]) -> Algorithm:
    """Put the analyst beside an algorithm where the environment asks for one.

    Args:
        algorithm: any.
        setting: what it was made for.
        options: given ones; those of a language model are the analyst's too.
    """
    settings = read_settings(os.environ)
    if settings is None or setting.context.is_rehearsal:
        return algorithm
    known = {name for option in LLM_OPTIONS for name in option.names}
    given = {name: value for name, value in options.items() if name in known}
    client = make_client(resolve_options("analyzer", LLM_OPTIONS, given))
    return Analyzed(algorithm, client, task_of(setting), settings)


class Analyzed(AroundAlgorithm):
    """An algorithm with an analyst beside it.

    Args:
        algorithm: does the work.
        client: the model.
        task: the search in words.
        settings: how often, and whether ranges may be narrowed.
    """

    def __init__(
        self, algorithm: Algorithm, client: LlmClient, task: Task, settings: AnalyzerSettings
    ) -> None:
        super().__init__(algorithm)
        self._client, self._task, self._settings = client, task, settings
        self._ended: dict[int, TrialRecord] = {}
        self._running: set[int] = set()
        self._question: Question[dict[str, Any]] | None = None
        self._asked_at = 0
        self._memo: dict[str, Any] | None = None
        self._emit: Emit | None = None

    def attach(self, emit: Emit) -> None:
        """Analyse from now on; a replay asks nobody."""
        self._emit = emit
        super().attach(emit)

    def ask(self, number: int) -> Suggestion | None:
        """Propose; ranges that were narrowed since the last proposal are kept with this one."""
        self._listen()
        suggestion = self._inner.ask(number)
        if suggestion is None:
            return None
        self._running.add(number)
        if self._memo is None:
            return suggestion
        memo, self._memo = {**(suggestion.memo or {}), MEMO: self._memo}, None
        return replace(suggestion, memo=memo)

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial, and the ranges that were narrowed before it."""
        limits = (trial.memo or {}).get(MEMO)
        if limits is not None:
            self._narrow({name: (low, high) for name, (low, high) in limits.items()})
        self._running.add(trial.number)
        self._inner.restore(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Pass an epoch on."""
        self._listen()
        return self._inner.report(number, measurement)

    def tell(self, trial: TrialRecord) -> None:
        """Pass an end on; after every so many of them, analyse."""
        self._inner.tell(trial)
        self._ended[trial.number] = trial
        self._running.discard(trial.number)
        if self._emit is not None and len(self._ended) % self._settings.interval == 0:
            self._ask_model(trial.number)
        self._listen(waits=not self._running)

    def _ask_model(self, number: int) -> None:
        """Put the trials before the model, unless it still thinks about those before."""
        self._listen()
        if self._question is not None:
            return
        text = self._question_text()
        self._asked_at = number
        self._question = Question(lambda: self._client.ask_json(SYSTEM, text))
        self._question.wait(AT_ONCE_S)

    def _listen(self, *, waits: bool = False) -> None:
        """Take what the model has answered, if it has."""
        if self._question is None:
            return
        if waits:
            self._question.wait()
        if not self._question.is_answered():
            return
        question, self._question = self._question, None
        try:
            self._take(question.answer())
        except LlmError as error:
            self._add_step("analysis_failed", self._asked_at, str(error))

    def _question_text(self) -> str:
        seen = [
            Observation(
                number=t.number,
                params=t.params,
                latents=t.latents,
                state=t.state,
                value=t.value,
                epochs=t.epochs,
                error=(t.error or {}).get("message", ""),
            )
            for t in self._ended.values()
        ]
        ranges = (
            ', "ranges": {name: [low, high]} for those to narrow' if self._settings.narrows else ""
        )
        question = f'Analyse the trials. Answer {{"analysis": "two sentences"{ranges}}}.'
        return self._task.describe(seen, question=question)

    def _take(self, answer: Mapping[str, Any]) -> None:
        """Emit what it saw, and narrow ranges as it said.

        Raises:
            LlmError: for ranges that are none.
        """
        number = self._asked_at
        text = " ".join(str(answer.get("analysis") or "").split())
        limits = self._task.limits(answer.get("ranges") or {}) if self._settings.narrows else {}
        self._add_step("analyzed", number, text, ranges=answer.get("ranges") if limits else None)
        if limits and self._narrow(limits):
            self._memo = {name: list(ends) for name, ends in limits.items()}
        elif limits:
            self._add_step("not_narrowed", number, "this algorithm keeps its own ranges")

    def _narrow(self, limits: Limits) -> bool:
        """Narrow where the algorithm can."""
        if not isinstance(self._inner, Narrowable):
            return False
        self._inner.narrow(limits)
        return True

    def _add_step(self, step: str, number: int, text: str, **more: Any) -> None:
        if self._emit is not None:
            self._emit(
                AlgorithmStep(algorithm="analyzer", step=step, trial=number, text=text, more=more)
            )
