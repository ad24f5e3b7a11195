"""`hpo best`: show the best trial and its files."""

from __future__ import annotations

import argparse

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json
from hpo.console.last_page import render_value
from hpo.core.text import metric_word, printable
from hpo.core.ties import FOUND

HELP = "show the best trial and where its files are"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the winner; before the end of a search, an extended one's too, the best so far."""
    from hpo.core.errors import RunError
    from hpo.results.story import winner_story
    from hpo.run.handed_on import extent_of_rows, read_current
    from hpo.run.next_commands import resume_command

    chosen = chosen_run(args, looks=True)
    state = chosen.read_state()
    best = state.get("best")
    extent = extent_of_rows(state.get("trials", ()))
    best = read_current(chosen, extent) or best
    if best is None and chosen.has_lost_state():
        raise RunError(
            f"{chosen.state_file}: must be what a search wrote of itself, and is damaged or gone; "
            f"`{resume_command(chosen)}` writes it anew"
        )
    if best is None or best["value"] is None:
        shows = f"`{chosen.command('status')}` shows them"
        raise RunError(f"{chosen}: no trial has a result yet; {shows}")
    if args.json:
        print_json(best)
        return 0
    found = FOUND if best.get("confirmation") else ""
    word = metric_word(best.get("metric") or state.get("metric", ""))
    print(f"trial {best['trial']}: {word} {best['value']:.4f}{found}")
    for line in winner_story(best):
        print(f"  {printable(line)}")
    for name, value in best["params"].items():
        print(printable(f"  {name} = {render_value(value)}"))
    for name in ("spec", "checkpoint", "onnx", "gallery"):
        if best.get(name):
            print(f"{name:<11} {best[name]}")
    for command in best.get("next", []):
        print(f"{'next':<11} {command}")
    return 0
