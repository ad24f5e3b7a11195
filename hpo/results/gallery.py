"""Lists and changes the gallery of a run's exported model, without training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hpo.core.trainer_extras import GalleryEditor, GalleryKeeper, GalleryMeter
from hpo.results.export import trainer_of_export
from hpo.run.lock_file import hold
from hpo.run.run_dir import Holder, RunDir
from hpo.study.plan import as_user_errors
from hpo.study.trainers import demand

T = TypeVar("T")

_LOCK_FILE = ".gallery.lock"
_LONGEST_S = 600
"""How long a change by another process is waited for."""


def list_gallery(run: RunDir) -> dict[str, int]:
    """Return class -> number of pictures of a run's gallery.

    Raises:
        RunError: when the run has no exported model yet.
    """
    trainer = demand(trainer_of_export(run), GalleryEditor)
    with as_user_errors():
        return trainer.list_gallery(run.best_dir)


def measure_gallery(run: RunDir) -> list[dict[str, Any]]:
    """Measure a run's gallery in every way it could be kept; rows of `GalleryMeter`.

    Raises:
        DataError: when the gallery holds no validation queries.
        RunError: when the run has no exported model yet.
    """
    trainer = demand(trainer_of_export(run), GalleryMeter)
    with as_user_errors():
        return trainer.measure_gallery(run.best_dir)


def extend_gallery(run: RunDir, images: str) -> dict[str, Any]:
    """Add the pictures of a folder of class folders to a run's gallery.

    Raises:
        RunError: when the run has no exported model yet, or a search is at work in it.
    """
    with _changing(run, GalleryEditor) as trainer:
        return trainer.add_classes(run.best_dir, images)


def merge_gallery(run: RunDir, other: Path) -> dict[str, Any]:
    """Add all pictures of another gallery of the same model to a run's gallery.

    Args:
        run: the run.
        other: a gallery's file, or a folder (also a run's) that holds one.

    Raises:
        DataError: when another model made the other gallery; nothing is changed.
        RunError: when the run has no exported model yet, or a search is at work in it.
    """
    with _changing(run, GalleryKeeper) as trainer:
        best = RunDir(other).best_dir
        return trainer.merge_gallery(run.best_dir, best if best.is_dir() else other)


def shrink_gallery(run: RunDir, names: Sequence[str]) -> dict[str, Any]:
    """Take classes out of a run's gallery.

    Raises:
        DataError: when a name is none of its classes; nothing is changed.
        RunError: when the run has no exported model yet, or a search is at work in it.
    """
    with _changing(run, GalleryEditor) as trainer:
        return trainer.remove_classes(run.best_dir, names)


def set_gallery(run: RunDir, *, kind: str | None, matching: str | None) -> dict[str, Any]:
    """Keep and search a run's gallery in another way.

    Raises:
        DataError: when there is no such kind or matching.
        RunError: when the run has no exported model yet, or a search is at work in it.
    """
    with _changing(run, GalleryKeeper) as trainer:
        return trainer.set_gallery(run.best_dir, kind=kind, matching=matching)


def undo_gallery(run: RunDir) -> dict[str, Any]:
    """Put a run's gallery back to what it was before its last change.

    Raises:
        DataError: when no change is kept.
        RunError: when the run has no exported model yet, or a search is at work in it.
    """
    with _changing(run, GalleryKeeper) as trainer:
        return trainer.undo_gallery(run.best_dir)


@contextlib.contextmanager
def _changing(run: RunDir, extra: type[T]) -> Iterator[T]:
    """Keep searches and exports off a run's gallery while a trainer changes it.

    Changes wait for each other, as a trainer may read the gallery, change and write it.
    """
    trainer = demand(trainer_of_export(run), extra)
    said = f"{run}: its gallery has been changed by others for {_LONGEST_S} s; wait for them"
    alone = hold(run.path / _LOCK_FILE, lambda: said, attempts=100 * _LONGEST_S)
    with run.lock(Holder.GALLERY), alone, as_user_errors():
        yield trainer
