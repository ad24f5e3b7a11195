"""Runs an iterator ahead in a thread, so that loading overlaps computation."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Item = TypeVar("_Item")

_POLL_S = 0.1


def ahead(items: Iterable[_Item], depth: int = 1) -> Iterator[_Item]:
    """Yield the items of `items`, the next `depth` of them being made meanwhile.

    An exception in the thread is raised here, in its place; leaving the loop early ends the thread.

    Args:
        items: iterated in the thread alone.
        depth: items that may wait.
    """
    ready: queue.Queue[tuple[bool, _Item | BaseException | None]] = queue.Queue(depth)
    is_over = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, is_over), daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = ready.get()
            if isinstance(value, BaseException) and not is_item:
                raise value
            if not is_item:
                return
            yield value  # type: ignore[misc]  # is_item says that it is one
    finally:
        is_over.set()
        thread.join()


def _produce(
    items: Iterable[_Item],
    ready: queue.Queue[tuple[bool, _Item | BaseException | None]],
    is_over: threading.Event,
) -> None:
    try:
        for item in items:
            if not _put(ready, (True, item), is_over):
                return
        _put(ready, (False, None), is_over)
    except BaseException as error:  # noqa: BLE001 - raised again by the reader
        _put(ready, (False, error), is_over)


def _put(
    ready: queue.Queue[tuple[bool, _Item | BaseException | None]],
    entry: tuple[bool, _Item | BaseException | None],
    is_over: threading.Event,
) -> bool:
    while not is_over.is_set():
        try:
            ready.put(entry, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
