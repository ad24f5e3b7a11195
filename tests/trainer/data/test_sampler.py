from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.sampler import PKSampler, RandomSampler
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


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=4, max_size=12),
    num_instance=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_image_comes_within_the_epochs_that_its_class_needs(counts, num_instance, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    sampler = PKSampler(labels, 4 * num_instance, num_instance, seed)
    # A class comes once in as many batches as classes need; each time with K of its images.
    rounds = -(-max(counts) // num_instance)
    epochs = -(-rounds * len(counts) // (4 * len(sampler))) + 1
    seen = {int(i) for epoch in range(epochs) for batch in sampler.batches(epoch) for i in batch}
    assert len(seen) == len(labels)


def test_a_class_of_2000_beside_small_ones_is_seen_whole():
    labels = np.repeat(np.arange(31), [2000] + [20] * 30)
    sampler = PKSampler(labels, 32, 4, seed=7)
    seen, num_seen = set(), []
    for epoch in range(25):
        drawn = np.concatenate(list(sampler.batches(epoch)))
        num_seen.append(len(np.unique(drawn[labels[drawn] == 0])))
        seen |= set(drawn[labels[drawn] == 0].tolist())
    assert -(-2000 // min(num_seen)) == 25
    assert len(seen) == 2000


def test_an_epoch_is_the_same_whether_the_ones_before_were_drawn_or_not():
    labels = np.repeat(np.arange(7), [3, 9, 30, 5, 5, 8, 21])
    whole = PKSampler(labels, 12, 3, seed=4)
    in_order = [np.stack(list(whole.batches(epoch))) for epoch in range(6)]
    for epoch in (5, 2, 4):
        alone = np.stack(list(PKSampler(labels, 12, 3, seed=4).batches(epoch)))
        np.testing.assert_array_equal(alone, in_order[epoch])
        np.testing.assert_array_equal(np.stack(list(whole.batches(epoch))), in_order[epoch])


def test_random_batches_hold_distinct_images_and_every_image_comes_in_time():
    sampler = RandomSampler(75, 8, seed=2)
    epochs = [np.stack(list(sampler.batches(epoch))) for epoch in range(4)]
    assert len(sampler) == 75 // 8 == 9
    assert all(len(set(batch.tolist())) == 8 for epoch in epochs for batch in epoch)
    # 10 batches go through all 75, so the second epoch ends what the first began.
    assert len(set(np.concatenate([epochs[0], epochs[1][:1]]).ravel().tolist())) == 75
    counts = np.bincount(np.concatenate(epochs).ravel(), minlength=75)
    assert counts.min() >= 3
    assert counts.max() <= 6
    np.testing.assert_array_equal(np.stack(list(RandomSampler(75, 8, 2).batches(3))), epochs[3])
    assert (np.stack(list(RandomSampler(75, 8, 3).batches(0))) != epochs[0]).any()


def test_random_batches_are_shared_out_between_processes():
    alone = list(RandomSampler(75, 4, seed=3).batches(0))
    shares = [list(RandomSampler(75, 4, 3, rank=r, world_size=2).batches(0)) for r in range(2)]
    assert [len(share) for share in shares] == [9, 9]
    np.testing.assert_array_equal(np.stack(shares[0]), np.stack(alone[0::2]))
    np.testing.assert_array_equal(np.stack(shares[1]), np.stack(alone[1::2]))


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
