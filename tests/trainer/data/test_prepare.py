import logging
import os
from dataclasses import replace

import pytest

from tests.count_calls import count_calls
from trainer.config.loss import LossConfig
from trainer.data.cached_sets import list_caches
from trainer.data.prepare import prepare_data
from trainer.data.splits import decode_split, load_splits, scan_splits


def test_all_splits_are_decoded_ahead(make_folder, make_spec):
    counts = {"train": {"a": 3}, "reference": {"a": 1}, "query": {"a": 2}}
    calls = []
    spec = make_spec(*(make_folder(name, classes) for name, classes in counts.items()))
    assert prepare_data(spec, lambda *c: calls.append(c)) == {
        "train": 3,
        "reference": 1,
        "query": 2,
    }
    assert sorted(entry.num_images for entry in list_caches()) == [1, 2, 3]
    assert {(what, total) for what, _, total in calls} == {
        ("decoding pictures", n) for n in (1, 2, 3)
    }


def test_without_a_training_set_the_others_are_prepared(make_folder, make_spec):
    spec = make_spec("", make_folder("reference", {"a": 1}))
    assert prepare_data(spec) == {"reference": 1}


@pytest.mark.parametrize(
    ("changes", "sets"),
    [
        ({}, 3),
        ({"head_epochs": 2}, 4),
        ({"loss": LossConfig(name="arcface", start="class_means")}, 4),
        ({"loss": LossConfig(name="triplet", start="class_means")}, 3),  # has no class vectors
        ({"head_epochs": 2, "train_trunk": False}, 4),
    ],
)
def test_what_the_head_learns_from_is_prepared(make_folder, make_spec, changes, sets):
    spec = make_spec(*(make_folder(name, {"a": 2, "b": 2}) for name in ("t", "reference", "query")))
    spec = replace(spec, train=replace(spec.train, **changes))
    assert prepare_data(spec) == {"train": 4, "reference": 4, "query": 4}
    assert len(list_caches()) == sets
    clean = count_calls(decode_split, spec, "query", scan_splits(spec)["train"], of="decode_into")
    assert clean == (sets == 3)


@pytest.mark.parametrize("train", [9, 30])  # less than the bound, and more
def test_splits_beyond_the_bound_of_the_cache_are_decoded_once(
    make_folder, make_spec, monkeypatch, caplog, train
):
    counts = {"train": train, "reference": 9, "query": 9}
    spec = make_spec(*(make_folder(name, {"a": n, "b": 2}) for name, n in counts.items()))
    monkeypatch.setenv("HPO_CACHE_GB", "0.00008")
    assert count_calls(prepare_data, spec, of="decode_into") == 3
    assert count_calls(load_splits, spec, of="decode_into") == 0
    assert count_calls(load_splits, spec, of="decode_into") == 0
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert all("HPO_CACHE_GB allows 80 kB for all; raise it, or " in line for line in told)
    alone = ["train: needs 197 kB, and"] if train == 30 else []
    kept = "197" if train == 30 else "68"
    expected = [*alone, f"reference: needs 17 kB beside {kept} kB in use", "query: needs 17 kB"]
    for line, words in zip(told, expected, strict=True):
        assert words in line


def test_a_second_time_reads_no_image(make_folder, make_spec):
    root = make_folder("train", {"a": 3})
    spec = make_spec(root)
    prepare_data(spec)
    for path in root.rglob("*.png"):
        os.utime(path, (1, path.stat().st_mtime))  # this also changes the inode's time: a new key
    first = len(list_caches())
    prepare_data(spec)
    prepare_data(spec)
    assert len(list_caches()) == first + 1
