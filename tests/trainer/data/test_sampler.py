from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.sampler import PKSampler
from trainer.errors import DataError

BALANCED = np.repeat(np.arange(10), 8)


def test_epoch_has_the_documented_length_and_shape():
    sampler = PKSampler(BALANCED, 16, 4, seed=1)
    batches = list(sampler.batches(0))
    assert len(batches) == len(sampler) == 80 // 16
    assert all(batch.shape == (16,) and batch.dtype == np.int64 for batch in batches)


def test_tiny_set_still_gives_one_batch():
    assert len(PKSampler(np.array([0, 0, 1, 1]), 8, 4, seed=1)) == 1


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=4, max_size=12),
    num_instance=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_batches_hold_p_classes_of_k_distinct_images(counts, num_instance, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    sampler = PKSampler(labels, 4 * num_instance, num_instance, seed)
    for batch in islice(sampler.batches(0), 30):
        drawn = labels[batch].reshape(4, num_instance)
        assert (drawn == drawn[:, :1]).all()
        assert len(set(drawn[:, 0].tolist())) == 4
        for label, images in zip(drawn[:, 0], batch.reshape(4, num_instance), strict=True):
            assert len(set(images.tolist())) == min(num_instance, counts[label])


def test_same_seed_and_epoch_repeat_and_others_differ():
    def draw(seed, epoch):
        return np.concatenate(list(PKSampler(BALANCED, 16, 4, seed).batches(epoch)))

    np.testing.assert_array_equal(draw(1, 3), draw(1, 3))
    assert (draw(1, 3) != draw(1, 4)).any()
    assert (draw(1, 3) != draw(2, 3)).any()


def test_every_class_is_seen_in_an_epoch_and_none_twice_as_often():
    sampler = PKSampler(BALANCED, 16, 4, seed=5)
    seen = Counter(BALANCED[np.concatenate(list(sampler.batches(0)))].tolist())
    assert set(seen) == set(range(10))
    assert set(seen.values()) == {8}


def test_balanced_epoch_shows_every_image_once():
    drawn = np.concatenate(list(PKSampler(BALANCED, 8, 2, seed=3).batches(0)))
    assert sorted(drawn.tolist()) == list(range(80))


def test_rare_classes_are_drawn_as_often_as_common_ones():
    labels = np.repeat([0, 1, 2, 3], [200, 200, 8, 8])
    drawn = labels[np.concatenate(list(PKSampler(labels, 8, 4, seed=0).batches(0)))]
    counts = np.bincount(drawn)
    assert counts.max() - counts.min() <= 4


def test_processes_share_the_batches_out():
    alone = list(PKSampler(BALANCED, 8, 2, seed=3).batches(1))
    shares = [
        list(PKSampler(BALANCED, 8, 2, seed=3, rank=rank, world_size=2).batches(1))
        for rank in range(2)
    ]
    assert [len(share) for share in shares] == [5, 5]
    for step in range(5):
        np.testing.assert_array_equal(shares[0][step], alone[2 * step])
        np.testing.assert_array_equal(shares[1][step], alone[2 * step + 1])


def test_too_few_classes_say_what_to_set():
    with pytest.raises(DataError, match=r"needs 8 classes.*has 5: set train.batch_size to 20"):
        PKSampler(np.repeat(np.arange(5), 4), 32, 4, seed=0)


@pytest.mark.parametrize(("batch", "instances"), [(10, 4), (2, 4), (4, 0)])
def test_batch_must_be_a_multiple_of_the_instances(batch, instances):
    with pytest.raises(DataError, match=r"must be a multiple of dataset\.num_instance"):
        PKSampler(BALANCED, batch, instances, seed=0)
