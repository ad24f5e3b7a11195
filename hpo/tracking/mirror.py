"""Mirrors a search to MLflow from a background thread.

Events wake the thread. What it writes is always the difference between the ledger and what has
already arrived, so a slow server, a lost one and a resumed search are the same case.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from hpo.core.events import Event
from hpo.core.trial import TrialRecord
from hpo.run.next_commands import resume_command
from hpo.tracking.address import why_useless
from hpo.tracking.rows import Study
from hpo.tracking.store import (
    display_uri,
    expected_errors,
    give_settings_back,
    reason,
    remedy,
)
from hpo.tracking.writer import StudyWriter

logger = logging.getLogger(__name__)

_ROUND_SECONDS = 1.0
"""Time between two rounds of writing; what happens meanwhile goes into one batch per run."""
_PAUSE_FACTOR = 4.0
"""A long round is followed by a longer pause, so that the search has the processor."""
_LONGEST_PAUSE_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 5.0
"""Time until the second attempt where the first has failed; it doubles from there."""
_LONGEST_WAIT_SECONDS = 60.0
CLOSE_SECONDS = 30.0
"""How long the end of a search waits for MLflow without seeing it move."""
_UNSEEN_CLOSE_SECONDS = 5.0
"""The same where MLflow has never answered in this search."""
_LONGEST_CLOSE_SECONDS = 120.0
"""How long it waits at most."""
CLOSE_ATTEMPTS = 3


class MlflowMirror:
    """Writes a study to MLflow as it happens; implements `hpo.core.protocols.Listener`.

    Args:
        study: what stays the same.
        tracking_uri: MLflow's address, see `default_tracking_uri`.
        snapshot: returns copies of all trial records; called from the mirror's thread.
    """

    def __init__(
        self, study: Study, *, tracking_uri: str, snapshot: Callable[[], list[TrialRecord]]
    ) -> None:
        self._run = study.run
        self._place = display_uri(tracking_uri)
        self._writer = StudyWriter(study, tracking_uri, snapshot)
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_abandoned = False
        self._useless = why_useless(tracking_uri)
        """Why nothing can ever be written; empty where it may be."""
        self._is_said = False
        self._remedy = ""
        self._problem = ""
        """Why the last round failed; empty while MLflow answers."""

    def handle(self, event: Event) -> None:
        """Take note of an event; costs microseconds."""
        if self._useless:
            self._say_useless()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()
        self._inbox.put(event)

    def close(self) -> None:
        """Write what is left while that moves on, and say what is missing in the end."""
        if self._is_said:
            logger.warning(
                "MLflow was not written: %s %s; after that `%s` writes all of it",
                self._place,
                self._useless,
                resume_command(self._run),
            )
        if self._thread is None:
            return
        self._inbox.put(None)
        began = time.monotonic()
        while self._thread.is_alive() and self._may_go_on(began):
            self._thread.join(0.1)
        self._thread, self._is_abandoned = None, True
        give_settings_back()
        if not self._writer.is_complete:
            logger.warning(
                "MLflow at %s is incomplete: %s; %s`%s` writes the rest",
                self._place,
                self._writer.describe_gaps(self._problem),
                f"{self._remedy}; then " if self._remedy else "",
                resume_command(self._run),
            )

    def _may_go_on(self, began: float) -> bool:
        now = time.monotonic()
        still = now - max(began, self._writer.moved)
        patience = CLOSE_SECONDS
        if self._problem and not self._writer.has_arrived:
            patience = _UNSEEN_CLOSE_SECONDS
        return still < patience and now - began < _LONGEST_CLOSE_SECONDS

    def _say_useless(self) -> None:
        if not self._is_said:
            self._is_said = True
            logger.warning("the search goes on without MLflow: %s %s", self._place, self._useless)

    # The thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._loop()
        except Exception as error:  # a fault in the mirror must not take the search with it
            self._problem = f"the mirror has ended by a fault of its own: {reason(error)}"
            if not self._is_abandoned:
                logger.warning("the MLflow mirror has ended by a fault of its own", exc_info=True)

    def _loop(self) -> None:
        wait = 0.0
        while self._listen(wait, idle=not self._problem):
            began = time.monotonic()
            if self._try_to_write(closing=False):
                pause = (time.monotonic() - began) * _PAUSE_FACTOR
                wait = min(max(_ROUND_SECONDS, pause), _LONGEST_PAUSE_SECONDS)
            else:
                wait = min(max(2 * wait, _FIRST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
        for attempt in range(CLOSE_ATTEMPTS):
            time.sleep(attempt)
            if self._is_abandoned or self._try_to_write(closing=True):
                return

    def _listen(self, seconds: float, *, idle: bool) -> bool:
        """Take in events for so long; False once the search is over.

        Args:
            seconds: time to wait.
            idle: whether to wait on until there is an event.
        """
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                event = self._inbox.get(timeout=None if idle else left)
            except queue.Empty:
                return True
            if event is None:
                return False
            self._writer.note(event)
            idle = False

    def _try_to_write(self, *, closing: bool) -> bool:
        """Write what MLflow does not have yet; False when that failed, with one warning."""
        try:
            errors = expected_errors()
        except ImportError as error:
            return self._failed(error)
        try:
            self._writer.write(closing=closing)
        except errors as error:
            self._writer.forget()
            return self._failed(error)
        if self._problem:
            logger.info("MLflow at %s answers again", self._place)
            self._problem = self._remedy = ""
        return True

    def _failed(self, error: Exception) -> bool:
        if not self._problem:
            logger.warning(
                "MLflow at %s cannot be written; the search goes on, MLflow is caught up later: %s",
                self._place,
                "; ".join(filter(None, (reason(error), remedy(error)))),
            )
        self._problem, self._remedy = reason(error), remedy(error)
        return False
