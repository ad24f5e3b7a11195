"""`hpo export`: write a trial as a checked ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpo.cli.run_flags import chosen_run, print_json
from hpo.core.text import count_of

HELP = "export a trial as a checked ONNX file"
EPILOG = """\
examples:
  hpo export                          the best trial of the newest run, into its best/ folder
  hpo export retail --trial 7 --out seven.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run_name", metavar="RUN", nargs="?", help="run (default: the newest)")
    parser.add_argument("--trial", metavar="N", type=int, help="trial (default: the best)")
    parser.add_argument("--out", metavar="FILE", dest="file", help="where to put the ONNX file")
    parser.add_argument(
        "--runs", metavar="DIR", dest="out", default="runs", help="folder that holds runs"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Export, and say where the files are."""
    from hpo.cli.driving import machine_output
    from hpo.core.errors import SpecError
    from hpo.results.export import export_run

    chosen = chosen_run(args)
    file = Path(args.file) if args.file else None
    if file is not None and (file.is_dir() or file.parent.is_file()):
        raise SpecError(
            f"--out: must be a file to write, and {args.file} is a folder or below a file"
        )
    with machine_output():  # the trainer runs here, and its libraries may print
        result = export_run(chosen, trial=args.trial, file=file)
    if args.json:
        print_json(result)
    else:
        print(f"trial {result['trial']}: {result['onnx']}")
        if "num_images_checked" in result:
            print(f"checked on {count_of(result['num_images_checked'], 'picture')} against torch")
    return 0
