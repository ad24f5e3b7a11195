"""Columns of .parquet lists, of every type that they may have."""

import pytest

from trainer.data.lists import read_list
from trainer.errors import DataError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def photos(tmp_path):
    """A folder with two pictures, of which nobody looks at more than that they are there."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    return tmp_path


def odd_columns():
    """Columns that cannot be text, by what they hold."""
    far = pa.array([2**62, 0], pa.int64())
    return {
        "list": pa.array([["a"], ["b"]]),
        "struct": pa.array([{"a": 1}, {"a": 2}]),
        "far": far.cast(pa.timestamp("us")),
        "zone": pa.array([1, 2], pa.timestamp("s", tz="Nowhere/Land")),
    }


@pytest.mark.parametrize("kind", ["list", "struct", "far", "zone"])
@pytest.mark.parametrize("name", ["extra", "Label", "split", "path"])
def test_an_odd_column_is_left_out_or_named(photos, kind, name):
    own = {"path": ["a.png", "b.png"], "label": ["a", "b"]}
    own = {key: value for key, value in own.items() if key != name.lower()}
    file = photos / "list.parquet"
    parquet.write_table(
        pa.table({**own, "image": odd_columns()["list"], name: odd_columns()[kind]}), file
    )
    if name == "extra":
        assert list(read_list(file).columns) == ["label"]
        return
    with pytest.raises(
        DataError, match=f"list.parquet: the column '{name.lower()}' must hold text"
    ):
        read_list(file)


def test_bytes_and_categories_are_text(photos):
    paths = pa.array([b"a.png", b"b.png"])
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffb")]
    )
    names = pa.array([b"lemon", "limette \u00e9".encode()])
    table = pa.table({"path": paths, "label": names.dictionary_encode(), "note": bad})
    parquet.write_table(table, photos / "list.parquet")
    found = read_list(photos / "list.parquet")
    assert found.columns["label"] == ("lemon", "limette \u00e9")
    assert found.columns["note"] == ("\udcff", "b")
