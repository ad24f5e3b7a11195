"""`hpo screen`: compare networks before any of them is trained."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_json_argument, add_repeatable, print_json, print_table
from hpo.core.errors import SpecError
from hpo.core.target_file import demand_target
from hpo.core.text import count_of, printable

if TYPE_CHECKING:
    from hpo.core.protocols import Trainer
    from hpo.study.screening import Row
    from hpo.study.spec import StudySpec

_USED = ("reference", "query")
HELP = "compare pretrained networks on your pictures, before any training"
EPILOG = """\
examples:
  hpo screen --reference shots/gallery --query shots/val
      all weights at hand: installed ones, and those in the hub's cache
  hpo screen --data photos --weights lite0 lite1 lite2 --sizes 128 160 224 --plot screen.html
  hpo screen --data photos --weights models
      every weight file in a folder, and folders in it with timm's config.json
  hpo screen --data photos --weights lite0 none --trunks timm/resnet18
      beside a network from random weights
  hpo screen study.yaml --sizes 128 224 --json

Every network sees the gallery and the queries once; each query is matched by the nearest gallery
picture, and by the nearest mean of a class. What is computed stays in the cache, so that another
size or network costs its own pictures alone. No training or test pictures are used. The table
holds P@1 as the mean over classes with its 95 % interval, milliseconds a picture on this machine,
parameters, and the size of the exported ONNX file; a head of the length `model.feat_dim` is part
of the last three. The best comes first, by the mean that training goes by (over queries where
`train.report_accuracy_per_class` is false). `start` is the search that begins with it, on the same
pictures and keys; where gallery and queries were named, --train DIR is left to fill in.

