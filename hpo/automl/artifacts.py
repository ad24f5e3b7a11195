"""Reads metrics from the files of a job: `best_score.json`, `metrics.json`, `status.json`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.core.metric_values import find_metric, number_of, numbers_of
from hpo.run.growing_file import GrowingFile
from hpo.run.plain_files import json_objects, read_object, read_printed, walk_files

BEST_SCORE, METRICS, STATUS = "best_score.json", "metrics.json", "status.json"
NAMES = (BEST_SCORE, METRICS, STATUS)
_GENERIC = ("best_score", "best_metric", "metric_value", "score", "value")
"""Keys that hold the value of whatever metric a file is about."""


def values_in_folder(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """The values of metrics in the files anywhere below a folder, see `FolderValues`."""
    return FolderValues(folder, names).read()


class FolderValues:
    """Finds the values of metrics in the files anywhere below a folder, again and again.

    Args:
        folder: the results of one job.
        names: of the metrics, the primary one first.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._statuses: dict[Path, _StatusValues] = {}

    def read(self) -> dict[str, float]:
        """Metric -> value, for those that were found; lines of `status.json` are read once."""
        places = sorted(walk_files(self._folder), key=_depth)
        files = [file for name in NAMES for file in places if file.name == name]
        return _gather(map(self._values_of, files), self._names)

    def _values_of(self, file: Path) -> dict[str, float]:
        if file.name != STATUS:
            return values_in_file(file.name, read_printed(file), self._names)
        status = self._statuses.setdefault(file, _StatusValues(file, self._names))
        with contextlib.suppress(OSError):
            status.catch_up()
        return status.values


class _StatusValues:
    """The last finite value of each metric in a `status.json` that grows."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._file, self._names = GrowingFile(path), names
        self._found: dict[str, float] = {}

    def catch_up(self) -> None:
        """Read what is new."""
        if self._file.begins_anew():
            self._found = {}
        self._found |= _in_status("\n".join(self._file.new_lines()), self._names)

    @property
    def values(self) -> dict[str, float]:
        """Those found by now, with those of a last line that nobody has ended."""
        return self._found | _in_status(self._file.rest, self._names)


def tables_in_folder(folder: Path) -> dict[str, float]:
    """All numbers of the tables below a folder: of `metrics.json` and of the last status line."""
    found: dict[str, float] = {}
    files = sorted(walk_files(folder), key=_depth)
    for file in (file for file in files if file.name == STATUS):
        for line in json_objects(read_printed(file)):
            found |= numbers_of(line.get("kpi"))
    for file in (file for file in files if file.name == METRICS):
        found |= numbers_of(read_object(file))
    return found


def values_by_reader(
    read: Callable[[str], Any], names: Sequence[str], action: str
) -> dict[str, float]:
    """The same of a job whose files a platform reads: at the top and in the action's folder.

    Args:
        read: returns the text of a file below the job's results, or None.
        names: of the metrics, the primary one first.
        action: that the job runs.
    """
    places = [f"{folder}{name}" for name in NAMES for folder in ("", f"{action}/")]
    files = ((Path(place).name, _as_text(read(place))) for place in places)
    return _gather((values_in_file(name, text, names) for name, text in files), names)


def values_in_file(name: str, text: str, names: Sequence[str]) -> dict[str, float]:
    """The values of metrics in the text of one file.

    Args:
        name: of the file, which tells its form.
        text: what it holds.
        names: of the metrics, the primary one first.
    """
    if name == STATUS:
        return _in_status(text, names)
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(table, Mapping):
        return {}
    found = {}
    for place, metric in enumerate(names):
        value = find_metric(table, metric)
        if value is None and name == BEST_SCORE:
            value = _labelled(table, metric, is_primary=place == 0)
        if value is not None:
            found[metric] = value
    return found


def _labelled(table: Mapping[str, Any], metric: str, *, is_primary: bool) -> float | None:
    """The value of a file that says which metric it is of; one that does not is of the primary."""
    label = table.get("metric")
    fits = is_primary if label is None else find_metric({str(label): 1.0}, metric) is not None
    values = (number_of(table.get(key)) for key in _GENERIC)
    return next((value for value in values if fits and value is not None), None)


def _in_status(text: str, names: Sequence[str]) -> dict[str, float]:
    """The last finite value of each metric under `kpi`, one JSON object a line."""
    found: dict[str, float] = {}
    for line in json_objects(text):
        kpi = numbers_of(line.get("kpi"))
        for metric in names:
            value = find_metric(kpi, metric)
            if value is not None:
                found[metric] = value
    return found


def _gather(files: Iterable[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """The first value of each metric over several files."""
    found: dict[str, float] = {}
    for values in files:
        found = {**values, **found}
    return {name: found[name] for name in names if name in found}


def _depth(file: Path) -> tuple[int, str]:
    return len(file.parts), str(file)


def _as_text(content: Any) -> str:
    if isinstance(content, bytes):
        return content.decode("utf-8", errors="replace")
    return content if isinstance(content, str) else json.dumps(content) if content else ""
