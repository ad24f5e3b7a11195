"""`hpo algorithms`: list the search algorithms and pruners, with their options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_json_argument, print_json, print_table

if TYPE_CHECKING:
    from hpo.algorithms.entry import AlgorithmEntry
    from hpo.algorithms.options import Option

HELP = "list the search algorithms and their options"
EPILOG = """\
examples:
  hpo algorithms                 all of them, one line each, and the pruners
  hpo algorithms asha            one of them: when to choose it, its options
  hpo search --algorithm asha --algorithm-option reduction_factor=4 --budget 2h
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="show one algorithm in full")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table, or one algorithm."""
    from hpo.algorithms import PRUNERS, find_algorithm, list_algorithms

    if args.name:
        entry = find_algorithm(args.name)
        if args.json:
            print_json(_as_data(entry))
        else:
            _print_one(entry)
        return 0
    entries = list_algorithms()
    if args.json:
        pruners = {name: line for name, (_, line) in PRUNERS.items()}
        print_json({"algorithms": [_as_data(e) for e in entries], "pruners": pruners})
        return 0
    rows = [["auto", "chosen by budget, dimensions, slots and epochs (the default)"]]
    rows += [[entry.name, entry.summary] for entry in entries]
    print_table(["ALGORITHM", ""], rows)
    print()
    print_table(["PRUNER", ""], [[name, line] for name, (_, line) in PRUNERS.items()])
    print("\n`hpo algorithms NAME` shows one with its options.")
    return 0


def _print_one(entry: AlgorithmEntry) -> None:
    print(f"{entry.name}: {entry.summary}")
    if entry.when:
        print(f"when     {entry.when}")
    if entry.paper:
        print(f"paper    {entry.paper}")
    if entry.aliases:
        print(f"also     {', '.join(entry.aliases)}")
    pruning = "by itself" if entry.brings_pruning else "by --pruner"
    print(f"pruning  {pruning}")
    if entry.options:
        print()
        rows = [[o.name, o.kind_name, _default_of(o), o.help] for o in entry.options]
        print_table(["OPTION", "TYPE", "DEFAULT", ""], rows)


def _default_of(option: Option) -> str:
    if option.env:
        return f"${option.env[0]}"
    return "-" if option.default is None else str(option.default)


def _as_data(entry: AlgorithmEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "when": entry.when,
        "paper": entry.paper,
        "aliases": list(entry.aliases),
        "brings_pruning": entry.brings_pruning,
        "options": [
            {
                "name": option.name,
                "type": option.kind_name,
                "default": option.default,
                "route_default": option.default_for(route=True),
                "aliases": list(option.names[1:]),
                "help": option.help,
            }
            for option in entry.options
        ],
    }
