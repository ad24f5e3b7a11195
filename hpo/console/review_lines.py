"""Renders the review before a search as text lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.core.budget import render_seconds
from hpo.core.events import Review
from hpo.core.forecast import Forecast
from hpo.core.text import count_of, method_words
from hpo.study.model_limits import render_count
from search_spaces.parameter import FIXED

WARNING, INFO = "warning", "info"
INFOS_SHOWN = 3
"""What is merely worth knowing of the pictures; every warning is shown."""


def render_review(review: Review) -> list[str]:
    """Return the review, a line each."""
    return [
        *_data(review.data),
        *(f"warning   {text}" for text in review.warnings),
        *(f"start     {text}" for text in review.start),
        *_space(review),
        *_method(review),
        *_measured(review.probe),
        *_packing(review.packing),
        *_budget(review),
    ]


def _data(data: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, split in (data.get("splits") or {}).items():
        low, high = split.get("per_class_min"), split.get("per_class_max")
        each = "" if low is None else f", {low} each" if low == high else f", {low} to {high} each"
        images = count_of(split["images"], "picture")
        classes = count_of(split["classes"], "class", "classes")
        use = ", looked at once, at the end" if name == "test" else ""
        lines.append(f"{name:<9} {images} of {classes}{each}{use}")
    return lines + _findings(data.get("findings") or [])


def _findings(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every warning, then some of what is merely worth knowing."""
    told = [(finding.get("severity", WARNING), finding["message"]) for finding in findings]
    infos = [f"{INFO:<9} {message}" for severity, message in told if severity == INFO]
    lines = [f"{severity:<9} {message}" for severity, message in told if severity != INFO]
    more = len(infos) - INFOS_SHOWN
    return [
        *lines,
        *infos[:INFOS_SHOWN],
        *([f"          and {more} more (hpo doctor)"] if more > 0 else []),
    ]


def _space(review: Review) -> list[str]:
    number = count_of(len(review.searched), "parameter")
    lines = [
        f"{name:<9} {count_of(len(names), 'parameter')}: {', '.join(names)}"
        for name, names in review.earlier.items()
    ]
    lines.append(f"searched  {number}: {', '.join(review.searched)}")
    fixed = [name for name, reason in review.pinned.items() if reason == FIXED]
    if fixed:
        lines.append(f"fixed     {', '.join(fixed)}  (by --fix or the study file)")
    pinned = [name for name in review.pinned if name not in fixed]
    if pinned:
        lines.append(f"pinned    {', '.join(pinned)}  (hpo space says why)")
    return lines


def _method(review: Review) -> list[str]:
    method = method_words(review.algorithm, review.pruner, review.reason)
    begin = [f"first     {source}" for source in review.first]
    return [f"method    {method}{_learned(review)}", *begin]


def _learned(review: Review) -> str:
    """What comes right after the default, by stage where there are several."""
    counts = {stage: count for stage, count in review.learned.items() if count}
    if not counts:
        return ""
    parts = [
        f"{count_of(count, 'setting')} learned on other data"
        + (f" ({stage})" if review.earlier else "")
        for stage, count in counts.items()
    ]
    return f"; the default first, then {', '.join(parts)} (--no-portfolio leaves them out)"


def _measured(probe: Mapping[str, Any]) -> list[str]:
    lines = []
    if probe.get("random_weights"):
        lines.append(
            "WEIGHTS   training starts from RANDOM weights; --weights starts from pretrained ones"
        )
    if probe.get("feature_views") is not None:
        lines.append(f"features  {_features(probe['feature_views'])}")
    if probe.get("seconds_per_epoch"):  # not every trainer can be measured beforehand
        speed, memory = probe.get("images_per_s", 0), probe.get("peak_memory_mib", 0)
        lines.append(
            f"measured  {_few(probe['seconds_per_epoch'])} s an epoch, {speed:.0f} pictures/s, "
            f"{memory:.0f} MiB on {probe.get('device', 'cpu')}"
        )
    return lines


def _few(number: float) -> str:
    """One place behind the point, or two digits below 1."""
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def _features(views: int) -> str:
    learns = "the trunk does not learn; its features are computed once, the head learns from those"
    if views == 0:
        return f"{learns} of each picture as it is (dataset.feature_views=0)"
    return f"{learns} of {views} augmented views of each picture (dataset.feature_views)"


def _packing(packing: Mapping[str, Any] | None) -> list[str]:
    if not packing:
        return []
    together = packing.get("at_a_time")
    head = (
        f"{count_of(together, 'trial')} at a time"
        if together
        else f"{count_of(packing['per_gpu'], 'trial')} a GPU"
    )
    return [f"packing   {head}: {packing['reason']}"]


def _budget(review: Review) -> list[str]:
    slots, epochs = review.concurrent, review.epochs_per_trial
    at_once = "one at a time" if slots == 1 else f"{slots} at a time"
    lines = [f"budget    {review.budget}, {count_of(epochs, 'epoch')} each, {at_once}"]
    expected = review.forecast
    if expected:
        low, high = render_seconds(expected.low_s), render_seconds(expected.high_s)
        span = "" if low == high else f" ({low} to {high})"
        pruned = f", about {expected.pruned} pruned" if expected.pruned else ""
        parts = [count_of(expected.trials, "trial")] if expected.trials else []
        parts += [f"{count_of(expected.repeats, 'repeat')} of the best"] if expected.repeats else []
        earlier = (
            f" after {count_of(expected.earlier, 'trial')} of earlier stages"
            if expected.earlier
            else ""
        )
        lines.append(
            f"expected  {render_seconds(expected.seconds)}{span}: "
            f"{' and '.join(parts) or '0 trials'}{earlier}, "
            f"{count_of(expected.epochs, 'epoch')}{pruned}"
        )
        if expected.longest is not None and expected.longest < epochs:
            lines.append(
                f"warning   the budget ends before a trial has trained its {epochs} epochs; give "
                "more, or train for fewer (--set train.num_epochs=N)"
            )
    elif review.estimate_s:
        lines[0] += f", at most {render_seconds(review.estimate_s)}"
    else:
        lines[0] += "; how long that takes is not known"
    return lines


def render_outcome(expected: Forecast | None, took_s: float) -> str:
    """How the expectation compares with what came, as words behind the time."""
    if not expected or took_s <= 0 or expected.charged_s <= 0:
        return ""
    off = took_s / expected.charged_s - 1.0
    word = "longer" if off > 0 else "shorter"
    span = f"{render_seconds(expected.charged_s)} expected"
    return f" ({span})" if abs(off) < 0.05 else f" ({span}, {abs(off):.0%} {word})"


def render_front(rows: list[dict[str, Any]], word: str) -> list[str]:
    """The best trial of each architecture against what it costs; nothing where there is but one."""
    if len(rows) < 2:
        return []
    width = max(len(row["name"]) for row in rows)
    lines = [
        f"{'cost':<10}{row['name']:<{width}}  {row['latency_ms']:>8.2f} ms  "
        f"{render_count(row['params']):>6} parameters  {word} {row['value']:.4f} "
        f"(trial {row['trial']}){'' if row['on_front'] else '  a quicker one is as good'}"
        for row in rows
    ]
    return [lines[0], *(" " * 10 + line[10:] for line in lines[1:])]
