from pathlib import Path

import pytest

from trainer.data.notes import and_list, by_ending, name_list, skipped_notes
from trainer.data.tree import Found


def test_long_name_lists_are_cut():
    assert name_list(["a", "b"]) == "a, b"
    assert name_list([str(i) for i in range(10)], shown=3) == "0, 1, 2 and 7 more"


def test_words_are_joined_as_in_a_sentence():
    assert and_list(["a"]) == "a"
    assert and_list(["a", "b", "c"]) == "a, b and c"


def test_files_are_counted_by_ending():
    assert by_ending([Path(f"{i}.PSD") for i in range(20)]) == "20 .psd files were skipped"
    assert by_ending([Path("x")]) == "1 file without an ending was skipped"
    many = [Path(f"{i}.{i % 7}") for i in range(70)]
    assert by_ending(many).endswith("10 .4 files and 20 others were skipped")


def kinds(others, num_pictures):
    notes = skipped_notes([(Path("root"), Found(others=others))], num_pictures)
    return {note.kind: (note.severity, note.text) for note in notes}


def test_texts_are_told_apart():
    assert kinds(["a.psd", "b.txt", "README"], 9) == {
        "other_file": ("warning", "1 .psd file was skipped"),
        "text_file": ("info", "1 .txt file and 1 file without an ending were skipped"),
    }


@pytest.mark.parametrize(("number", "severity"), [(9, "info"), (10, "warning")])
def test_many_files_of_any_other_sort_are_a_warning(number, severity):
    others = [f"{i}.mat" for i in range(number)]
    assert kinds(others, 100)["other_file"] == (severity, f"{number} .mat files were skipped")


def test_nothing_skipped_is_nothing_noted():
    assert kinds([], 10) == {}
