import csv
import os
import time

import pytest

from trainer.data.folder import scan_folder
from trainer.data.lists import read_list, read_table, write_list
from trainer.data.sources import open_source, pictures_of
from trainer.errors import DataError


@pytest.fixture
def photos(make_folder):
    return make_folder("photos", {"lemon": 3, "lime": 2})


@pytest.fixture
def write(tmp_path, photos):
    """Write `list.csv` beside the photos, a text a line."""

    def written(*lines, name="list.csv", encoding="utf-8", end="\n"):
        file = tmp_path / name
        file.write_bytes(end.join([*lines, ""]).encode(encoding))
        return file

    return written


ROWS = [
    f"photos/{label}/{i}.png,{label}" for label, n in (("lemon", 3), ("lime", 2)) for i in range(n)
]


def named(folder):
    return {
        (str(folder.root / p), folder.classes[n])
        for p, n in zip(folder.paths, folder.labels, strict=True)
    }


@pytest.mark.parametrize(
    "name", ["lime", "lime\u00a0tea", "नींबू\u200d", "می\u200cخواهم", "緑\u3000茶", "👨‍👩‍👧"]
)
def test_a_list_of_a_folder_is_that_folder(write, photos, name):
    (photos / "lime").rename(photos / name)
    rows = [row.replace("lime", name) for row in ROWS]
    found, scanned = open_source(str(write("path,label", *rows))), scan_folder(photos)
    assert named(found) == named(scanned)
    assert found.classes == scanned.classes == ("lemon", name)
    assert found.counts().tolist() == [3, 2]


def test_paths_are_relative_to_the_list_and_may_be_anywhere(write, tmp_path, photos, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    file = write(
        "label,path", "b,../photos/lime/0.png", f"a,{photos}/lemon/1.png", name="deep/list.csv"
    )
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert named(open_source("../list.csv")) == {
        (f"{photos}/lime/0.png", "b"),
        (f"{photos}/lemon/1.png", "a"),
    }
    assert open_source(str(file)).classes == ("a", "b")


@pytest.mark.parametrize(
    ("header", "between", "encoding", "end"),
    [
        ("path,label", ",", "utf-8", "\n"),
        ("Path;LABEL ", ";", "utf-8-sig", "\r\n"),
        ("path\tlabel", "\t", "utf-16", "\r\n"),
    ],
)
def test_what_spreadsheets_write_is_read(write, header, between, encoding, end):
    rows = [row.replace(",", between) for row in ROWS]
    file = write(header, rows[0], "", *rows[1:], encoding=encoding, end=end)
    assert open_source(str(file)).counts().tolist() == [3, 2]


def test_parquet_is_read_and_whole_numbers_are_labels(tmp_path, photos):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"path": ["photos/lime/0.png", "photos/lime/1.png"], "label": [7, 12]})
    parquet.write_table(table, tmp_path / "list.parquet")
    assert open_source(str(tmp_path / "list.parquet")).classes == ("12", "7")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"broken.parquet: not a readable .parquet file"):
        read_list(tmp_path / "broken.parquet")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("photos/lemon/9.png,lemon,train", "no such picture: photos/lemon/9.png"),
        ("photos/lemon,lemon,train", "photos/lemon must be a picture, and is a folder"),
        (",lemon,train", "path must be given"),
        ("photos/lemon/0.png,,train", "label must be given"),
        ("photos/lemon/0.png,lemon", "must have 3 cells as the header has, got 2"),
        ("photos/lemon/0.png,le,mon,train", "must have 3 cells as the header has, got 4"),
        ("photos/lemon/0.png,lemon,blue", "split must be train, reference, query"),
        ("photos/lemon/0.png,lemon,", "split must be train, reference, query"),
        ("s3://bucket/0.png,lemon,train", "path must name a file on this machine"),
        ("photos\\lemon\\0.png,lemon,train", "separate folders by /"),
        ("photos/lime/1.png,lemon,train", "is in row 2 already, with another label"),
        ("photos/lime/1.png,lime,test", "is in row 2 already, with another split"),
        ('"photos/lemon/0.png,lemon,train', "a quote must be closed, and is open to the end"),
        ('photos/lemon/0.png,"le"mon,train', "write a quote inside it twice"),
        (f"photos/lemon/0.png,{'x' * 200_000},train", "a cell must have at most 131072 characters"),
        ("photos/lemon/0.png,le\x07mon,train", "label must be plain text in UTF-8, got 'le"),
        ("photos/lemon/0.png,le\u2028mon,train", "label must be plain text in UTF-8"),
        ("photos/lemon/0.png,..,train", "label must be a name, got '..'"),
        ("photos/lemon/\0.png,lemon,train", "cannot be read"),
        (f"photos/{'x' * 300}.png,lemon,train", "cannot be read"),
    ],
)
def test_every_wrong_row_is_told_by_its_number(write, row, words):
    file = write("path,label,split", "photos/lime/1.png,lime,train", "", row)
    with pytest.raises(DataError) as told:
        read_list(file)
    assert f"{file}: row 4: " in str(told.value)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_fault_after_a_cell_of_two_lines_has_the_line_of_an_editor(write):
    file = write("path,label,note", 'photos/lime/1.png,lime,"two\nlines"', "no.png,lime,")
    with pytest.raises(DataError, match="row 4: no such picture: no.png"):
        read_list(file)


