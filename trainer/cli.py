"""`ml_recog <action> -e spec.yaml [key=value ...]`: the trainer's command line.

Results go to stdout, progress to stderr; the last line on stderr says how it ended. Exit codes:
0 done, 2 something the user can mend (one line), 1 a bug (with its traceback), 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import io
import logging
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

DONE, BUG, USER_ERROR, INTERRUPTED = 0, 1, 2, 130

_logger = logging.getLogger("trainer.cli")  # also when run as a module

_SUMMARIES: Mapping[str, str] = {
    "train": "train a recogniser; writes checkpoints and status.jsonl",
    "evaluate": "measure a checkpoint, ONNX file or engine on reference and query pictures",
    "inference": "label pictures by their nearest neighbours in the reference pictures",
    "export": "write a checkpoint as an ONNX file, checked against the model",
    "gen_trt_engine": "build a TensorRT engine from an ONNX file, or calibrate it to INT8",
}

_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "train": (
        "ml_recog train -e spec.yaml results_dir=runs/a",
        "ml_recog train -e spec.yaml model.backbone=timm/resnet18 input_width=64 input_height=64",
        "ml_recog train -e spec.yaml resume_checkpoint=runs/a/train/ckpt/last.ckpt",
    ),
    "evaluate": ("ml_recog evaluate -e spec.yaml evaluate.checkpoint=runs/a/train/ckpt/best.ckpt",),
    "inference": (
        "ml_recog inference -e spec.yaml inference.checkpoint=best.ckpt"
        " inference.input_path=photo.jpg inference.inference_input_type=image inference.topk=5",
    ),
    "export": (
        "ml_recog export -e spec.yaml export.checkpoint=best.ckpt export.onnx_file=model.onnx",
    ),
    "gen_trt_engine": (
        "ml_recog gen_trt_engine -e spec.yaml gen_trt_engine.onnx_file=model.onnx"
        " gen_trt_engine.trt_engine=model.engine trt_data_type=FP16",
    ),
}

_PACKAGES = frozenset(
    {"torch", "torchvision", "pytorch_lightning", "pytorch_metric_learning", "timm", "PIL", "numpy"}
    | {"onnx", "onnxruntime", "onnxscript", "yaml"}
)
"""What the trainer extra installs; without one of them the way out is known."""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, and takes options by their whole names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        told = message.replace("/--experiment-spec/--experiment_spec_file", "")
        told = _one_line(told).removeprefix("argument ")
        more = f"; `{self.prog} --help` lists what can be given"
        self.exit(USER_ERROR, f"{self.prog}: error: {told}{more}\n")


class _Once(argparse.Action):
    """Keeps a value, and refuses another one after it."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, *_: Any) -> None:
        first = getattr(namespace, self.dest) or values
        if first != values:
            raise argparse.ArgumentError(
                self, f"is given twice, with {first} and {values}; leave one out"
            )
        setattr(namespace, self.dest, values)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ml_recog",
        description="Metric-learning recognition: train, evaluate, label, export.",
        epilog=_epilog([_EXAMPLES["train"][0], _EXAMPLES["evaluate"][0], "ml_recog train --help"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, summary in _SUMMARIES.items():
        action = actions.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=_epilog(_EXAMPLES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(action, name)
    return parser


def _add_options(action: argparse.ArgumentParser, name: str) -> None:
    action.add_argument(
        "-e",
        "--experiment-spec",
        "--experiment_spec_file",
        dest="spec",
        action=_Once,
        metavar="SPEC",
        type=lambda text: Path(os.path.expanduser(text)),  # noqa: PTH111 - refuses no ~name
        required=True,
        help=f"spec file in YAML (a template: spec_template_{name}.yaml in the skill folder)",
    )
    action.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted spec keys, laid over the file; values are YAML",
    )
    if name in {"train", "evaluate", "inference"}:
        action.add_argument(
            "--ignore-unmatched",
            action="store_true",
            help="drop and count queries of classes that the reference pictures lack",
        )


def _epilog(examples: Sequence[str]) -> str:
    return "examples:\n" + "\n".join(f"  {line}" for line in examples)


@contextmanager
def _at_a_terminal() -> Iterator[None]:
    """Show log lines on stderr, and end a run that is told to go as Ctrl-C ends it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("trainer").setLevel(logging.INFO)
    ending = (signal.SIGTERM, signal.SIGHUP)  # the latter when the terminal closes; not under nohup
    obeyed = [number for number in ending if signal.getsignal(number) != signal.SIG_IGN]
    told = False

    def stop(number: int, _frame: object) -> None:
        nonlocal told
        if number == signal.SIGHUP and told:  # a closed terminal may send it twice
            return
        told = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in obeyed}
    try:
        yield
    finally:
        if (
            told
        ):  # Python's end gives back to a handled signal, not to an ignored one, its own effect
            atexit.register(signal.signal, signal.SIGHUP, signal.SIG_IGN)
        for number, earlier in before.items():
            if number != signal.SIGHUP or not told:  # the second may come as late as this
                signal.signal(number, earlier)
        logging.getLogger().removeHandler(handler)


class _LineFormatter(logging.Formatter):
    """One calm line: the message alone, marked when it is a warning or worse."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return _one_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        is_calm = record.levelno < logging.WARNING
        return line if is_calm else f"{record.levelname.lower()}: {line}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what an encoding lacks is spelt out
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    # Overrides may stand on both sides of an option, which argparse alone does not allow.
    options, rest = parser.parse_known_args(arguments)
    if options.version:
        print(_version())
        return DONE
    if options.action is None:
        parser.print_help()
        return USER_ERROR
    strange = [word for word in rest if word.startswith("-")]
    if strange:
        parser.error(f"{' '.join(strange)}: no such option; overrides are spelt key=value")
    overrides = [*options.overrides, *rest]
    if getattr(options, "ignore_unmatched", False):
        overrides.append("dataset.ignore_unmatched=true")
    with _at_a_terminal():
        return _guarded(options.action, options.spec, overrides)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"ml_recog {version('hpo-recognition')}"
    except PackageNotFoundError:
        return "ml_recog (not installed)"


def _guarded(action: str, spec_path: Path, overrides: Sequence[str]) -> int:
    """Run the action and turn whatever ends it into an exit code and a last line."""
    from trainer.errors import TrainerError

    began = time.monotonic()
    try:
        folder = _run(action, spec_path, overrides)
    except TrainerError as error:
        code, ending = USER_ERROR, f"error: {error}"
    except KeyboardInterrupt:
        code, ending = INTERRUPTED, "interrupted"
    except Exception as error:  # noqa: BLE001 - the one place where a bug gets its exit code
        code, ending = _explained(error)
    else:
        code, ending = DONE, f"done in {time.monotonic() - began:.1f} s; results in {folder}"
    sys.stdout.flush()
    print(f"ml_recog {action}: {_one_line(ending)}", file=sys.stderr)
    return code


def _explained(error: Exception) -> tuple[int, str]:
    from trainer.machine_faults import describe_fault

    if isinstance(error, ModuleNotFoundError) and (missing := _missing_package(error)):
        line = f"error: {missing} is not installed; pip install 'hpo-recognition[all]'"
        return USER_ERROR, line
    if fault := describe_fault(error):
        return USER_ERROR, f"error: {fault}"
    traceback.print_exception(error)
    return BUG, f"failed by a bug: {type(error).__name__}: {error}"


def _missing_package(error: ModuleNotFoundError) -> str:
    """The package that an installation without extras lacks: one that we know or have asked for."""
    name = (error.name or "").partition(".")[0]
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    asking = [Path(file).resolve() for file in files if not file.startswith("<frozen")]
    is_ours = bool(asking) and asking[-1].is_relative_to(Path(__file__).resolve().parent)
    return name if name in _PACKAGES or (is_ours and name != "trainer") else ""


def _one_line(text: str) -> str:
    from trainer.data.names import printable

    return printable(" ".join(text.split()))


def _run(action: str, spec_path: Path, overrides: Sequence[str]) -> Path:
    """Run the action and return the folder of its results."""
    from trainer.config.relations import warnings
    from trainer.data.location import choose_cache_folder, lend_folders, why_not_writable
    from trainer.errors import SpecError
    from trainer.following import differences
    from trainer.spec import action_dir, as_action, load_spec

    legal = as_action(action)
    with suppress(SpecError):  # told by what uses the cache, which the spec may switch off
        lend_folders(choose_cache_folder().path)
    spec = load_spec(spec_path, overrides, legal)
    of_training = (*differences(spec), *_idle(spec, overrides)) if legal == "train" else ()
    for line in (*warnings(spec, legal), *of_training):
        _logger.warning("%s", line)
    folder = action_dir(spec, legal)
    if why := why_not_writable(folder):
        raise SpecError(f"results_dir: {folder} cannot be written: {why}; set another folder")
    try:
        result = _RUNNERS[action](spec)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as of a write to a full disk
            error.filename = str(folder)
        raise
    for line in _shown(result):
        print(line)
    return folder


def _idle(spec: Any, overrides: Sequence[str]) -> list[str]:
    """Say which of the words after the file change nothing; a file may well hold all keys."""
    from trainer.config.files import read_overrides
    from trainer.config.shape import flatten
    from trainer.inactive import inactive_keys

    idle, given = inactive_keys(spec), flatten(read_overrides(overrides, "train"))
    return [f"{key} is set and does nothing: {idle[key]}" for key in given if key in idle]


def _train(spec: Any) -> Mapping[str, Any]:
    from trainer.actions.train import train
    from trainer.spec import action_dir

    try:
        return train(spec)
    except KeyboardInterrupt:
        last = action_dir(spec, "train") / "ckpt" / "last.ckpt"
        if last.is_file():
            word = shlex.quote(f"train.resume_training_checkpoint_path={last}")
            _logger.info("to go on: add %s", word)
        raise


def _shown(result: Mapping[str, Any]) -> list[str]:
    """Return the single values of a result, one a line; lists and tables stand in its files."""
    lines = []
    for name, value in result.items():
        if isinstance(value, Mapping):
            lines += [f"{name}.{line}" for line in _shown(value)] if len(value) <= 40 else []
        elif isinstance(value, float):
            lines.append(f"{name}: {value:.6g}")
        elif isinstance(value, str | int | Path):
            lines.append(f"{name}: {value}")
    return lines


def _evaluate(spec: Any) -> Mapping[str, Any]:
    from trainer.actions.evaluate import evaluate

    return evaluate(spec)


def _inference(spec: Any) -> Mapping[str, Any]:
    from trainer.actions.inference import infer

    return infer(spec)


def _export(spec: Any) -> Mapping[str, Any]:
    from trainer.actions.export import export

    return export(spec)


def _gen_trt_engine(spec: Any) -> Mapping[str, Any]:
    from trainer.actions.engine import gen_trt_engine

    return gen_trt_engine(spec)


_RUNNERS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "train": _train,
    "evaluate": _evaluate,
    "inference": _inference,
    "export": _export,
    "gen_trt_engine": _gen_trt_engine,
}


if __name__ == "__main__":
    sys.exit(main())
