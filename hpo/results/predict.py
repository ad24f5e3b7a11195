"""Labels pictures by the exported model and the gallery of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.text import percent, quoted
from hpo.core.trainer_extras import GalleryEditor, PictureFinder, PictureLabeller
from hpo.results.export import export_run, trainer_of_export
from hpo.run.run_dir import RunDir
from hpo.study.plan import as_user_errors
from hpo.study.trainers import demand

_TOPK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Pictures while they are labelled."""

    rows: Iterator[dict[str, Any]]
    """In the order given, each once: `image`, `labels`, `distances`; or `image` and `error`."""
    total: int
    """How many rows there will be."""
    files: list[Path]
    """Where the pictures of the first rows lie; a row's `image` is their name for people."""
    notes: list[str]
    """What was skipped, and what could not be told."""
    folder: Path
    """Where the model lies."""


def label_with_run(
    run: RunDir,
    sources: Sequence[str],
    topk: int | None = None,
    *,
    unknown_at: float | None = None,
    trial: int | None = None,
) -> Labelling:
    """Label pictures by a model of a run.

    Args:
        run: the run.
        sources: picture files, folders and archives of them, patterns, and lists (`@FILE`).
        topk: classes to list; None lists `_TOPK`, or all where there are fewer.
        unknown_at: share of pictures of unknown classes that are taken for known; None labels all.
        trial: whose model; None takes the best. It is exported where that was not yet done.

    Raises:
        RunError: when the run has no exported model yet, or no such trial.
        DataError: when nothing can calibrate the share that was asked for.
        SpecError: for a `topk` that is no number of classes.
    """
    _check_topk(topk)
    trainer, folder = trainer_of_export(run), run.best_dir
    if trial is not None:
        folder = run.path / "exports" / f"{trial:04d}"
        export_run(run, trial=trial, file=None, is_once=True)
    with as_user_errors():
        found = _find_pictures(trainer, sources)
    pictures = [Path(path) for path in found["pictures"]]
    notes = list(found["notes"])
    if unknown_at is not None and pictures:
        with as_user_errors():
            told = demand(trainer, PictureLabeller).describe_threshold(folder, unknown_at)
        notes.append(price_of(told, run if trial is None else None))
    rows = _rows(trainer, folder, pictures, topk, unknown_at)
    return Labelling(
        rows=itertools.chain(rows, found["errors"]),
        total=len(pictures) + len(found["errors"]),
        files=pictures,
        notes=notes,
        folder=folder,
    )


def _check_topk(topk: Any) -> None:
    if topk is not None and (not isinstance(topk, Integral) or int(topk) < 1):
        raise SpecError(f"topk: must be a whole number of at least 1, got {quoted(topk)}")


def price_of(threshold: Mapping[str, Any], run: RunDir | None) -> str:
    """What a threshold for unknown pictures costs, in one line.

    Args:
        threshold: as `PictureLabeller.describe_threshold` returns it.
        run: whose best model it is of; None for one that cannot be calibrated.
    """
    rate = threshold["rate"]
    line = (
        f"unknown at {rate:g}: by the validation queries, about {percent(threshold['rejected'])} "
        "of pictures of known classes become unknown too"
    )
    if threshold.get("is_of_trained"):
        line += (
            f"; more than {percent(rate)} of others may pass, as all classes here were trained on"
        )
        if run is not None:
            line += f" (`{run.command('gallery', '--calibrate-unknown')}` measures it)"
    return line


def _rows(
    trainer: Trainer,
    folder: Path,
    pictures: list[Path],
    topk: int | None,
    unknown_at: float | None,
) -> Iterator[dict[str, Any]]:
    if not pictures:
        return
    with as_user_errors():
        if isinstance(trainer, PictureLabeller):
            count = topk or min(_TOPK, len(demand(trainer, GalleryEditor).list_gallery(folder)))
            yield from trainer.label_pictures(folder, pictures, count, unknown_at=unknown_at)
        else:
            yield from trainer.predict(folder, pictures, topk or _TOPK)


def _find_pictures(trainer: Trainer, sources: Sequence[str]) -> dict[str, Any]:
    if isinstance(trainer, PictureFinder):
        return trainer.find_pictures(sources)
    errors = []
    for source in sources:
        if not Path(source).is_file():
            what = "a folder; name picture files" if Path(source).is_dir() else "no such picture"
            errors.append({"image": source, "error": what})
    pictures = [source for source in sources if Path(source).is_file()]
    return {"pictures": pictures, "errors": errors, "notes": []}
