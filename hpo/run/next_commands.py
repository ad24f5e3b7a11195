"""What people do next with a run: the one place that composes the commands that messages name.

Each names its run, and the flags of the start that it goes on from. The trials of some AutoML
workspaces are started by a program: no command goes on with those, so the call is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.budget import Budget, early_end, gave_up, more_of
from hpo.core.errors import RunError
from hpo.core.text import shell_word
from hpo.run.plain_files import read_object
from hpo.run.run_dir import AUTOML_FACTS, RunDir

BY_CALLER = "the caller"
"""The platform of a workspace whose trials the caller trains."""
_FUNCTIONS = {"has_eval_fn": "eval_fn", "has_extractor": "metric_extractor"}


def resume_command(run: RunDir, *words: str) -> str:
    """What goes on with a run: a command, to be copied into a shell, or the call of a program.

    Args:
        run: the run. Where a search was started in this process it knows the flags of that start,
            those that it was refused with too; else `state.json` tells those of the last one.
        *words: further flags, as a shell reads them.
    """
    if call := call_of(read_object(run.path / AUTOML_FACTS)):
        return call
    start = run.start_words
    start = run.read_state().get("start", ()) if start is None else start
    asked = [word for pair in run.asked for word in pair if word]
    return run.command("resume", *map(shell_word, (*start, *asked)), *words)


def call_of(facts: Mapping[str, Any]) -> str:
    """The call that goes on with a workspace; empty where `hpo resume` does.

    Args:
        facts: of the workspace; empty for any other run.
    """
    platform = facts.get("platform")
    if platform == BY_CALLER:
        return "AutoML(...)"
    functions = [f", {name}=..." for key, name in _FUNCTIONS.items() if facts.get(key)]
    if not platform and not functions:
        return ""
    where = "platform_sdk=..." if platform else "..."
    return f"AutoMLRunner({where}).run(workspace_path=..., resume=True{''.join(functions)})"


def search_on(run: RunDir, budget: Budget, because: str) -> str:
    """The command by which a finished search goes further; empty where none would.

    Args:
        run: the run.
        budget: that it had.
        because: `ended_because` of its end.
    """
    if early_end(because) and not gave_up(because):
        return ""  # a larger budget brings no more trials
    more = more_of(budget)
    is_started_elsewhere = call_of(read_object(run.path / AUTOML_FACTS))
    return resume_command(run, "--budget", more) if more and not is_started_elsewhere else ""


def next_steps(run: RunDir, budget: Budget, because: str) -> list[tuple[str, str]]:
    """What can be done with a run: (what for, command).

    Args:
        run: the run.
        budget: of its search.
        because: as of `search_on`; empty before the end.
    """
    steps = [("search on", search_on(run, budget, because))]
    if (run.best_dir / "model.onnx").is_file():
        steps.append(("label pictures with the best model", run.command("predict", "IMAGE...")))
    steps.append(("compare the trials in MLflow", run.command("ui")))
    return [(what, command) for what, command in steps if command]


def no_model_error(run: RunDir) -> RunError:
    """What is said where the model of a run is asked for, and it has none yet."""
    export = run.command("export")
    return RunError(f"{run}: has no exported model yet; finish the search, or `{export}`")
