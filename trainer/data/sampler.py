"""Which pictures each training batch holds: P classes x K pictures, or any pictures at random.

Classes and pictures are gone through in shuffled rounds that go on from epoch to epoch, so that
every picture comes in time. A batch is a function of the seed and of its number in the whole run:
any epoch can be drawn again on its own, which is what resuming needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_CLASSES, _IMAGES, _ANY_IMAGES = 1, 2, 3
"""First words of the seeds of what is shuffled."""


class Sampler(ABC):
    """Draws the training batches of one process.

    Args:
        num_images: N.
        batch_size: images per batch and device.
        rank: this process among several, which share the batches out between them.
        world_size: how many processes draw.
    """

    name: str
    """The value of `dataset.sampling` that it stands for."""

    def __init__(self, num_images: int, batch_size: int, rank: int, world_size: int) -> None:
        self._rank = rank
        self._world_size = world_size
        self._num_batches = max(1, num_images // (batch_size * world_size))

    def __len__(self) -> int:
        """Batches per epoch and process."""
        return self._num_batches

    def batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Draw one epoch.

        Args:
            epoch: counted from 0; the same number gives the same batches again.

        Yields:
            Image indices of shape (batch_size,).
        """
        start, step = epoch * len(self) * self._world_size, self._world_size
        for number in range(start + self._rank, start + len(self) * step, step):
            yield self._draw(number)

    @abstractmethod
    def _draw(self, number: int) -> NDArray[np.int64]:
        """Return the batch with this number, counted over the whole run."""


class PKSampler(Sampler):
    """Draws batches of P = batch_size / num_instance classes with K = num_instance images each.

    No class comes again before all others have come. The images of a class are gone through in the
    same way, K at a time; where K does not divide their number, the last of a round come with some
    of its first. Images repeat within a batch only where a class has fewer than K.

        sampler = PKSampler(labels, batch_size=32, num_instance=4, seed=1)
        for indices in sampler.batches(epoch=0): ...   # len(sampler) arrays of shape (32,)

    Args:
        labels: class index of each image, shape (N,).
        batch_size: images per batch and device.
        num_instance: images per class in a batch (K).
        seed: of the whole run.
        rank: this process among several, which share the batches out between them.
        world_size: how many processes draw.

    Raises:
        DataError: there are fewer than P classes.
    """

    name = "classes"

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
        super().__init__(len(labels), batch_size, rank, world_size)
        counts = np.unique(labels, return_counts=True)[1]
        members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        num_classes, per_batch = len(members), batch_size // num_instance
        if num_classes < per_batch:
            raise DataError(
                f"train.batch_size {batch_size} with dataset.num_instance {num_instance} needs "
                f"{per_batch} classes in a batch, dataset.train_dataset has {num_classes}: "
                f"set train.batch_size to {num_classes * num_instance} or less"
            )
        self._classes = _ClassWalk(num_classes, per_batch, (_CLASSES, seed))
        self._images = [
            _Rounds(own, num_instance, (_IMAGES, seed, c)) for c, own in enumerate(members)
        ]

    def _draw(self, number: int) -> NDArray[np.int64]:
        """Return a batch, the K images of a class side by side."""
        turns = self._classes.batch(number)
        return np.concatenate([self._images[c].draw(turn) for c, turn in turns])


class RandomSampler(Sampler):
    """Draws batches of images whatever their classes, each as often as any other.

    Args:
        num_images: N.
        batch_size: images per batch and device.
        seed: of the whole run.
        rank: this process among several, which share the batches out between them.
        world_size: how many processes draw.
    """

    name = "random"

    def __init__(
        self, num_images: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(num_images, batch_size, rank, world_size)
        self._images = _Rounds(np.arange(num_images), batch_size, (_ANY_IMAGES, seed))

    def _draw(self, number: int) -> NDArray[np.int64]:
        return self._images.draw(number)


class _Rounds:
    """Members in shuffled rounds, some at a time; any draw is known without those before it."""

    def __init__(self, members: NDArray[np.int64], size: int, seed: tuple[int, ...]) -> None:
        self._members = members
        self._size = size
        self._seed = seed
        self._draws_per_round = -(-len(members) // size)
        self._round = -1
        self._order = members

    def draw(self, number: int) -> NDArray[np.int64]:
        """Return the members of the draw with this number, counted from 0."""
        round_, place = divmod(number, self._draws_per_round)
        if round_ != self._round:
            self._order, self._round = self._shuffled(round_), round_
        return self._order[place * self._size : (place + 1) * self._size]

    def _shuffled(self, round_: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([*self._seed, round_])
        order = rng.permutation(self._members)
        missing = self._draws_per_round * self._size - len(order)
        few = len(order) < self._size
        again = rng.choice(self._members, missing) if few else order[:missing]
        return np.concatenate([order, again])


class _ClassWalk:
    """Classes of one batch after another in shuffled rounds, distinct within a batch."""

    def __init__(self, num_classes: int, per_batch: int, seed: tuple[int, ...]) -> None:
        self._num_classes = num_classes
        self._per_batch = per_batch
        self._seed = seed
        self._restart()

    def batch(self, number: int) -> list[tuple[int, int]]:
        """Return the classes of a batch, each with how often it came in the batches before."""
        if number < self._number:
            self._restart()
        while self._number < number:
            self._take()
        return self._take()

    def _restart(self) -> None:
        self._number = 0
        self._round = 0
        self._queue: list[int] = []
        self._turns = [0] * self._num_classes

    def _take(self) -> list[tuple[int, int]]:
        count = self._per_batch
        chosen, self._queue = self._queue[:count], self._queue[count:]
        if len(chosen) < count:
            fresh = self._shuffled()
            missing = count - len(chosen)
            new = [c for c in fresh if c not in chosen]
            # Those drawn just now: their turn in the round comes later.
            late = [c for c in fresh if c in chosen]
            chosen, self._queue = chosen + new[:missing], new[missing:] + late
        turns = [(c, self._turns[c]) for c in chosen]
        for c in chosen:
            self._turns[c] += 1
        self._number += 1
        return turns

    def _shuffled(self) -> list[int]:
        rng = np.random.default_rng([*self._seed, self._round])
        self._round += 1
        order: list[int] = rng.permutation(self._num_classes).tolist()
        return order
