"""Runs an iterator ahead, so that the next batch is made while this one is computed with.

On a CPU a thread makes it, on a GPU a stream.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

_Item = TypeVar("_Item")
_Tensors = TypeVar("_Tensors", bound="tuple[Tensor, ...]")

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


def on_own_stream(batches: Iterable[_Tensors], device: torch.device) -> Iterator[_Tensors]:
    """Yield batches that a stream of their own makes on a GPU, the next one being made meanwhile.

    The stream of the caller waits for a batch on the GPU; the CPU does not wait.

    Args:
        batches: iterated in this thread; each batch puts its work on the current stream.
        device: a GPU.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no type
    # What the batches are gathered from was put on the caller's stream.
    stream.wait_stream(torch.cuda.current_stream(device))
    made = _made_on(stream, iter(batches))
    for batch, is_made in one_ahead(made):
        current = torch.cuda.current_stream(device)
        current.wait_event(is_made)
        for tensor in batch:
            tensor.record_stream(current)  # its memory is not used again before the caller is done
        yield batch


def _made_on(
    stream: torch.cuda.Stream, batches: Iterator[_Tensors]
) -> Iterator[tuple[_Tensors, torch.cuda.Event]]:
    while True:
        with torch.cuda.stream(stream):
            batch = next(batches, None)
            if batch is None:
                return
            is_made = torch.cuda.Event()  # type: ignore[no-untyped-call]  # as above
            is_made.record(stream)
        yield batch, is_made


def one_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield the items of `items`, each when the next one has been begun."""
    source = iter(items)
    try:
        held = next(source)
    except StopIteration:
        return
    for upcoming in source:
        yield held
        held = upcoming
    yield held