def test_further_wrong_rows_are_counted(write):
    file = write("path,label", *(f"{i}.png,x" for i in range(9)))
    with pytest.raises(DataError, match=r"row 2: .*; 8 more rows with errors: 3, 4, 5, 6, 7 and 3"):
        read_list(file)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["image,class", "a.png,b"], "must have the columns path and label, lacks path and label"),
        (["path,label,Label", "a,b,c"], "row 1: the column 'label' is given twice"),
        (["path,label"], "holds no picture"),
        ([], "must have the columns path and label, lacks path and label; it names no column$"),
    ],
)
def test_a_table_that_is_no_list_is_refused(write, lines, words):
    with pytest.raises(DataError, match=words):
        read_list(write(*lines))


def test_a_parquet_column_that_is_there_twice_is_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [pa.array(["a.png"])] * 3
    table = pa.Table.from_arrays(cells, names=["path", "label", "Label"])
    parquet.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(DataError, match=r"list.parquet: the column 'label' is given twice"):
        read_list(tmp_path / "list.parquet")
    same = pa.Table.from_arrays(cells, names=["path", "label", "label"])
    parquet.write_table(same, tmp_path / "same.parquet")
    with pytest.raises(DataError, match=r"same.parquet: the column 'label' is given twice"):
        read_list(tmp_path / "same.parquet")


@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet"])
def test_a_folder_that_is_called_like_a_list_is_told(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{name}: must be a file, and is a folder") as told:
        open_source(str(tmp_path / name))
    assert "\n" not in str(told.value)


def test_a_list_that_is_missing_or_elsewhere_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"list.csv: no such list of pictures"):
        open_source(str(tmp_path / "list.csv"))
    with pytest.raises(DataError, match="a list must lie on this machine"):
        open_source("s3://bucket/list.csv")


def test_a_row_that_is_there_twice_counts_once(write):
    found = open_source(str(write("path,label", *ROWS, ROWS[0])))
    assert found.counts().tolist() == [3, 2]
    assert [note.text for note in found.notes] == [
        "1 row named again what a row above names, and count once"
    ]


def test_each_split_takes_its_own_rows(write, photos):
    splits = ["train", "val", "gallery", "test", "train"]
    file = write("path,label,split", *(f"{r},{s}" for r, s in zip(ROWS, splits, strict=True)))
    taken = {
        role: {p for p, _ in named(open_source(str(file), role))}
        for role in ("train", "query", "reference", "test_query")
    }
    assert taken == {
        "train": {f"{photos}/lemon/0.png", f"{photos}/lime/1.png"},
        "query": {f"{photos}/lemon/1.png"},
        "reference": {f"{photos}/lemon/2.png"},
        "test_query": {f"{photos}/lime/0.png"},
    }
    with pytest.raises(DataError, match=r"no row is of the split test_reference .*train \(2\)"):
        open_source(str(file), "test_reference")
    assert len(open_source(str(file)).paths) == 5


def test_a_list_to_label_needs_no_labels(write, photos):
    file = write("path", "photos/lime/1.png", "photos/lemon/0.png")
    assert pictures_of(str(file)) == [photos / "lime/1.png", photos / "lemon/0.png"]


def test_names_that_are_no_text_survive(tmp_path, photos):
    odd = os.fsencode(str(photos / "lemon")) + b"/caf\xe9,1.png"
    (photos / "lemon" / "0.png").rename(os.fsdecode(odd))
    folder = scan_folder(photos)
    write_list(tmp_path / "out.csv", folder, range(len(folder.paths)))
    assert named(open_source(str(tmp_path / "out.csv"))) == named(folder)


def test_a_written_list_keeps_columns(write, tmp_path):
    file = write("path,label,group", *(f"{row},g{i % 2}" for i, row in enumerate(ROWS)))
    write_list(tmp_path / "out.csv", open_source(str(file)), [0, 4])
    with (tmp_path / "out.csv").open() as stream:
        assert [row["group"] for row in csv.DictReader(stream)] == ["g0", "g0"]


def test_time_grows_with_the_rows_and_not_with_their_square(write):
    """Beside what reading the table takes, a row costs one look at its file."""
    file = write("path,label,split,group", *["photos/lime/0.png,lime,train,g"] * 100_000)
    started = time.process_time()
    read_table(file)
    bare_s = time.process_time() - started
    assert len(read_list(file).paths) == 1
    assert time.process_time() - started < 20 * bare_s
