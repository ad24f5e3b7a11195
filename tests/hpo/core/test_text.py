import pytest

from hpo.core.text import metric_word, one_line, printable, storable


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("val_precision_at_1", "P@1"),
        ("precision_at_1", "P@1"),
        ("val Precision@1", "P@1"),
        ("", "P@1"),
        ("val_precision_at_10", "val_precision_at_10"),
        ("val_map_at_r", "val_map_at_r"),
        ("loss", "loss"),
    ],
)
def test_only_precision_at_one_has_a_short_name(name, word):
    assert metric_word(name) == word


def test_paths_of_any_bytes_are_one_line_that_can_be_printed_and_stored():
    path = "/srv/caf\udce9\x1b[1m/new\nline é 梨"
    assert one_line(f"{path}:\n no such file") == r"/srv/caf\xe9\x1b[1m/new line é 梨: no such file"
    assert printable(path) == r"/srv/caf\xe9\x1b[1m/new\x0aline é 梨"
    assert storable(path) == "/srv/caf\\xe9\x1b[1m/new\nline é 梨"
    storable(path).encode()
