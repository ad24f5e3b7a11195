"""Runs an iterator ahead, so that the next batch is made while this one is computed with.

On a CPU a thread makes it, on a GPU a stream.
"""

from __future__ import annotations

import functools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from torch import Tensor

_Item = TypeVar("_Item")
_Tensors = TypeVar("_Tensors", bound="tuple[Tensor, ...]")

_AHEAD = 2
"""Items that wait, or are being made."""


def ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield the items of `items`, which a thread of its own iterates; the next are made meanwhile.

    An exception in the thread is raised here, in its place; leaving the loop early ends the thread.
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        pending = deque(pool.submit(next, source, end) for _ in range(_AHEAD))
        item: Any
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, source, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def on_own_stream(batches: Iterable[_Tensors], device: torch.device) -> Iterator[_Tensors]:
    """Yield batches that a stream of their own makes on a GPU, the next one being made meanwhile.

    The stream of the caller waits for a batch on the GPU; the CPU does not wait.

    Args:
        batches: iterated in this thread; each batch puts its work on the current stream.
        device: a GPU.
    """
    import torch

    stream = _stream_of(device)
    # What the batches are gathered from was put on the caller's stream.
    stream.wait_stream(torch.cuda.current_stream(device))
    source = iter(batches)

    def made() -> Iterator[tuple[_Tensors, torch.cuda.Event]]:
        while True:
            with torch.cuda.stream(stream):
                batch = next(source, None)
                if batch is None:
                    return
                is_made = torch.cuda.Event()  # type: ignore[no-untyped-call]  # as above
                is_made.record(stream)
            yield batch, is_made

    for batch, is_made in one_ahead(made()):
        current = torch.cuda.current_stream(device)
        current.wait_event(is_made)
        for tensor in batch:
            tensor.record_stream(current)  # its memory is not used again before the caller is done
        yield batch


@functools.cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """The one stream of a GPU in this process: what it has freed is kept for it alone."""
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no type


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
