"""What a language model may do beside a search: propose its settings, read its trials.

The published skill names these classes (`tao_automl.brain.*`). Each asks an OpenAI-compatible
endpoint (`AUTOML_LLM_ENDPOINT`, `AUTOML_LLM_MODEL`, `AUTOML_LLM_API_KEY`, or arguments), checks the
answer, and leaves it to the caller; none changes a search by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.algorithms.llm_choosers import LlmChooser
from hpo.algorithms.llm_client import LLM_OPTIONS, LlmClient, LlmError, make_client
from hpo.algorithms.options import resolve_options
from hpo.automl.settings import known_algorithms, read_settings
from hpo.core.errors import SpecError
from hpo.core.metric_values import number_of
from hpo.core.text import nearest

LLMBrain = LlmChooser
"""The proposer of the algorithm `llm`, under its published name."""

_SYSTEM = "You help to tune the hyperparameters of a neural network. Answer with one JSON object."
_PHASE_METHODS = {"random": "random", "bfbo": "bfbo"}
"""Algorithm of a phase -> how `autoresearch` fills it; tpe for others."""


class _Asking:
    """Something that asks a model.

    Args:
        **options: of the endpoint: `base_url`, `model`, `api_key` and the like; the environment
            gives those that are left out.

    Raises:
        SpecError: when no model is named.
    """

    def __init__(self, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        where = type(self).__name__
        self._client: LlmClient = make_client(
            resolve_options(where, LLM_OPTIONS, given, route=True, where=where)
        )

    def _ask(self, task: Mapping[str, Any], form: str) -> dict[str, Any]:
        text = f"{json.dumps(task, default=str)}\nAnswer {form}"
        return self._client.ask_json(_SYSTEM, text)


class NLConfigGenerator(_Asking):
    """Turns a request in plain language into settings of a search."""

    def generate_config(
        self,
        user_prompt: str,
        network: str,
        available_parameters: Sequence[Any],
        hardware_info: Any = None,
    ) -> dict[str, Any]:
        """Ask for settings, and check them.

        Args:
            user_prompt: what is wanted, in plain words.
            network: its name.
            available_parameters: names of what may be searched, or records with `parameter`.
            hardware_info: whatever is known of the machine; plain data.

        Returns:
            `automl_algorithm`, `automl_hyperparameters`, `algorithm_specific_params`, `metric` and
            `reasoning`; the first four are legal settings.

        Raises:
            LlmError: when the model does not answer, or its answer cannot be used.
        """
        names = _names_of(available_parameters)
        answer = self._ask(
            {"wish": user_prompt, "network": network, "hardware": hardware_info,
             "parameters": list(available_parameters), "algorithms": known_algorithms()},
            '{"automl_algorithm": name, "automl_hyperparameters": [names], '
            '"algorithm_specific_params": {name: value}, "metric": name, "reasoning": text}.',
        )  # fmt: skip
        wanted = answer.get("automl_hyperparameters") or []
        unknown = [n for n in wanted if n not in names] if isinstance(wanted, list) else [wanted]
        if unknown:
            raise LlmError(
                f"automl_hyperparameters: {unknown[0]!r} is none of the parameters"
                f"{nearest(str(unknown[0]), names)}"
            )
        settings = {
            "automl_algorithm": str(answer.get("automl_algorithm") or ""),
            "algorithm_specific_params": answer.get("algorithm_specific_params") or {},
            "metric": str(answer.get("metric") or ""),
        }
        try:
            read_settings(settings)
        except SpecError as error:
            raise LlmError(f"the model's settings cannot be used: {error}") from error
        reasoning = str(answer.get("reasoning") or "")
        return {**settings, "automl_hyperparameters": wanted, "reasoning": reasoning}


class LLMAnalyzer(_Asking):
    """Reads the trials of any search and says what it sees.

    Args:
        analysis_interval: after how many ended trials the caller asks again.
        narrow_ranges: whether smaller ranges are proposed, too.
        **options: of the endpoint, as for `NLConfigGenerator`.
    """

    def __init__(
        self, analysis_interval: int = 5, narrow_ranges: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.analysis_interval, self.narrow_ranges = analysis_interval, narrow_ranges

    def analyze(
        self,
        experiments: Iterable[Mapping[str, Any]],
        parameters: Sequence[Any],
        network: str,
        metric_name: str,
        metric_direction: str,
        best_metric: float | None = None,
    ) -> dict[str, Any]:
        """Ask for an analysis, and check it.

        Args:
            experiments: trials, such as the entries of a result's `history`.
            parameters: names of what is searched, or records with `parameter`.
            network: its name.
            metric_name: what trials are ranked by.
            metric_direction: `maximize` or `minimize`.
            best_metric: the best value so far.

        Returns:
            `patterns`, `convergence_assessment`, `recommendations` and `suggested_ranges` (name ->
            `min`, `max`; empty unless `narrow_ranges`).

        Raises:
            LlmError: when the model does not answer, or a range is none.
        """
        ranges = ', "suggested_ranges": {name: {"min": number, "max": number}}'
        answer = self._ask(
            {"network": network, "metric": metric_name, "direction": metric_direction,
             "best": best_metric, "parameters": list(parameters),
             "trials": [dict(trial) for trial in experiments]},
            '{"patterns": [texts], "convergence_assessment": text, "recommendations": [texts]'
            f'{ranges if self.narrow_ranges else ""}}}.',
        )  # fmt: skip
        found = answer.get("suggested_ranges") or {} if self.narrow_ranges else {}
        return {
            "patterns": _texts(answer.get("patterns")),
            "convergence_assessment": str(answer.get("convergence_assessment") or ""),
            "recommendations": _texts(answer.get("recommendations")),
            "suggested_ranges": _ranges(found, _names_of(parameters)),
        }


@dataclass(frozen=True, kw_only=True)
class ResearchPhase:
    """One part of a research program."""

    name: str
    algorithm: str = "bayesian"
    parameters: Sequence[str] = ()
    """What is varied in it; empty: everything."""
    trials: int = 10
    carry_forward: str = ""
    """`best`: values that are not varied are those of the best trial before."""


@dataclass(frozen=True, kw_only=True)
class ResearchProgram:
    """Several phases with one objective, for `research_program` of the algorithm `autoresearch`."""

    objective: str
    network: str = ""
    phases: Sequence[ResearchPhase] = field(default_factory=list)

    def validate(
        self, available_parameters: Sequence[Any], available_algorithms: Sequence[str]
    ) -> list[str]:
        """Everything that is wrong with it, one line each; empty when it can be carried out."""
        known: list[tuple[str, Callable[[ResearchPhase], Iterable[str]], Sequence[str]]] = [
            ("algorithm", lambda phase: [phase.algorithm], available_algorithms),
            ("parameters", lambda phase: phase.parameters, _names_of(available_parameters)),
        ]
        problems = [] if self.phases else ["phases: must hold one or more"]
        for place, phase in enumerate(self.phases):
            where = f"phases[{place}]"
            for key, values_of, legal in known:
                problems += [
                    f"{where}.{key}: {value!r} is not available{nearest(value, legal)}"
                    for value in values_of(phase)
                    if value not in legal
                ]
            if type(phase.trials) is not int or phase.trials < 1:
                problems.append(
                    f"{where}.trials: must be a whole number above 0, got {phase.trials!r}"
                )
        return problems

    def to_dict(self) -> dict[str, Any]:
        """The program as the setting `research_program` takes it.

        What a phase varies and carries forward is part of the goal, which the model is told.
        """
        notes = [
            f"{phase.name}: vary {', '.join(phase.parameters) or 'everything'}"
            + (f"; carry forward {phase.carry_forward}" if phase.carry_forward else "")
            for phase in self.phases
        ]
        phases = [
            {"name": phase.name, "trials": phase.trials,
             "method": _PHASE_METHODS.get(phase.algorithm, "tpe")}
            for phase in self.phases
        ]  # fmt: skip
        return {"goal": ". ".join([self.objective, *notes]), "phases": phases}


def _names_of(parameters: Sequence[Any]) -> list[str]:
    """Names of parameters that are given by name or as records."""
    return [
        str(one.get("parameter") or one.get("name")) if isinstance(one, Mapping) else str(one)
        for one in parameters
    ]


def _texts(found: Any) -> list[str]:
    listed = found if isinstance(found, list) else [found] if found else []
    return [str(text) for text in listed]


def _ranges(found: Any, names: Sequence[str]) -> dict[str, dict[str, float]]:
    if not isinstance(found, Mapping):
        raise LlmError(f"suggested_ranges: must be a mapping, got {found!r}")
    ranges = {}
    for name, ends in found.items():
        given = ends if isinstance(ends, Mapping) else {}
        low, high = number_of(given.get("min")), number_of(given.get("max"))
        if name not in names or low is None or high is None or low >= high:
            raise LlmError(f"suggested_ranges.{name}: must be a parameter's min below its max")
        ranges[str(name)] = {"min": low, "max": high}
    return ranges
