"""`hpo export`: write a trial as a checked ONNX file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_json_argument, add_out_argument, chosen_run, print_json
from hpo.core.text import count_of

if TYPE_CHECKING:
    from hpo.run.run_dir import RunDir

HELP = "export a trial as a checked ONNX file"
EPILOG = """\
examples:
  hpo export                          the best trial of the newest run, into its best/ folder
  hpo export retail --trial 7 --out seven.onnx
  hpo export retail --with-preprocessing --timm --triton
      beside the ONNX file: one that takes uint8 pictures of any size (model_uint8.onnx), a folder
      for timm's `local-dir:` (model_timm/), both checked on real pictures, and a model repository
      for the Triton server (model_triton/)

A file and further forms are of the export that is there, with the gallery as it was changed.
Without them the export is made anew, and its gallery too: one that was changed (`hpo gallery`,
`hpo serve`) stays in best-1/ (best-2/, ...) then.
"""

FORMS = ("pixels", "timm", "triton")
"""Further forms of an export, by the trainer's names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run_name", metavar="RUN", nargs="?", help="run (default: the newest)")
    parser.add_argument("--trial", metavar="N", type=int, help="trial (default: the best)")
    parser.add_argument(
        "--out", metavar="FILE.onnx", dest="file", help="where to put the ONNX file"
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="also an ONNX file that takes uint8 pictures (N x H x W x C) of any size; it "
        "resizes, cuts and normalises them itself",
    )
    parser.add_argument(
        "--timm",
        action="store_true",
        help="also a folder that timm loads by local-dir:, with its preprocessing and a model card",
    )
    parser.add_argument(
        "--triton",
        action="store_true",
        help="also a model repository for the Triton inference server",
    )
    add_out_argument(parser, "--runs")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and say where the files are."""
    from hpo.cli.driving import machine_output
    from hpo.core.errors import SpecError
    from hpo.core.target_file import demand_target
    from hpo.results.export import export_run

    chosen = chosen_run(args)
    file = Path(args.file) if args.file else None
    if file is not None:
        if file.suffix.lower() != ".onnx":
            raise SpecError(
                f"--out: must end in .onnx, got {args.file}; the folder of runs is --runs"
            )
        demand_target(file, ".onnx", "--out")
        demand_target(file.with_suffix(".gallery.npz"), ".npz", "--out (the gallery beside it)")
    made: dict[str, Any] = {}
    try:
        with machine_output():  # the trainer runs here, and its libraries may print
            export_run(chosen, trial=args.trial, file=file, forms=_forms(args), made=made)
    except BaseException:  # what was made before a form that failed stays so
        for line in _lines(made, chosen) if made else ():
            print(line, file=sys.stderr)
        raise
    if args.json:
        print_json(made)
        return 0
    for line in _lines(made, chosen):
        print(line)
    return 0


def _lines(made: Mapping[str, Any], chosen: RunDir) -> Iterator[str]:
    yield f"trial {made['trial']}: {made['onnx']}"
    if "num_images_checked" in made:
        yield f"checked on {count_of(made['num_images_checked'], 'picture')} against torch"
    if changed := made.get("changed_gallery"):
        own = chosen.path / "exports" / f"{made['trial']:04d}"
        is_kept = Path(changed).parent in {chosen.best_dir, own}
        what = "keeps its changes" if is_kept else "begins anew; the one that was changed"
        yield f"the gallery {what}: {changed}"
    for form in filter(made.get, FORMS):
        yield _describe(form, made[form])


def _forms(args: argparse.Namespace) -> list[str]:
    """The further forms that are asked for, by the trainer's names."""
    asked = (args.with_preprocessing, args.timm, args.triton)
    return [form for form, is_asked in zip(FORMS, asked, strict=True) if is_asked]


def _describe(form: str, facts: Mapping[str, Any]) -> str:
    place = facts.get("onnx") or facts.get("folder") or facts.get("config")
    if "min_cosine" not in facts:
        return f"{form}: {place}"
    number, least = count_of(facts["num_images_checked"], "picture"), facts["min_cosine"]
    return f"{form}: {place} (cosine with model.onnx {least:.5f} or more on {number})"
