import os
import shutil
import unicodedata
from dataclasses import replace

import pytest

from tests.count_calls import count_calls
from trainer.data.inspect import inspect_data
from trainer.errors import DataError, ImageError


@pytest.fixture
def folders(make_folder):
    return {
        "train": make_folder("train", {"a": 4, "b": 3}),
        "reference": make_folder("reference", {"a": 2, "b": 2}),
        "query": make_folder("query", {"a": 2, "b": 1}),
    }


def kinds(result):
    return sorted(finding["kind"] for finding in result["findings"])


def one(result, kind):
    (finding,) = [f for f in result["findings"] if f["kind"] == kind]
    return finding


def test_splits_are_counted(folders, make_spec):
    result = inspect_data(make_spec(**folders))
    assert result["splits"] == {
        "train": {"images": 7, "classes": 2, "per_class_min": 3, "per_class_max": 4},
        "reference": {"images": 4, "classes": 2, "per_class_min": 2, "per_class_max": 2},
        "query": {"images": 3, "classes": 2, "per_class_min": 1, "per_class_max": 2},
    }


def test_what_the_metric_is_a_share_of_is_told_of_the_queries_that_count(
    folders, make_spec, make_folder
):
    spec = make_spec(**folders)
    assert inspect_data(spec)["share_of"] == pytest.approx(2**2 / (1 / 2 + 1 / 1))
    over_queries = replace(spec, train=replace(spec.train, report_accuracy_per_class=False))
    assert inspect_data(over_queries)["share_of"] == 3
    other = make_folder("more", {"a": 2, "b": 1, "z": 5})
    left_out = make_spec(**folders | {"query": other}, ignore_unmatched=True)
    assert inspect_data(left_out)["share_of"] == pytest.approx(2**2 / (1 / 2 + 1 / 1))


def test_the_same_pictures_are_looked_at_once(folders, make_spec):
    spec, told = make_spec(**folders), []

    def looks(spec):
        return count_calls(lambda: told.append(inspect_data(spec)), of="_same_content")

    assert [looks(spec), looks(spec)] == [1, 0]
    told[0]["splits"].clear()
    told[0]["findings"][0]["paths"].clear()
    assert [looks(spec), told[1] == told[2], "train" in told[1]["splits"]] == [0, True, True]
    wider = replace(spec, model=replace(spec.model, input_height=64))
    assert [looks(wider), looks(spec)] == [1, 0]
    shutil.copy(folders["train"] / "a" / "0.png", folders["query"] / "a" / "0.png")
    assert looks(spec) == 1
    assert one(told[-1], "duplicate_across_splits")
    (folders["query"] / "a" / "0.png").write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(ImageError):
            inspect_data(spec)


def test_without_opening_a_picture_all_that_lists_show_is_found(
    folders, make_spec, make_folder, tmp_path
):
    spec, told = make_spec(**folders), []
    found = inspect_data(spec)
    for path in folders["train"].rglob("*.png"):
        path.write_bytes(b"broken")
    assert count_calls(lambda: told.append(inspect_data(spec, opens=False)), of="load_splits") == 0
    assert {k: v for k, v in told[0].items() if k != "findings"} == {
        k: v for k, v in found.items() if k != "findings"
    }
    assert kinds(told[0]) == sorted({*kinds(found)} - {"small_image", "duplicate_across_splits"})
    (mapped := tmp_path / "names.yaml").write_text("a: Apple\n")
    with pytest.raises(DataError, match="every class must be named"):
        inspect_data(make_spec(**folders, class_map=str(mapped)), opens=False)
    other = make_spec(**folders | {"query": make_folder("other", {"z": 2})})
    with pytest.raises(DataError, match="no class in common"):
        inspect_data(other, opens=False)


def test_a_picture_replaced_at_its_old_size_and_time_is_looked_at_again(folders, make_spec):
    spec, path = make_spec(**folders), folders["query"] / "a" / "0.png"
    inspect_data(spec)
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ImageError):
        inspect_data(spec)


def test_an_answer_is_kept_as_long_as_class_map_and_other_files_are_the_same(
    folders, make_spec, tmp_path
):
    mapped = tmp_path / "names.yaml"
    mapped.write_text("a: Apple\nb: Bread\n")
    spec = make_spec(**folders, class_map=str(mapped))
    assert "class_map" in repr(spec)
    assert inspect_data(spec) == inspect_data(spec)
    mapped.write_text("a: Apple\n")
    with pytest.raises(DataError, match="every class must be named"):
        inspect_data(spec)
    mapped.unlink()
    with pytest.raises(DataError, match="class_map"):
        inspect_data(spec)
    mapped.write_text("a: Apple\nb: Bread\n")
    before = kinds(inspect_data(spec))
    (folders["train"] / "stray.png").write_bytes((folders["train"] / "a" / "0.png").read_bytes())
    found = kinds(inspect_data(spec))
    assert len(found) == len(before) + 1
    (folders["train"] / "stray.png").unlink()
    assert kinds(inspect_data(spec)) == before


