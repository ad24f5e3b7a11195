"""`hpo status`: show the state of a run from its state file alone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json, print_table
from hpo.core.budget import Spent, early_end, gave_up, parse_budget, uses
from hpo.core.event_json import from_dict
from hpo.core.selection import shown_role
from hpo.core.text import metric_word
from hpo.core.trial import Purpose, TrialStage
from hpo.core.trial_counts import state_word, trial_counts
from hpo.core.trial_row import TrialRow

if TYPE_CHECKING:
    from hpo.run.run_dir import RunDir

HELP = "show how a run stands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)


def describe(run: RunDir) -> dict[str, Any]:
    """A run's state as data; a run whose driver was killed shows as `stopped`."""
    state = run.read_state()
    status = state.get("status", "new")
    if run.is_running():
        status = "running"
    elif status == "running":
        status = "stopped"
    elif run.has_lost_state():
        status = "damaged"
    trials = state.get("trials", [])
    rows = [from_dict(TrialRow, t) for t in trials]
    return {
        "run_dir": str(run),
        "study": run.study_name,
        "status": status,
        "metric": state.get("metric") or "",
        "budget": state.get("budget"),
        "spent": state.get("spent"),
        "counts": trial_counts(rows),
        "running": sum(t.state == "running" and t.purpose == Purpose.SEARCH for t in rows),
        "best": state.get("best"),
        "updated": state.get("updated"),
        "trials": trials,
        "rungs": state.get("rungs", []),
        "stages": state.get("stages", []),
        "forecasts": state.get("forecasts", []),
        "paused": state.get("paused", "") if status == "running" else "",
        "ended_because": (state.get("finished") or {}).get("ended_because", ""),
    }


def run(args: argparse.Namespace) -> int:
    """Print the run's state and its trials."""
    from hpo.results.story import read_story
    from hpo.run.handed_on import extent_of_rows
    from hpo.run.next_commands import resume_command
    from hpo.study.provenance import find_untrained

    chosen = chosen_run(args, looks=True)
    row = {**describe(chosen), "untrained": find_untrained(chosen)}
    if args.json:
        print_json(row)
        return 0
    counts = ", ".join(f"{n} {s}" for s, n in row["counts"].items() if n)
    waiting = "running" if row["status"] == "running" else "paused"
    print(f"run     {row['run_dir']}")
    rest = f"; {row['running']} {waiting}" if row["running"] else ""
    print(f"status  {row['status']}; {counts or 'no trial has ended'}{rest}")
    if why := early_end(row["ended_because"]):
        print(f"ended   {why}")
    if row["paused"]:
        print(f"paused  {row['paused']}")
    print(f"budget  {_used(row)}")
    for name, lost in row["untrained"].items():
        print(
            f"warning {name}: the study fixes it to {lost['fixed']}, and {lost['trials']} of the "
            f"trials were trained with {lost['trained']}; a new search trains with the fixed value"
        )
    _print_trials(row, waiting)
    if row["rungs"] or row["stages"]:
        print()
    for stage in row["stages"]:
        print(f"stage   {stage['text']}")
    for rung in row["rungs"]:
        print(f"rung    {rung['text']}")
    extent = extent_of_rows(row["trials"])
    for number, line in enumerate(read_story(chosen, extent)):
        print(f"{'' if number else 'winner':<8}{line}")
    _print_resume(row, resume_command(chosen))
    return 0


def _used(row: dict[str, Any]) -> str:
    """The budget, and what is used of each of its limits."""
    if not row["budget"]:
        return "unknown"
    budget = parse_budget(str(row["budget"]))
    used = uses(budget, from_dict(Spent, row["spent"])) if row["spent"] else {}
    return f"{', '.join(used.values())} used" if used else str(budget)


def _print_resume(row: dict[str, Any], command: str) -> None:
    """Print how a search that has not come to its end goes on."""
    if row["status"] == "damaged":
        print(f"\nstate.json cannot be read; `{command}` writes it anew")
    is_open = row["status"] in ("stopped", "interrupted", "declined", "failed")
    if is_open or gave_up(row["ended_because"]):
        print(f"\ngo on with: {command}")


def _print_trials(row: dict[str, Any], waiting: str) -> None:
    """Print a row for each trial; `waiting` is what one that has not ended does."""
    if not row["trials"]:
        return
    print()
    table = []
    for trial in row["trials"]:
        value = "" if trial["value"] is None else f"{trial['value']:.4f}"
        mark = "*" if row["best"] and trial["trial"] == row["best"]["trial"] else ""
        note = trial["error"]["message"] if trial["error"] else ""
        role = trial.get("role", "repeat" if trial["purpose"] == Purpose.CONFIRM else "")
        role = shown_role(role, row["status"])
        stage = TrialStage(**(trial.get("stage") or {})).label
        doing = trial.get("doing") if waiting == "running" else ""
        note = "; ".join(part for part in (stage, doing, role, note) if part)
        if trial.get("start_from"):
            number, epoch = trial["start_from"]
            note = f"from trial {number}, epoch {epoch}; {note}".rstrip("; ")
        epochs = f"{trial['epoch']}/{trial['until_epoch']}"
        state = state_word(from_dict(TrialRow, trial))
        state = waiting if state == "running" else state
        seconds = f"{trial['seconds']:.0f}"
        table.append([str(trial["trial"]), state, value + mark, epochs, seconds, note])
    print_table(["TRIAL", "STATE", metric_word(row["metric"]), "EPOCH", "SECONDS", ""], table)
    if any(cells[2].endswith("*") for cells in table):
        print(f"* {shown_role('winner', row['status'])}")
