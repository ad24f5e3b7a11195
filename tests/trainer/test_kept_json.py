"""Small files of the cache folder: read where they are whole, else made."""

from types import NoneType

import pytest

from trainer.kept_json import kept_or_made


@pytest.mark.parametrize("damaged", [None, b"", b"[1, 2", b'{"a": 1}', b"\xff\xfe"])
@pytest.mark.parametrize("made", [[3], None])
def test_what_is_missing_or_damaged_is_made_once(tmp_path, damaged, made):
    file, asked = tmp_path / "cache" / "x.json", []
    if damaged is not None:
        file.parent.mkdir()
        file.write_bytes(damaged)

    def make():
        asked.append(1)
        return made

    for _ in range(2):
        assert kept_or_made(file, (list, NoneType), make) == made
    assert asked == [1]


def test_what_is_not_to_be_kept_is_made_each_time(tmp_path):
    file, made = tmp_path / "x.json", iter([{"error": 1}, {"a": 2}, {"a": 3}])
    found = [
        kept_or_made(file, (dict,), made.__next__, lambda it: "error" not in it) for _ in "abc"
    ]
    assert found == [{"error": 1}, {"a": 2}, {"a": 2}]
