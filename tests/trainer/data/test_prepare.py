import os

from trainer.data.cached_sets import list_caches
from trainer.data.prepare import prepare_data


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
