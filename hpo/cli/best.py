"""`hpo best`: show the best trial and its files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json
from hpo.console.last_page import render_value
from hpo.core.text import metric_word, shell_word

HELP = "show the best trial and where its files are"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the winner; before the end of a search the best trial so far."""
    from hpo.core.errors import RunError
    from hpo.results.story import REPORT_FILE, winner_story
    from hpo.run.run_dir import relocated

    chosen = chosen_run(args)
    report_file = chosen.best_dir / REPORT_FILE
    best = chosen.read_state().get("best")
    if report_file.is_file():
        try:
            best = json.loads(report_file.read_text(encoding="utf-8"))
            best = relocated(best, Path(best["spec"]).parent.parent, chosen.path)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{report_file}: must be what a search wrote of its winner, and is damaged; "
                f"`hpo export {shell_word(chosen)}` makes the winner's files again"
            ) from error
    if best is None:
        shows = f"`hpo status {shell_word(chosen)}` shows them"
        raise RunError(f"{chosen}: no trial has a result yet; {shows}")
    if args.json:
        print_json(best)
        return 0
    print(f"trial {best['trial']}: {metric_word(best.get('metric', ''))} {best['value']:.4f}")
    for line in winner_story(best):
        print(f"  {line}")
    for name, value in best["params"].items():
        print(f"  {name} = {render_value(value)}")
    for name in ("spec", "checkpoint", "onnx", "gallery"):
        if best.get(name):
            print(f"{name:<11} {best[name]}")
    for command in best.get("next", []):
        print(f"  {command}")
    return 0