def test_sound_data_have_no_findings_but_their_small_size(folders, make_spec):
    result = inspect_data(make_spec(**folders))
    assert kinds(result) == ["small_image"] * 3  # 24 x 20 where the input is 16 x 32
    assert "7 of 7 pictures are smaller than the input (16 x 32" in one_of(result, "train")


@pytest.mark.parametrize(
    ("height", "width", "told"),
    [
        (
            224,
            224,
            "model.input_height=32 and model.input_width=32 show as much, at 2% of the work",
        ),
        (64, 32, "model.input_height=32 and model.input_width=32 show as much, at 50% of the work"),
        (32, 32, ""),  # 24 x 20 pictures fit no smaller multiple of 32
    ],
)
def test_an_input_that_enlarges_all_pictures_comes_with_one_that_does_not(
    folders, make_spec, height, width, told
):
    spec = make_spec(**folders)
    model = replace(spec.model, input_height=height, input_width=width)
    spec = replace(spec, model=model)
    assert one_of(inspect_data(spec), "train").partition("wide)")[2].removeprefix("; ") == told


def test_cut_pictures_are_small_by_what_they_are_resized_to(folders, make_spec):
    spec = make_spec(**folders, crop_share=0.5)  # 24 x 20 pictures, 16 x 16 of 32 x 32 seen
    model = replace(spec.model, input_height=16, input_width=16)
    message = one_of(inspect_data(replace(spec, model=model)), "train: 7")
    assert "7 of 7 pictures are smaller than what they are resized to (32 x 32 pixels" in message
    wider = replace(spec, dataset=replace(spec.dataset, crop_share=0.8), model=model)
    assert "small_image" not in kinds(inspect_data(wider))


@pytest.mark.parametrize(
    ("height", "width", "crop_share", "told"),
    [
        (8, 320, 0.875, "(median 2%, least 2%)"),  # 16 of 18 rows, of 720 columns
        (250, 8, 1.0, "(median 3%, least 3%)"),
        (30, 40, 0.875, None),
        (30, 60, 1.0, None),  # just half
        (30, 62, 1.0, "(median 48%, least 48%)"),
        (8, 250, 0.0, None),  # squashed: all of it is seen
    ],
)
def test_what_is_cut_away_of_long_pictures_is_told(
    folders, make_spec, make_folder, height, width, crop_share, told
):
    folders["query"] = make_folder("long", {"a": 2, "b": 1}, height=height, width=width)
    spec = make_spec(**folders, crop_share=crop_share)
    spec = replace(spec, model=replace(spec.model, input_height=16, input_width=16))
    result = inspect_data(spec)
    if told is None:
        assert "cut_image" not in kinds(result)
    else:
        found = one(result, "cut_image")
        words = f"query: the network sees less than half of 3 of 3 pictures {told}: "
        assert found["message"].startswith(words)
        assert found["count"] == 3


def one_of(result, split):
    return next(f["message"] for f in result["findings"] if f["message"].startswith(split))


def test_what_is_cut_away_is_told_of_each_split_and_the_advice_once(
    folders, make_spec, make_folder
):
    wide = {**folders, "crop_share": 1.0}  # 24 x 20 pictures, seen as 16 x 32: 10 of 24 rows
    told = [f for f in inspect_data(make_spec(**wide))["findings"] if f["kind"] == "cut_image"]
    first, *others = [f["message"] for f in told]
    assert first.startswith("train: ")
    assert "--set dataset.crop_share=0" in first
    text = "the network sees less than half of {} of {} pictures (median 42%, least 42%)"
    assert others == [f"reference: {text.format(4, 4)}", f"query: {text.format(3, 3)}"]
    test = make_folder("test", {"a": 1, "b": 1})
    (found,) = [f for f in held_out(make_spec, wide, query=test) if f["kind"] == "cut_image"]
    assert found["message"] == f"test: {text.format(2, 2)}"


def test_the_same_picture_in_train_and_query_is_found(folders, make_spec):
    shutil.copy(folders["train"] / "a" / "0.png", folders["query"] / "a" / "copy.png")
    finding = one(inspect_data(make_spec(**folders)), "duplicate_across_splits")
    assert finding["severity"] == "warning"
    assert finding["message"] == "2 files with the same content in query and train"
    assert {path.rsplit("/", 1)[1] for path in finding["paths"]} == {"0.png", "copy.png"}


