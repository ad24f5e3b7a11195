"""Compares each batch with the embeddings of those before it (cross-batch memory, Wang 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytorch_metric_learning.losses import CrossBatchMemory

if TYPE_CHECKING:
    from torch import Tensor


class BatchMemory(CrossBatchMemory):  # type: ignore[misc]  # the library has no types
    """A loss over pairs of a batch's embeddings with the newest ones of the run.

    The memory is a ring, part of the state; the miner inside selects the pairs.
    """

    def take_in(self, emb_ND: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Put a batch into the ring.

        Returns:
            What the ring holds now: embeddings and labels; and where in it the batch lies.
        """
        self.add_to_memory(emb_ND, labels_N, len(labels_N))
        filled = self.memory_size if self.has_been_filled else self.queue_idx
        return self.embedding_memory[:filled], self.label_memory[:filled], self.curr_batch_idx

    def get_extra_state(self) -> dict[str, Any]:
        """Return where the ring stands: the library keeps that outside its buffers."""
        return {"place": self.queue_idx, "is_full": self.has_been_filled}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put the ring back where it stood."""
        self.queue_idx, self.has_been_filled = state["place"], state["is_full"]
