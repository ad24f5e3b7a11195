"""P classes x K images per batch, so that every batch holds positives and negatives to mine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class PKSampler:
    """Draws batches of P = batch_size / num_instance classes with K = num_instance images each.

    An epoch walks the classes in random rounds: no class comes again before all others have come,
    and the images of a class are gone through in the same way, so with balanced classes an epoch
    shows nearly every image once. Images repeat within a batch only where a class has fewer than K.
    The state is (seed, epoch): any epoch can be drawn again on its own, which is what resuming
    needs.

        sampler = PKSampler(labels, batch_size=32, num_instance=4, seed=1)
        for indices in sampler.batches(epoch=0): ...   # len(sampler) arrays of shape (32,)

    Args:
        labels: class index of each image, shape (N,).
        batch_size: images per batch and device.
        num_instance: images per class in a batch (K).
        seed: of the whole run.
        rank: this process among several, which share the classes out between them.
        world_size: how many processes draw.

    Raises:
        DataError: the batch is no multiple of K, or there are fewer than P classes.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        batch_size: int,
        num_instance: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_instance < 1 or batch_size < num_instance or batch_size % num_instance:
            raise DataError(
                "train.batch_size must be a multiple of dataset.num_instance, "
                f"got {batch_size} and {num_instance}"
            )
        counts = np.unique(labels, return_counts=True)[1]
        members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        self._classes_per_batch = batch_size // num_instance
        if len(members) < self._classes_per_batch:
            raise DataError(
                f"train.batch_size {batch_size} with dataset.num_instance {num_instance} needs "
                f"{self._classes_per_batch} classes in a batch, dataset.train_dataset has "
                f"{len(members)}: set train.batch_size to {len(members) * num_instance} or less"
            )
        self._members = members
        self._num_instance = num_instance
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._num_batches = max(1, len(labels) // (batch_size * world_size))

    def __len__(self) -> int:
        """Batches per epoch and process."""
        return self._num_batches

    def batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Draw one epoch.

        Args:
            epoch: counted from 0; the same number gives the same batches again.

        Yields:
            Image indices of shape (batch_size,), the K images of a class side by side.
        """
        rng = np.random.default_rng([self._seed, epoch])
        classes = _ClassRounds(len(self._members), rng)
        images = [_ImageRounds(member, rng) for member in self._members]
        for step in range(self._num_batches * self._world_size):
            chosen = classes.take(self._classes_per_batch)
            batch = np.concatenate([images[c].take(self._num_instance) for c in chosen])
            if step % self._world_size == self._rank:
                yield batch


class _ClassRounds:
    """Class indices in shuffled rounds, distinct within one call."""

    def __init__(self, num_classes: int, rng: np.random.Generator) -> None:
        self._num_classes = num_classes
        self._rng = rng
        self._queue: list[int] = []

    def take(self, count: int) -> list[int]:
        chosen, self._queue = self._queue[:count], self._queue[count:]
        if len(chosen) < count:
            fresh = [int(c) for c in self._rng.permutation(self._num_classes)]
            missing = count - len(chosen)
            new = [c for c in fresh if c not in chosen]
            late = [
                c for c in fresh if c in chosen
            ]  # they were drawn just now: their turn in the round comes later
            chosen, self._queue = chosen + new[:missing], new[missing:] + late
        return chosen


class _ImageRounds:
    """Images of one class in shuffled rounds, distinct within one call where there are enough."""

    def __init__(self, members: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._members = members
        self._rng = rng
        self._queue = rng.permutation(members)

    def take(self, count: int) -> NDArray[np.int64]:
        if len(self._members) < count:
            extra = self._rng.choice(self._members, count - len(self._members))
            return np.concatenate([self._rng.permutation(self._members), extra])
        chosen, self._queue = self._queue[:count], self._queue[count:]
        missing = count - len(chosen)
        if missing:
            fresh = self._rng.permutation(self._members)
            again = np.isin(fresh, chosen)
            new, late = fresh[~again], fresh[again]
            chosen = np.concatenate([chosen, new[:missing]])
            self._queue = np.concatenate([new[missing:], late])
        return chosen