def test_one_picture_under_two_classes_is_found(folders, make_spec):
    shutil.copy(folders["train"] / "a" / "0.png", folders["train"] / "b" / "copy.png")
    assert one(inspect_data(make_spec(**folders)), "conflicting_labels")["severity"] == "warning"


def test_one_folder_for_two_splits_is_found(folders, make_spec):
    result = inspect_data(make_spec(folders["train"], folders["reference"], folders["reference"]))
    assert one(result, "same_folder")["severity"] == "warning"


def test_queries_are_compared_with_a_training_set_that_is_the_gallery_too(folders, make_spec):
    shutil.copy(folders["train"] / "a" / "0.png", folders["query"] / "a" / "copy.png")
    shutil.copy(folders["train"] / "a" / "1.png", folders["train"] / "b" / "copy.png")
    result = inspect_data(make_spec(folders["train"], folders["train"], folders["query"]))
    assert one(result, "same_folder")["message"] == "train and reference are the same folder"
    crossing = one(result, "duplicate_across_splits")
    assert crossing["message"] == "2 files with the same content in query and train"
    assert one(result, "conflicting_labels")["count"] == 2


def held_out(make_spec, folders, **own):
    """Findings of test pictures beside those of their search."""
    return inspect_data(make_spec(**folders | own), beside=make_spec(**folders))["findings"]


def test_held_out_pictures_are_compared_with_all_others_and_called_test(
    folders, make_spec, make_folder
):
    test = make_folder("test", {"a": 2, "b": 1})
    told = held_out(make_spec, folders, query=test)
    assert [f["kind"] for f in told] == ["small_image"]  # the others' are told of the search
    assert told[0]["message"].startswith("test: 3 of 3 pictures are smaller")
    shutil.copy(folders["train"] / "a" / "0.png", test / "a" / "learned.png")
    shutil.copy(folders["query"] / "b" / "0.png", test / "b" / "seen.png")
    shutil.copy(folders["reference"] / "a" / "1.png", test / "b" / "other.png")
    shutil.copy(folders["train"] / "b" / "1.png", folders["query"] / "b" / "known.png")
    (test / "notes.xyz").write_text("?")
    told = [f["message"] for f in held_out(make_spec, folders, query=test)]
    assert "2 files with the same content in test and train" in told
    assert "2 files with the same content in query and test" in told
    assert "2 files with the content of a file of another class" in told
    assert "test: 1 .xyz file was skipped" in told
    assert not any("query and train" in message or "reference:" in message for message in told)
    gallery = make_folder("shelf", {"a": 2, "b": 2})
    shutil.copy(folders["train"] / "a" / "0.png", gallery / "a" / "learned.png")
    told = [f["message"] for f in held_out(make_spec, folders, query=test, reference=gallery)]
    assert "3 files with the same content in test and test_reference and train" in told
    assert any(message.startswith("test_reference: 5 of 5") for message in told)
    (same,) = [f for f in held_out(make_spec, folders) if f["kind"] == "same_folder"]
    assert same["message"] == "query and test are the same folder"


def test_files_are_read_once_more_to_compare_held_out_ones_with_them(
    folders, make_spec, make_folder
):
    inspect_data(make_spec(**folders))
    test = make_folder("test", {"a": 2, "b": 1})
    shutil.copy(folders["train"] / "a" / "0.png", test / "a" / "learned.png")
    assert count_calls(held_out, make_spec, folders, query=test, of="_same_content") == 1
    # The same pictures as those of a search of their own are compared among themselves.
    one(inspect_data(make_spec(**folders | {"query": test})), "duplicate_across_splits")


def test_a_class_in_two_spellings_of_unicode_is_one_where_files_are_compared(folders, make_spec):
    for split, form in (("train", "NFC"), ("reference", "NFC"), ("query", "NFD")):
        name = unicodedata.normalize(form, "caf\u00e9")
        folders[split] = (folders[split] / "a").rename(folders[split] / name).parent
    copied = next(folders["train"].glob("caf*/0.png"))
    shutil.copy(copied, next(folders["query"].glob("caf*")) / "copy.png")
    result = inspect_data(make_spec(**folders))
    assert one(result, "duplicate_across_splits")["count"] == 2
    assert "conflicting_labels" not in kinds(result)


def test_empty_small_and_uneven_classes_are_found(folders, make_spec, make_folder):
    folders["train"] = make_folder("big", {"a": 45, "b": 2, "c": 2})
    (folders["train"] / "empty").mkdir()
    spec = make_spec(**folders)
    result = inspect_data(spec)
    assert one(result, "empty_class")["message"].endswith("1 class folder holds no picture: empty")
    uneven = one(result, "imbalance")
    assert uneven["message"].endswith("from 2 (b) to 45 (a) pictures per class; batches draw all classes alike")  # fmt: skip
    assert uneven["severity"] == "info"
    assert "small_class" not in kinds(result)


