"""`format_result`: the result of a search as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpo.core.text import count_of


def format_result(result: Mapping[str, Any]) -> str:
    """Render what `AutoMLRunner.run` returned; keys that are missing are left out.

    Args:
        result: as `run` returns it, or a part of it.

    Returns:
        Several lines: algorithm and number of trials, the best with its values, a table of all
        trials with the reasons of failures, baseline, final evaluation, and the size of the Pareto
        front where there are several objectives.
    """
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    progress = result.get("progress") or {}
    metric = _metric_of(result)
    yield "AutoML result"
    yield (
        f"  algorithm={progress.get('algorithm', '?')} "
        f"completed={progress.get('completed', '?')}/{progress.get('total', '?')}"
    )
    best = result.get("best")
    yield ""
    if best:
        value = _number(best.get("metric_value"))
        yield f"Best: rec {best.get('rec_id', '?')} \u2014 {metric}={value}"
        specs = best.get("specs") or {}
        yield from (f"  {name} = {_number(specs[name])}" for name in sorted(specs))
    else:
        yield "Best: none"
        if result.get("cause"):
            yield f"  {result['cause']}"
    if result.get("history"):
        yield from ["", "History:", *_table(result["history"], metric)]
    notes = [line for part in _PARTS for line in _evaluation(result, *part, metric)]
    if notes:
        yield from ["", *notes]
    if "pareto_front" in result:
        yield f"Pareto front: {count_of(len(result['pareto_front'] or []), 'member')}"


def _metric_of(result: Mapping[str, Any]) -> str:
    for part in ("final_evaluation", "baseline"):
        name = (result.get(part) or {}).get("metric_name")
        if name:
            return str(name)
    return str(result.get("metric") or "metric")


def _table(history: Any, metric: str) -> Iterator[str]:
    yield f"   rec  status     {metric}"
    for entry in history:
        why = entry.get("failure_reason")
        yield (
            f"  {entry.get('rec_id', '?')!s:>4}  {entry.get('status') or '?':<9}  "
            f"{_number(entry.get('metric'))}{f'  ({why})' if why else ''}"
        )


_PARTS = (
    ("baseline", "Baseline", "comparison_to_best", "best vs baseline"),
    ("final_evaluation", "Final evaluation", "comparison_to_baseline", "final vs baseline"),
)
"""Evaluations of a result: key, title, key of its comparison, and what is compared."""


def _evaluation(
    result: Mapping[str, Any], key: str, title: str, comparison: str, what: str, metric: str
) -> Iterator[str]:
    facts = result.get(key) or {}
    if not facts:
        return
    yield f"{title}: {_state(facts, metric)}"
    reason = facts.get("failure_reason")
    if facts.get("status") == "callback_error":
        yield f"  final_eval_fn raised: {reason}"
    elif reason:
        yield f"  {reason}"
    if facts.get("not_compared"):
        yield f"  {what}: {facts['not_compared']}"
    yield from _compared(facts.get(comparison), what)
    if facts.get("record_path"):
        yield f"  record: {facts['record_path']}"


def _state(facts: Mapping[str, Any], metric: str) -> str:
    value = facts.get("metric_value")
    if value is None:
        return str(facts.get("status", "unknown"))
    return f"{facts.get('metric_name') or metric}={_number(value)}"


def _compared(comparison: Mapping[str, Any] | None, what: str) -> Iterator[str]:
    if not comparison or comparison.get("delta") is None:
        return
    delta, direction = comparison["delta"], comparison.get("direction", "")
    word = "improved" if comparison.get("improved") else "regressed" if delta else "unchanged"
    yield f"  {what}: {word} by {_number(abs(delta))} ({direction})"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
