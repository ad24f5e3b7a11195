"""Describes a search's result in sentences, for the page, Markdown and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hpo.core.budget import render_seconds
from hpo.core.edges import find_edges
from hpo.core.expected import expected_words
from hpo.core.held_out import held_out_words
from hpo.core.rungs import measure_rungs
from hpo.core.selection import roles, shown_role
from hpo.core.stages import measure_stages
from hpo.core.text import count_of, markdown_table, shell_word
from hpo.core.ties import FOUND
from hpo.core.trial import TrialState
from hpo.core.trial_counts import REFUSED, state_word
from hpo.core.trial_failures import shared_cause
from hpo.report.optuna_view import short_names
from hpo.report.run_data import RunData
from hpo.run.next_commands import next_steps, resume_command
from hpo.run.run_dir import AUTOML_FACTS


def sentences(facts: RunData) -> list[str]:
    """Return what a person wants to know first."""
    outcome = (_found, _confirmed, _expected, _averaged, _held_out, _spent)
    texts = [*(tell(facts) for tell in outcome), *_failed(facts), *_edges(facts)]
    texts.append(_unfinished(facts))
    return [text for text in texts if text]


def _found(facts: RunData) -> str:
    best, value = facts.best, facts.value_of(facts.best)
    if best is None or value is None:
        return "No trial has a result."
    default = facts.value_of(facts.default)
    where, name = "on the validation queries", facts.metric_word
    if facts.handed_on.get("confirmation"):  # its words tell the rest
        return f"Trial {best.number} is the best: {name} {value:.4f} {where}{FOUND}."
    if facts.is_default_best:
        what = "is still the best" if len(facts.searched) > 1 else "alone was tried"
        return f"The default configuration {what}: {name} {value:.4f} {where}."
    if default is None:
        return f"Trial {best.number} is the best: {name} {value:.4f} {where}."
    word = "above" if value >= default else "below"
    return (
        f"Trial {best.number} is the best: {name} {value:.4f} {where}, {abs(value - default):.4f} "
        f"{word} the default configuration ({default:.4f})."
    )


def _expected(facts: RunData) -> str:
    words = expected_words(facts.handed_on.get("expected"), facts.trainer.monitoring_metric)
    return f"Estimated from the trials alone: {'; '.join(words)}." if words else ""


def _averaged(facts: RunData) -> str:
    words = (facts.handed_on.get("average") or {}).get("words")
    return f"Handed on: {words}." if words else ""


def _held_out(facts: RunData) -> str:
    test = facts.handed_on.get("test") or {}
    figures = held_out_words(test, facts.trainer.monitoring_metric)
    if not figures:
        return ""
    return f"On the held-out test queries, which chose nothing, it reaches {figures}."


def _confirmed(facts: RunData) -> str:
    told = (facts.handed_on.get("confirmation") or {}).get("words")
    if told:
        return f"Finalists were trained again with new seeds: {'; '.join(told)}."
    repeats = [t for t in facts.trials if t.is_repeat and t.measurements]
    again = f"Finalists were trained again {count_of(len(repeats), 'time')} with new seeds."
    why = str(facts.handed_on.get("unconfirmed") or "")
    sentences = [again] * bool(repeats) + [f"{why[:1].upper()}{why[1:]}."] * bool(why)
    return " ".join(sentences)


def rungs(facts: RunData) -> list[str]:
    """Return what is known of stages and of epochs at which trials were stopped, a line each."""
    stages = [f"stage {stage}" for stage in measure_stages(facts.trials, facts.direction)]
    return stages + [str(rung) for rung in measure_rungs(facts.searched, facts.direction)]


def _edges(facts: RunData) -> list[str]:
    found = find_edges(facts.space, facts.searched, facts.direction)
    return [f"A range may be too narrow. {edge}." for edge in found]


def _spent(facts: RunData) -> str:
    states = [t.state for t in facts.searched]
    counts = ", ".join(
        f"{states.count(state)} {facts.state_word(state)}"
        for state in TrialState
        if states.count(state)
    )
    trained = sum(t.trained_epochs for t in facts.searched)
    pruned = (t for t in facts.searched if t.state is TrialState.PRUNED)
    left = sum(t.until_epoch - t.epochs for t in pruned)
    # A trial that goes on from another's checkpoint was never meant to be trained in full.
    is_saving = left and not any(t.start_from for t in facts.searched)
    saved = f"; stopping early saved {left} of {trained + left} epochs" if is_saving else ""
    earlier = Counter(t.stage.name for t in facts.trials if t.stage.left and not t.is_refused)
    heads = [f"{count_of(number, 'trial')} of stage {name}" for name, number in earlier.items()]
    after = f" after {' and '.join(heads)}" if heads else ""
    return (
        f"{count_of(len(facts.searched), 'trial')} ({counts}){after} in "
        f"{render_seconds(facts.active_seconds)}, {count_of(trained, 'epoch')}{saved}."
    )


def _failed(facts: RunData) -> list[str]:
    sentences = []
    for word in ("failed", REFUSED):
        known = [t for t in facts.trials if t.error and state_word(t) == word]
        if known:
            cause = (known[0].error or {}).get("message", "")
            sentences.append(f"{len(known)} {word}; trial {known[0].number}: {cause}")
    return sentences


def _unfinished(facts: RunData) -> str:
    resume = resume_command(facts.run)
    if facts.status == "finished":
        ended = sorted((t for t in facts.trials if t.ended is not None), key=lambda t: t.ended or 0)
        cause = shared_cause(ended)
        return cause and f"The search gave up: {cause}; mend that, and `{resume}` goes on."
    return (
        f"The search has not ended ({facts.status}), so this is how it stands; go on with "
        f"`{resume}`."
    )


def parameter_rows(facts: RunData, shares: Mapping[str, float]) -> list[dict[str, str]]:
    """Return the searched parameters: name, default, winner's value, importance, range."""
    default = facts.space.default()
    winner = facts.best.params if facts.best else {}
    if facts.best and facts.best.stage.parent is None:  # what others carry is as in the default
        winner = {name: p.default for name, p in facts.carried.items()} | winner
    rows, short = [], short_names(facts)
    for parameter in facts.parameters:
        name = parameter.name
        share = shares.get(short[name])
        rows.append(
            {
                "name": name,
                "default": format_value(default.get(name, parameter.default)),
                "winner": format_value(winner[name]) if name in winner else "inactive",
                "importance": "" if share is None else f"{share:.0%}",
                "why": parameter.why,
            }
        )
    return sorted(rows, key=lambda row: -shares.get(short[row["name"]], -1.0))


