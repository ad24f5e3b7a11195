"""`hpo space`: show what would be searched, how, and why."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.overlay_flags import add_overlay_arguments
from hpo.cli.run_flags import add_output_arguments, add_repeatable, print_json, print_table
from hpo.core.errors import SpecError
from hpo.core.process.streams import can_color
from hpo.core.text import count_of, told_apart

if TYPE_CHECKING:
    from hpo.cli.space_source import SpaceSource
    from search_spaces import SearchSpace

MOST_SAMPLES = 100_000
"""More than anybody looks at, and what a search can be planned for."""

HELP = "show the search space: every parameter, its range and scale, and why"
EPILOG = """\
examples:
  hpo space                                          what a search of your pictures would search
  hpo space defects                                  the space of a study, here one of the package
  hpo space retail                                   what the newest run of `retail` searched
  hpo space --set train.loss.name=triplet            the space of another spec
  hpo space --schema train.schema.json               any schema, without a trainer
  hpo space --skill DIR --json                       for programs
  hpo space --sample 3 --seed 7 --json               three configurations, one a line
  hpo space --search-over +train.batch_size --range train.batch_size=16..128
  hpo space --plot space.html                        a chart of every distribution
  hpo space --schema train.schema.json --lint        what looks wrong in a schema
"""

_OF_SPACES = ("search_over", "range", "options", "fix", "trials")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "study",
        metavar="STUDY",
        nargs="?",
        help="study file, name of a packaged study, or a run (directory or name)",
    )
    source.add_argument("--schema", metavar="FILE", help="a train.schema.json, without a trainer")
    source.add_argument("--skill", metavar="DIR", help="a skill folder")
    what = parser.add_argument_group("output")
    one = what.add_mutually_exclusive_group()
    one.add_argument("--plot", metavar="FILE.html", help="draw the distributions as a page")
    one.add_argument("--sample", metavar="N", type=int, help="print N configurations")
    one.add_argument("--lint", action="store_true", help="report what looks wrong in the schema")
    what.add_argument("--seed", metavar="N", type=int, help="seed of --sample (default: 0)")
    what.add_argument(
        "--trials", metavar="N", type=int, help="length of the search, if it is to be short"
    )
    add_repeatable(
        what,
        "--set KEY=VALUE",
        "a key of the trainer's spec, on which the space may depend (repeatable)",
    )
    add_overlay_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show the space, or samples of it, or what is suspicious about its schema."""
    from hpo.study.plan import as_user_errors
    from hpo.study.sections import LAST

    with as_user_errors():
        source = _source(args)
        if args.lint:
            return _lint(args, source)
        spaces = _compiled(source, args.trials)
    space = spaces[LAST]
    if args.plot:
        return _plot(args, space)
    if args.sample is not None:
        return _sample(args, space)
    if args.json:
        earlier = {name: own.to_json() for name, own in spaces.items() if name != LAST}
        print_json(space.to_json() | ({"stages": earlier} if earlier else {}))
        return 0
    for reason in source.reasons:
        print(f"start     {reason}")
    if source.reasons:
        print()
    for name, own in spaces.items():
        if len(spaces) > 1:
            print(f"stage {name}" if name != LAST else f"\nstage {name}, after the others")
        _show(own)
    return 0


def _source(args: argparse.Namespace) -> SpaceSource:
    """What the spaces are compiled from."""
    from hpo.cli.space_source import find_source
    from hpo.study.checks import check_count

    check_count(args.trials, "--trials", least=1, most=MOST_SAMPLES)
    if args.seed is not None and args.sample is None:
        raise SpecError("--seed: is of --sample; add that, or leave it out")
    unused = [name for name in _OF_SPACES if args.lint and getattr(args, name)]
    if flags := ", ".join(f"--{name.replace('_', '-')}" for name in unused):
        raise SpecError(f"{flags}: not used with --lint, which looks at the schema; leave it out")
    return find_source(args)


def _compiled(source: SpaceSource, trials: int | None) -> dict[str, SearchSpace]:
    """The space of each stage by name, in order; of the last alone where a study has no others."""
    from hpo.study.sections import LAST

    return {name: own.compiled(trials) for name, own in {**source.stages, LAST: source}.items()}


def _plot(args: argparse.Namespace, space: SearchSpace) -> int:
    """Draw the distributions, and say where."""
    from hpo.cli.space_plot import write_plot
    from hpo.core.target_file import demand_target

    demand_target(Path(args.plot), ".html", "--plot", signs=("window.PlotlyConfig",))
    write_plot(space, Path(args.plot))
    if args.json:
        print_json({"plot": str(Path(args.plot).resolve())})
    else:
        print(args.plot)
    return 0