def test_what_uneven_classes_come_to_is_told_as_batches_are_drawn(folders, make_spec, make_folder):
    folders["train"] = make_folder("big", {"a": 45, "b": 2})
    spec = make_spec(**folders)
    assert kinds(drawn(spec, "classes", 4)).count("small_class") == 1
    told = drawn(spec, "random", 4)
    assert "small_class" not in kinds(told)  # no batch repeats their pictures
    uneven = one(told, "imbalance")
    assert "batches follow these numbers" in uneven["message"]
    assert uneven["message"].endswith("--set dataset.sampling=classes draws all classes alike")
    assert uneven["severity"] == "warning"


def drawn(spec, sampling, num_instance):
    dataset = replace(spec.dataset, sampling=sampling, num_instance=num_instance)
    return inspect_data(replace(spec, dataset=dataset))


def test_classes_below_the_instances_are_found(folders, make_spec):
    result = inspect_data(make_spec(**folders))
    assert "small_class" not in kinds(result)
    (folders["train"] / "b" / "2.png").unlink()
    assert "small_class" not in kinds(inspect_data(make_spec(**folders)))


def test_dropped_queries_are_found(folders, make_spec, make_folder):
    folders["query"] = make_folder("more", {"a": 1, "z": 3})
    finding = one(inspect_data(make_spec(**folders, ignore_unmatched=True)), "unmatched_class")
    assert "1 class (3 pictures) left out, as not in the reference: z" in finding["message"]


def test_a_class_with_one_image_is_refused_by_name(folders, make_spec):
    for name in ("1.png", "2.png"):
        (folders["train"] / "b" / name).unlink()
    with pytest.raises(DataError, match=r"dataset.train_dataset: .* 1 of 2 have one: b;") as caught:
        inspect_data(make_spec(**folders))
    assert "\n" not in str(caught.value)


def test_classes_that_differ_in_spelling_alone_are_found(folders, make_spec):
    first = sorted(folders["train"].iterdir())[0]
    shutil.copytree(first, first.with_name(first.name.upper()))
    finding = one(inspect_data(make_spec(**folders)), "similar_classes")
    assert (
        f"{first.name.upper()!r} and {first.name!r} differ in spelling alone" in finding["message"]
    )
    assert len(finding["paths"]) == 2


@pytest.mark.parametrize("split", ["train", "reference"])
def test_a_single_class_is_refused(folders, make_spec, make_folder, split):
    folders |= {split: make_folder("lone", {"a": 4}), "query": make_folder("asked", {"a": 2})}
    where = r"(train_|reference: ).*lone: two classes or more must be there to tell apart, got a"
    with pytest.raises(DataError, match=where):
        inspect_data(make_spec(**folders))


@pytest.mark.parametrize(
    ("train", "gallery", "asked", "told"),
    [
        ("abcd", "abc", "abc", {"class_not_in_reference": "d"}),
        ("abcd", "abcd", "ab", {"class_not_in_query": "c, d"}),
        ("abcd", "abc", "ab", {"class_not_in_reference": "d", "class_not_in_query": "c"}),
        ("abc", "abcz", "abz", {"class_not_in_query": "c", "class_not_in_train": "z"}),
        ("ab", "xyz", "xyz", {}),  # by class on purpose
    ],
)
def test_classes_that_miss_from_a_split_are_named(
    make_spec, make_folder, train, gallery, asked, told
):
    split = {"train": (train, 4), "reference": (gallery, 2), "query": (asked, 1)}
    made = {n: make_folder(n, dict.fromkeys(names, k)) for n, (names, k) in split.items()}
    found = {f["kind"]: f["message"].rpartition(": ")[2] for f in inspect_data(make_spec(**made))["findings"]
             if f["kind"].startswith("class_not_in_")}  # fmt: skip
    assert found == told


def test_a_corrupt_image_is_refused_by_name(folders, make_spec):
    path = folders["query"] / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match="not a readable picture") as caught:
        inspect_data(make_spec(**folders))
    assert str(caught.value).startswith(str(path))


def test_missing_folder_and_foreign_classes_are_refused(folders, make_spec, make_folder):
    with pytest.raises(DataError, match=r"dataset\.val_dataset.reference: .*no such folder"):
        inspect_data(make_spec(**folders | {"reference": "/nowhere/at/all"}))
    with pytest.raises(DataError, match="no class in common"):
        inspect_data(make_spec(**folders | {"query": make_folder("other", {"z": 2})}))