def trial_rows(facts: RunData) -> list[dict[str, str]]:
    """Return every trial as a row of a table."""
    rows, named, short = [], roles(facts.trials, facts.direction), short_names(facts)
    for trial in facts.trials:
        value = facts.value_of(trial)
        message = (trial.error or {}).get("message", "")
        role = shown_role(named.get(trial.number, ""), facts.status)
        words = (trial.stage.label, role, message)
        note = "; ".join(part for part in words if part)
        rows.append(
            {
                "trial": str(trial.number),
                "state": REFUSED if trial.is_refused else facts.state_word(trial.state),
                "value": "" if value is None or trial.error else f"{value:.4f}",
                "epochs": f"{trial.epochs}/{trial.until_epoch}",
                "time": render_seconds(trial.seconds),
                "seconds": f"{trial.seconds:.3f}",
                "note": note,
                "params": ", ".join(
                    f"{short[k]} {format_value(v)}" for k, v in trial.params.items()
                ),
            }
        )
    return rows


def format_value(value: Any) -> str:
    """A value for people: four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else (str(value) or '""')


def commands(facts: RunData) -> list[tuple[str, str]]:
    """Return (what for, command) of what can be done next."""
    study = shell_word(facts.run.study_file)
    again = [("the same search again", f"hpo search {study}")]
    # The study of a workspace names a skill folder, which `hpo search` takes from no file.
    is_workspace = (facts.run.path / AUTOML_FACTS).exists()
    steps = next_steps(facts.run, facts.study.budget, facts.ended_because)
    return [*([] if is_workspace else again), *steps]


def markdown(facts: RunData, shares: Mapping[str, float]) -> str:
    """Return the report as Markdown: words and tables, no pictures."""
    lines = [f"# {facts.study.name}", "", *(f"- {text}" for text in sentences(facts)), ""]
    parameters = ("name", "default", "winner", "importance")
    lines += ["## Parameters", ""]
    lines += markdown_table(
        ("parameter", *parameters[1:]),
        [[row[name] for name in parameters] for row in parameter_rows(facts, shares)],
    )
    trials = ("trial", "state", "value", "epochs", "time", "note")
    lines += ["", "## Trials", ""]
    lines += markdown_table(
        ("trial", "state", facts.metric_word, "epochs", "time", ""),
        [[row[name] for name in trials] for row in trial_rows(facts)],
    )
    lines += ["", "## Next", ""]
    lines += [f"- {what}: `{command}`" for what, command in commands(facts)]
    return "\n".join(lines) + "\n"
