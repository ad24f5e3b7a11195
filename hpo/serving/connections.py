"""Closes connections that send no request.

Uvicorn counts them among those that it takes, and waits for the head of a request without end: 256
of them keep everybody else out.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def with_limit(timeout_s: float) -> type[H11Protocol]:
    """Return uvicorn's protocol with a time limit for the head of each request."""

    class Limited(H11Protocol):
        _limit: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._begin()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            super().connection_lost(exc)

        def _begin(self) -> None:
            self._end()
            self._limit = self.loop.call_later(timeout_s, self._close_if_waiting)

        def _end(self) -> None:
            if self._limit is not None:
                self._limit.cancel()

        def _close_if_waiting(self) -> None:
            request: Any = self.cycle  # None until the first
            if request is None or request.response_complete:
                self.transport.close()

    return Limited