def _sample(args: argparse.Namespace, space: SearchSpace) -> int:
    """Print configurations: parameters and pinned ones, flat dotted names."""
    import random

    from hpo.study.checks import LARGEST_SEED, check_count

    check_count(args.sample, "--sample", least=1, most=MOST_SAMPLES)
    check_count(args.seed, "--seed", least=0, most=LARGEST_SEED)
    rng = random.Random(args.seed or 0)
    pinned = {pin.name: pin.value for pin in space.pinned}
    for number in range(args.sample):
        values = {**pinned, **space.for_trial(number).sample(rng)}
        if args.json:
            print(json.dumps(values))
        else:
            print(f"# {number}")
            for name, value in sorted(values.items()):
                print(f"{name}={json.dumps(value)}")
    return 0


def _lint(args: argparse.Namespace, source: SpaceSource) -> int:
    """Print what looks wrong in the schema."""
    from search_spaces.lint import lint_schema

    idle = source.trainer.inactive(source.spec) if source.trainer and source.spec else {}
    findings = lint_schema(source.schema, idle)
    if args.json:
        print_json([asdict(finding) for finding in findings])
        return 0
    if not findings:
        whose = args.schema or args.skill or getattr(source.trainer, "name", "")
        print(f"nothing suspicious in the schema of {whose}")
    for finding in findings:
        print(f"{finding.name}: {finding.kind}: {finding.message}")
    return 0


def _show(space: SearchSpace) -> None:
    """Print the table, what is pinned, and the warnings."""
    ordered = sorted(space.parameters, key=lambda parameter: not parameter.is_popular)
    rows = [
        [
            parameter.name,
            short(parameter.default),
            _distribution_text(parameter.distribution),
            parameter.condition_text or "always",
            parameter.why,
        ]
        for parameter in ordered
    ]
    _print_rows(["PARAMETER", "DEFAULT", "DISTRIBUTION", "WHEN", "WHY"], rows)
    if space.pinned:
        print()
        _print_rows(
            ["PINNED", "VALUE", "REASON"],
            [[pin.name, short(pin.value), pin.reason] for pin in space.pinned],
        )
    for warning in space.warnings:
        print(f"note: {warning}")
    print(f"searched: {count_of(len(space.parameters), 'parameter')}; pinned: {len(space.pinned)}")


def _print_rows(header: list[str], rows: list[list[str]]) -> None:
    """Print a table: by rich on a terminal, plain elsewhere."""
    import sys

    if not sys.stdout.isatty():
        print_table(header, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if console.width < _WIDE:
        # Columns of a few letters cannot be read: one block per row instead.
        for name, *cells in rows:
            console.print(Text(name, style="bold" if can_color(sys.stdout) else ""))
            console.print(Text("    " + "; ".join(cells)))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, overflow="fold", no_wrap=number < 2)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


_WIDE = 120


def short(value: Any) -> str:
    """Write a value in few characters."""
    if isinstance(value, float):
        return f"{value:g}"
    is_plain = isinstance(value, str) and bool(value) and value == value.strip()
    return value if is_plain else json.dumps(value)


def _distribution_text(distribution: dict[str, Any]) -> str:
    """Write a distribution in one cell, e.g. `log 3.5e-06 .. 0.035`."""
    kind = distribution["type"]
    if kind in ("int", "float"):
        words = {"log": "log", "linear": "linear", "reflected_log": "reflected log"}
        grid = f", step {distribution['step']:g}" if "step" in distribution else ""
        relations = "".join(f", {text}" for text in distribution.get("relations", ()))
        scale = f"{words[distribution['scale']]}{' int' if kind == 'int' else ''}"
        ends = distribution["low"], distribution["high"]
        low, high = map(str, ends) if kind == "int" else told_apart(*ends, digits=6)
        return f"{scale} {low} .. {high}{grid}{relations}"
    if "options" in distribution:
        weights = distribution.get("weights")
        names = [short(option) for option in distribution["options"]]
        if weights:
            names = [f"{name} {weight:.0%}" for name, weight in zip(names, weights, strict=True)]
        return f"{kind.replace('_', ' ')}: {', '.join(names)}"
    if kind == "derived":
        return str(distribution["formula"])
    parts = distribution.get("elements") or distribution.get("ends") or [distribution["element"]]
    return f"{kind.replace('_', ' ')}: " + "; ".join(map(_distribution_text, parts))
