"""Keeps what the caller's `feedback_fn` says of trials: `.automl/feedback.json`.

Only plain data is kept. What would give the right answers away (ground truth, labels) or name a
sample (ids, file names) is left out, as the notes may be shown to a language model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.workspace import AUTOML_DIR
from hpo.run.plain_files import read_object, write_json

FILE = Path(AUTOML_DIR) / "feedback.json"
_HIDDEN = frozenset({"truth", "gt", "groundtruth", "label", "labels", "target", "targets", "answer",
                     "answers", "id", "ids", "uuid", "identifier", "identifiers", "path", "paths",
                     "file", "files", "filename", "filenames", "uri", "url"})  # fmt: skip
"""Words of keys that are left out."""


class Feedback:
    """The notes of one workspace.

    Args:
        folder: the workspace.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.all = read_feedback(folder)
        """Trial -> what was said of it."""

    def put(self, number: int, said: Any) -> None:
        """Keep what was said of a trial; None says nothing."""
        if said is None:
            return
        self.all[number] = _without_answers(said)
        write_json(self._file, self.all)


def read_feedback(folder: Path) -> dict[int, Any]:
    """The notes of a workspace, by trial; empty where there are none."""
    kept = read_object(folder / FILE)
    return {int(number): notes for number, notes in kept.items() if number.isdecimal()}


def _without_answers(said: Any) -> Any:
    """Plain data without keys that give answers away; what is no plain data becomes text."""
    if isinstance(said, Mapping):
        kept = {str(k): v for k, v in said.items() if not _words(str(k)) & _HIDDEN}
        return {key: _without_answers(value) for key, value in kept.items()}
    if isinstance(said, list | tuple | set):
        return [_without_answers(value) for value in said]
    if said is None or isinstance(said, bool | int | float | str):
        return said
    return str(said)


def _words(key: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
    return set(re.split(r"[^a-z0-9]+", spaced.lower()))