exit codes: 0 all screened, 2 some not
"""

_SIGN = "<title>hpo screen</title>"
"""In every page of ours."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("study", metavar="STUDY", nargs="?", help="study with pictures, spec")
    data = parser.add_argument_group("pictures (default: generated product packs)")
    data.add_argument("--reference", metavar="DIR", help="gallery to match against")
    data.add_argument("--query", metavar="DIR", help="validation queries")
    data.add_argument("--data", metavar="DIR", help="one folder of classes, to be split")
    data.add_argument(
        "--class-disjoint", action="store_true", help="split --data by class, not by picture"
    )
    what = parser.add_argument_group("candidates")
    what.add_argument(
        "--weights",
        metavar="W",
        nargs="+",
        default=[],
        help="weights as `hpo search --weights` takes them, or folders of them (default: all at "
        "hand)",
    )
    what.add_argument(
        "--trunks",
        metavar="T",
        nargs="+",
        default=[],
        help="networks for weights that name none, and for random ones, e.g. timm/resnet18",
    )
    what.add_argument(
        "--sizes",
        metavar="PX",
        nargs="+",
        type=int,
        default=[],
        help="sides of the pictures (default: 160 without a GPU, else the weights' own)",
    )
    add_repeatable(
        what, "--set KEY=VALUE", "any key of the trainer's spec, for all candidates (repeatable)"
    )
    what.add_argument("--seed", metavar="N", type=int, help="of random weights and of the split")
    parser.add_argument("--plot", metavar="FILE.html", help="draw P@1 against time a picture")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Screen, and print a row for each candidate; 2 where one could not be used."""
    from hpo.cli.driving import machine_output
    from hpo.core.machine import this_machine
    from hpo.core.trainer_extras import Screener
    from hpo.study.plan import as_user_errors
    from hpo.study.start import given_spec
    from hpo.study.trainers import find_trainer
    from hpo.study.weights import anchored_weights

    if args.plot:
        if Path(args.plot).suffix != ".html":
            raise SpecError(f"--plot: must end in .html, got {args.plot}")
        demand_target(Path(args.plot), ".html", "--plot", signs=(_SIGN,))
    study = study_from(args)
    trainer = find_trainer(study.trainer)
    if not isinstance(trainer, Screener):
        raise SpecError(f"trainer {study.trainer}: compares no networks before training")
    given = given_spec(study, trainer)
    with as_user_errors():
        found = trainer.find_candidates(
            given,
            weights=[anchored_weights(w, Path.cwd()) for w in args.weights],
            trunks=args.trunks,
            sizes=args.sizes,
            gpus=this_machine().gpus,
        )
    with machine_output():  # the trainer runs here, and its libraries may print
        rows, pictures = _screen(study, trainer, trainer.screen, given, found["candidates"])
    usable = [row for row in rows if "error" not in row]
    if args.json:
        print_json({"candidates": rows, "notes": list(found["notes"]), "pictures": pictures})
    else:
        _print(rows, [*found["notes"]], pictures)
        print(f"start     {_start(args, usable[0], study.find_skill().shorthands)}")
    if args.plot:
        from hpo.report.screen_page import write_page

        sys.stdout.flush()  # the table is there whatever becomes of the page
        write_page(usable, pictures, Path(args.plot))
        if not args.json:
            print(f"chart     {args.plot}")
    return 2 if len(usable) < len(rows) else 0


def study_from(args: argparse.Namespace) -> StudySpec:
    """The study file, with pictures and keys of the flags over it."""
    from hpo.cli.study_flags import data_from, flag_of
    from hpo.study.laid_over import laid_over
    from hpo.study.packaged import given_study
    from hpo.study.spec import StudySpec
    from hpo.study.text_values import read_assignments

    study = given_study(args.study) if args.study else StudySpec()
    given = {
        "data": data_from(args),
        "spec": read_assignments(args.set, study.find_skill),
        "search": {} if args.seed is None else {"seed": args.seed},
    }
    return laid_over(study, given, needed=_USED, spell=flag_of, spell_search=flag_of)


def _screen(
    study: StudySpec,
    trainer: Trainer,
    screen: Callable[..., Mapping[str, Any]],
    given: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
) -> tuple[list[Row], str]:
    """Screen all, telling on stderr how far it is; also say on which pictures."""
    from hpo.console.console import Console
    from hpo.core.spec_dicts import merged
    from hpo.study.plan import resolve_sources
    from hpo.study.screening import screen_all

    sources = resolve_sources(study, trainer)
    used = {name: sources[name] for name in _USED}
    base = merged(given, trainer.data_overrides(used), {trainer.seed_key: study.search.used_seed})
    console = Console(sys.stderr)

    def screen_one(candidate: Mapping[str, Any], spec: dict[str, Any]) -> Mapping[str, Any]:
        def show(what: str, done: int, total: int) -> None:
            console.progress(f"{candidate['name']}: {what}", done, total)

        return screen(spec, progress=show)

    try:
        rows = screen_all(trainer, candidates, base, screen_one)
    finally:
        console.close()
    first = rows[0]
    pictures = (
        f"{count_of(first['num_queries'], 'query', 'queries')} of {used['query']}, "
        f"{first['num_reference']} gallery "
        f"pictures of {used['reference']}"
    )
    return rows, pictures


def _start(args: argparse.Namespace, best: Row, short: Mapping[str, str]) -> str:
    """The search that begins with a candidate, on the pictures and keys that it was screened with.

    Which pictures to train on is left to fill in where gallery and queries were named.
    """
    words = ["hpo", "search", *filter(None, [args.study]), "--weights", best["weights"]]
    spec = {key: value for key, value in best["spec"].items() if value != best["weights"]}
    given = {pair: pair.partition("=")[0].strip() for pair in args.set}
    kept = [pair for pair, key in given.items() if short.get(key, key) not in best["spec"]]
    for pair in (*(f"{key}={value}" for key, value in spec.items()), *kept):
        words += ["--set", pair]
    words += ["--train", "DIR"] if args.reference and args.query else []
    for name in ("reference", "query", "data", "seed"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words + ["--class-disjoint"] * args.class_disjoint)


def _print(rows: Sequence[Row], notes: Sequence[str], pictures: str) -> None:
    from hpo.report.screen_page import COLUMNS, cells

    usable = [row for row in rows if "error" not in row]
    print_table([name.upper() for name in COLUMNS], [cells(row) for row in usable])
    print(f"\nthe best first, by how the spec matches (dataset.matching); {printable(pictures)}")
    for note in notes:
        print(f"note      {printable(note)}", file=sys.stderr)
    for row in rows:
        if "error" in row:
            print(f"{printable(row['error'])}", file=sys.stderr)
