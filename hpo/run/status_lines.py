"""Tells of which epoch the metrics in the lines of a trainer's `status.json` are.

Two kinds of trainers are read: those whose lines hold an epoch with its metrics, and those with the
published logger. That one repeats the newest metrics on every line. New ones stand on a line that
names no epoch; the line that names it comes before or behind, and counts in its own way: from 0, or
from 2 where the training has not been resumed. A trainer whose lines are as these, and whose first
epoch is 1, counts from 1 in names of checkpoints, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EPOCH_KEYS = ("epoch", "cur_epoch", "current_epoch")

Told = tuple[int | None, dict[str, Any]]
"""An epoch, counted from 1, and its metrics; None where no line tells the epoch."""


class StatusLines:
    """Reads the lines of one file, in their order.

    Args:
        start: the epoch that the training goes on from.
    """

    is_published = False
    """Whether the lines are those of the published logger."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._told = 0
        """The last epoch whose metrics were told."""
        self._offset: int | None = None
        """What turns an epoch that is named into one counted from 1."""
        self._is_from_1 = False
        """Whether the very first epoch is named 1, as the published logger never names it."""
        self._first: tuple[int, bool] | None = None
        """The first epoch that was named before that was known, and whether beside a step."""
        self._epoch: int | None = None
        """The last one that a line without new metrics has named, as it was named."""
        self._is_open = False
        """Whether metrics that come now are of that epoch, not of the next one."""
        self._waiting: list[dict[str, Any]] = []
        """Metrics of an epoch that a later line names."""
        self._is_counted = False
        """Whether metrics come on lines without an epoch, and no other line names it."""
        self._is_repeated: bool | None = None
        """Whether metrics are repeated where an epoch is named too; None as long as unknown."""
        self._newest: tuple[str, Any, bool] = ("", None, False)
        """The newest metrics, the message and whether an epoch was named beside them."""

    @property
    def shift(self) -> int | None:
        """From the numbers in names of checkpoints to epochs from 1; None where none was told."""
        return 1 if self.is_published else None if self._offset is None else max(self._offset, 0)

    @property
    def last(self) -> int:
        """The last epoch that was named or told, counted from 1; 0 where none was."""
        if self._epoch is None or self._offset is None:
            return self._told
        return max(self._told, self._epoch + self._offset)

    def read(self, line: Mapping[str, Any]) -> list[Told]:
        """Return the metrics that are new by this line, or whose epoch it names."""
        found = self._read(line)
        self._told = max(self._told, *(epoch or 0 for epoch, _ in found)) if found else self._told
        return found

    def _read(self, line: Mapping[str, Any]) -> list[Told]:
        if line.get("status") == "STARTED":
            self._begin()
        found = line.get("kpi")
        metrics = found if isinstance(found, dict) else {}
        named = next((line[key] for key in _EPOCH_KEYS if _is_epoch(line.get(key))), None)
        is_new = bool(metrics) and not self._repeats(metrics, line, named)
        if is_new:
            self._newest = (repr(metrics), line.get("message"), named is not None)
        if named is not None and not metrics and self._newest[0]:
            self._is_repeated = False
        if named is not None:
            self._first = self._first or (named, "step" in line)
        if named is not None and not is_new:
            return self._name(named)
        if named is not None:
            self._is_counted = True  # of a line that names none, as one more than the last
            if self._is_repeated is None and named == self._epoch:
                self._is_repeated = True  # named before the metrics were there
            return [(self._from_one(named, is_own=True), metrics)]
        return self._of_no_epoch(metrics, str(line.get("message"))) if is_new else []

    def _begin(self) -> None:
        """A training begins, perhaps behind one that was cut off, and goes on from that."""
        self._start = self._told or self._start
        self._epoch, self._is_open, self._waiting = None, False, []
        if self.is_published:
            self._offset = None
        if self._offset is None:
            self._first = None

    def _repeats(self, metrics: dict[str, Any], line: Mapping[str, Any], named: int | None) -> bool:
        """Whether the metrics of a line are those that an earlier line has brought.

        Of a trainer that names no epoch, each line but the last is one: its metrics may be equal.
        """
        text, first_message, was_named = self._newest
        if repr(metrics) != text:
            return False
        if named is None:
            has_names = self.is_published or self._first is not None
            is_other = line.get("message") != first_message
            return is_other and (has_names or line.get("status") == "SUCCESS")
        return bool(self._is_repeated) if was_named else True

    def _from_one(self, named: int, *, is_own: bool = False) -> int:
        """An epoch counted from 1; `is_own` where it is named beside new metrics of its own."""
        if self._offset is None:
            first, is_beside_step = self._first or (named, False)
            self._offset = int(0 in (first, named) or (is_beside_step and not is_own))
            if first == 2 and self._start != 1 and not (self._offset or is_own):
                self._offset = -1
            self._is_from_1 |= first == 1 and self._offset == self._start == 0
        return named + self._offset

    def _name(self, named: int) -> list[Told]:
        """Take the number of an epoch that has ended."""
        told: list[Told] = [(self._from_one(named), metrics) for metrics in self._waiting]
        self.is_published |= bool(told) and not self._is_from_1
        self._epoch, self._is_open, self._waiting = named, not told, []
        self._is_counted = False
        return told

    def _of_no_epoch(self, metrics: dict[str, Any], message: str) -> list[Told]:
        if self._is_counted:
            return [(None, metrics)]
        is_last = "train" in message.lower()  # "Train metrics generated." ends an epoch's lines
        if self._epoch is not None and (self._is_open or is_last):
            epoch = self._from_one(self._epoch)
            self.is_published |= not self._is_from_1
            self._is_open = self._is_open and not is_last
            return [(epoch, metrics)]
        self._waiting.append(metrics)
        if not any(metrics.keys() & earlier.keys() for earlier in self._waiting[:-1]):
            return []
        self._is_counted = True
        told: list[Told] = [(None, earlier) for earlier in self._waiting]
        self._waiting = []
        return told


def _is_epoch(value: Any) -> bool:
    """Whether a value can be a number of epochs: what a ledger can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
