"""Fast float32 passes that propose which gallery entries can be nearest, for `trainer.retrieval`.

Each way proposes a superset of the nearest: everything that comes within the rounding error of the
k-th best. Ways are blocked products by numpy or by torch on any device, and faiss on the CPU or a
GPU. Shapes: Q queries, B queries of a block, G gallery entries, D dimensions, K neighbours.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer import children

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Pairs = tuple[Indices, Indices]
"""Row numbers (ascending) and gallery indices of the pairs that may be among the nearest."""
Proposal = tuple[Indices, Pairs | None]
"""Query numbers of a block and its pairs, whose rows count within the block; None: all pairs."""

BLOCK_BYTES = 64 << 20
DEVICE_BLOCK_BYTES = 256 << 20
"""Of the scores that torch holds on a GPU; larger blocks gain nothing."""
_MANY = 16
"""From one in so many of the gallery on, looking at all of it costs less than picking."""
FAST_FROM_PAIRS = 20_000_000
"""From here on faiss, or a GPU, is quicker than numpy by more than it costs to set up."""
_FAISS_MOST_NEIGHBOURS = 64
_FAISS_EXTRA = 8
_FAISS_BLOCK = 8192
"""Queries at once: faiss keeps few of their products, and is far slower in small blocks."""
_FAISS_BLOCK_PAIRS = 1 << 20
_FAISS_SCRATCH_BYTES = 256 << 20
"""Of a GPU, where faiss would take 1.5 GiB that other trials on it want."""
_FAISS_OWN_BYTES = 512 << 20
"""Of a GPU, for its kernels, its handles and a block of queries; generous."""
_TRIAL_WITHIN_S = 120.0

logger = logging.getLogger(__name__)


class Gallery(Protocol):
    """What is searched; `trainer.retrieval.UnitGallery` is one."""

    @property
    def unit_GD(self) -> Floats: ...  # noqa: D102, N802 - rows of unit length, or zero
    @property
    def half_G(self) -> Floats: ...  # noqa: D102, N802 - half the squared length of each
    def __len__(self) -> int: ...


def blocks(num_rows: int, row_bytes: int, most_bytes: int | None = None) -> Iterator[slice]:
    """Slices of rows that take no more than `most_bytes` (default `BLOCK_BYTES`), or one row."""
    step = max(1, (most_bytes or BLOCK_BYTES) // max(row_bytes, 1))
    return (slice(start, start + step) for start in range(0, num_rows, step))


def tolerance(dim: int) -> float:
    """Bound on how far a float32 dot product of unit vectors can be from the score on the grid."""
    return (dim + 64) * 2.0**-24


_TF32_ERROR = 2.0**-10
"""Of a dot product of unit vectors, each of whose factors is rounded to 10 binary places."""


def propose(
    backend: str, query: Floats, gallery: Gallery, k: int, device: str | None
) -> Iterator[Proposal]:
    """Yield proposals for every query.

    Args:
        backend: one of `BACKENDS`, or `auto`.
        query: at unit length, or zero.
        gallery: what is searched.
        k: neighbours that are wanted.
        device: where `torch` and `faiss-gpu` compute; None for the GPU that this process uses.
    """
    if backend == "auto":
        backend = _chosen(len(query) * len(gallery), k)
    if backend not in BACKENDS:
        raise ValueError(f"backend must be auto, {', '.join(BACKENDS)}, got {backend!r}")
    if backend in {"faiss", "faiss-gpu"} and not gallery.half_G.all():
        # faiss compares products, by which zero rows lie elsewhere.
        backend = "matmul" if backend == "faiss" else "torch"
    return BACKENDS[backend](query, gallery, k, device)


def _chosen(num_pairs: int, k: int) -> str:
    # faiss must be loaded after torch, and what runs without torch is not to load it for this.
    if num_pairs < FAST_FROM_PAIRS or "torch" not in sys.modules:
        return "matmul"
    is_short = k <= _FAISS_MOST_NEIGHBOURS
    if sys.modules["torch"].cuda.is_initialized():
        return "faiss-gpu" if is_short and has_faiss_gpu() else "torch"
    return "faiss" if is_short and has_faiss() else "matmul"


def has_faiss() -> bool:
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def has_faiss_gpu() -> bool:
    """Whether faiss is installed, was built for GPUs and can use the one of this process."""
    if not has_faiss():
        return False
    faiss = _faiss()
    if not hasattr(faiss, "GpuIndexFlatIP") or faiss.get_num_gpus() == 0:
        return False
    return _survives(_card_number(None))


@functools.cache
def _survives(card: int) -> bool:
    """Try faiss on a GPU in another process: it ends its own where it was not built for the GPU."""
    command = children.command("trainer.proposals", str(card))
    try:
        done = subprocess.run(
            command, env=children.environment(), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_TRIAL_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        logger.warning("faiss does not answer on GPU %d: neighbours are searched by torch", card)
        return False
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        logger.warning(
            "faiss cannot use GPU %d, neighbours are searched by torch: %s", card, reason[:300]
        )
    return done.returncode == 0


def main(words: Sequence[str]) -> int:
    """Search once on the GPU with this number, in a process that may end by it."""
    import faiss

    index = _gpu_index(faiss, 8, int(words[0]))
    index.add(np.eye(8, dtype=np.float32))
    _, nearest = index.search(np.eye(8, dtype=np.float32), 2)
    return 0 if (nearest[:, 0] == np.arange(8)).all() else 1


def _by_matmul(query: Floats, gallery: Gallery, k: int, device: str | None) -> Iterator[Proposal]:
    del device
    yield from _in_blocks(np.arange(len(query)), query, gallery, k)


def _in_blocks(numbers: Indices, query: Floats, gallery: Gallery, k: int) -> Iterator[Proposal]:
    """Propose for some of the queries every pair that can be among the k nearest.

    The k-th largest of the maxima over groups of columns is a lower bound of the k-th largest
    score; what reaches it within twice the rounding error is proposed, so that nothing nearer can
    be missed.
    """
    num_gallery = len(gallery)
    width = min(64, max(1, num_gallery // (4 * k)))
    margin = 2 * tolerance(query.shape[1])
    for part in blocks(len(numbers), 4 * num_gallery):
        block_B = numbers[part]
        scores_BG = query[block_B] @ gallery.unit_GD.T
        scores_BG -= gallery.half_G
        maxima = np.maximum.reduceat(scores_BG, np.arange(0, num_gallery, width), axis=1)
        place = maxima.shape[1] - k
        bound_B = maxima.max(axis=1) if k == 1 else np.partition(maxima, place, axis=1)[:, place]
        is_near = scores_BG >= (bound_B - margin)[:, None]
        has_many_B = is_near.sum(axis=1) * _MANY > num_gallery
        if has_many_B.any():
            yield block_B[has_many_B], None
        if not has_many_B.all():
            rows, columns = np.nonzero(is_near[~has_many_B])
            yield block_B[~has_many_B], (rows, columns)


def propose_classes(
    query: Floats, gallery: Gallery, order_G: Indices, starts_C: Indices, k: int
) -> Iterator[Proposal]:
    """Yield for every query what can be the nearest of its class, of classes among the k nearest.

    Args:
        query: at unit length, or zero.
        gallery: what is searched.
        order_G: its entries, class by class.
        starts_C: where each class begins in this order.
        k: classes that are wanted.
    """
    num_gallery, num_classes = len(gallery), len(starts_C)
    sizes_C = np.diff(starts_C, append=num_gallery)
    margin = 2 * tolerance(query.shape[1])
    for part in blocks(len(query), 12 * num_gallery):
        numbers = np.arange(len(query))[part]
        scores_BG = query[part] @ gallery.unit_GD.T
        scores_BG -= gallery.half_G
        scores_BG = scores_BG[:, order_G]
        best_BC = np.maximum.reduceat(scores_BG, starts_C, axis=1)
        bound_B = np.partition(best_BC, num_classes - k, axis=1)[:, num_classes - k]
        best_BC[best_BC < (bound_B - margin)[:, None]] = np.inf
        is_near = scores_BG >= np.repeat(best_BC - margin, sizes_C, axis=1)
        has_many_B = is_near.sum(axis=1) * _MANY > num_gallery
        if has_many_B.any():
            yield numbers[has_many_B], None
        if not has_many_B.all():
            rows, places = np.nonzero(is_near[~has_many_B])
            yield numbers[~has_many_B], (rows, order_G[places])


def _by_torch(query: Floats, gallery: Gallery, k: int, device: str | None) -> Iterator[Proposal]:
    """Propose by products on a device; numpy takes what its memory does not suffice for."""
    import torch

    def rest(numbers: Indices) -> Iterator[Proposal]:
        return _by_matmul(query[numbers], gallery, k, None)

    own = _on_device(query, gallery, k, torch.device(device or "cuda"))
    yield from _else(own, torch.OutOfMemoryError, rest, len(query))


def _on_device(query: Floats, gallery: Gallery, k: int, place: torch.device) -> Iterator[Proposal]:
    """Propose by products on a device; the pairs alone come back from it."""
    import torch

    # Files that are mapped cannot be written to, which torch asks of an array.
    unit_GD = torch.from_numpy(np.require(gallery.unit_GD, requirements="W")).to(place)
    half_G = torch.from_numpy(gallery.half_G).to(place)
    is_rounded = place.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
    margin = 2 * (tolerance(query.shape[1]) + (_TF32_ERROR if is_rounded else 0.0))
    for part in blocks(len(query), 4 * len(gallery), DEVICE_BLOCK_BYTES):
        block_BD = torch.from_numpy(query[part]).to(place)
        scores_BG = (block_BD @ unit_GD.T).sub_(half_G)
        bound_B1 = scores_BG.topk(k, dim=1).values[:, -1:] - margin
        is_near = scores_BG >= bound_B1
        has_many_B = is_near.sum(dim=1) * _MANY > len(gallery)
        numbers = np.arange(len(query))[part]
        is_long_B = has_many_B.cpu().numpy()
        if is_long_B.any():
            yield numbers[is_long_B], None
        if not is_long_B.all():
            rows, columns = is_near[~has_many_B].nonzero(as_tuple=True)
            yield numbers[~is_long_B], (rows.cpu().numpy(), columns.cpu().numpy())


def _else(
    proposals: Iterator[Proposal],
    error: type[Exception],
    rest: Callable[[Indices], Iterator[Proposal]],
    num_queries: int,
) -> Iterator[Proposal]:
    """Pass proposals on; where they end in an error, take those of the other queries from `rest`.

    Args:
        proposals: of queries in any order.
        error: what may end them.
        rest: proposes for queries by their numbers, counting among these.
        num_queries: of all.
    """
    is_left_Q = np.ones(num_queries, dtype=np.bool_)
    try:
        for numbers, pairs in proposals:
            is_left_Q[numbers] = False
            yield numbers, pairs
    except error as e:
        left = np.flatnonzero(is_left_Q)
        text = str(e).partition("\n")[0]
        logger.warning("%d neighbours are searched another way: %s", len(left), text)
        for rows, pairs in rest(left):
            yield left[rows], pairs


def _by_faiss(query: Floats, gallery: Gallery, k: int, device: str | None) -> Iterator[Proposal]:
    """Propose what faiss finds on the CPU; what it leaves open goes by numpy."""
    del device
    index = _faiss().IndexFlatIP(gallery.unit_GD.shape[1])
    for numbers, pairs in _by_index(index, query, gallery, k):
        if pairs is not None:
            yield numbers, pairs
        else:
            yield from _in_blocks(numbers, query, gallery, k)


def _by_faiss_gpu(
    query: Floats, gallery: Gallery, k: int, device: str | None
) -> Iterator[Proposal]:
    """Propose what faiss finds on a GPU; what it leaves open, or cannot do, goes by torch."""

    def rest(numbers: Indices) -> Iterator[Proposal]:
        return _by_torch(query[numbers], gallery, k, device)

    def own() -> Iterator[Proposal]:
        card = _card_number(device)
        _demand_room(gallery, device)
        index = _gpu_index(_faiss(), gallery.unit_GD.shape[1], card)
        for numbers, pairs in _by_index(index, query, gallery, k):
            if pairs is not None:
                yield numbers, pairs
                continue
            for rows, found in rest(numbers):
                yield numbers[rows], found

    # Of faiss's own allocations; what else fails within it ends the process.
    yield from _else(own(), RuntimeError, rest, len(query))


def _demand_room(gallery: Gallery, device: str | None) -> None:
    """Raise a RuntimeError where the GPU has not what faiss is about to take."""
    import torch

    place = torch.device(device or "cuda")
    if place.type != "cuda":
        return
    needed = gallery.unit_GD.nbytes + _FAISS_SCRATCH_BYTES + _FAISS_OWN_BYTES
    free, _ = torch.cuda.mem_get_info(place)
    if free < needed:
        raise RuntimeError(f"faiss may take {needed >> 20} MiB of the GPU, {free >> 20} are free")


def _card_number(device: str | None) -> int:
    import torch

    index: int | None = torch.device(device or "cuda").index
    return torch.cuda.current_device() if index is None else index


def _gpu_index(faiss: Any, dim: int, card: int) -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_FAISS_SCRATCH_BYTES)
    resources.setPinnedMemory(0)  # of the host: 256 MiB, allocated anew for every index
    config = faiss.GpuIndexFlatConfig()
    config.device = card
    return faiss.GpuIndexFlatIP(resources, dim, config)


def _by_index(index: Any, query: Floats, gallery: Gallery, k: int) -> Iterator[Proposal]:
    """Propose what an empty faiss index of inner products finds.

    None stands for queries with more candidates than the index was asked for.
    """
    index.add(gallery.unit_GD)
    wanted = min(k + _FAISS_EXTRA, len(gallery))
    margin = 2 * tolerance(query.shape[1])
    step = max(1, min(_FAISS_BLOCK, _FAISS_BLOCK_PAIRS // wanted))
    for start in range(0, len(query), step):
        values, columns = index.search(query[start : start + step], wanted)
        bound = values[:, k - 1] - margin
        is_open = (values[:, -1] >= bound) & (wanted < len(gallery))
        numbers = start + np.arange(len(values))
        closed = np.flatnonzero(~is_open)
        if len(closed):
            rows, slots = np.nonzero(values[closed] >= bound[closed, None])
            yield numbers[closed], (rows, columns[closed][rows, slots])
        if is_open.any():
            yield numbers[is_open], None


def _faiss() -> Any:
    """Load faiss, after torch where that is installed."""
    if importlib.util.find_spec("torch") is not None and "torch" not in sys.modules:
        import torch  # noqa: F401 - faiss must be loaded after torch
    import faiss

    return faiss


BACKENDS: dict[str, Callable[[Floats, Gallery, int, str | None], Iterator[Proposal]]] = {
    "matmul": _by_matmul,
    "torch": _by_torch,
    "faiss": _by_faiss,
    "faiss-gpu": _by_faiss_gpu,
}
