import json
import unicodedata

import pytest

from trainer.data.names import alike, name_bytes, name_key, name_text

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "name", ["apple", " a b ", ".x", "груша 1", "梨", "👨‍👩‍👧", NFC, NFD, "a\\b"]
)
def test_a_name_that_can_be_printed_stays_as_it_is_written(name):
    assert name_text(name) == name


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"caf\xe9", r"caf\xe9"),
        (b"a\nb\tc", r"a\nb\tc"),
        (b"bell\x07", r"bell\x07"),
        (b"esc\x1b[31m", r"esc\x1b[31m"),
        (b"back\\slash\xff", r"back\\slash\xff"),
        ("line\u2028break".encode(), r"line\u2028break"),
    ],
)
def test_what_cannot_be_printed_is_spelt_out(raw, text):
    name = raw.decode("utf-8", "surrogateescape")
    assert name_text(name) == text
    json.dumps(name_text(name), ensure_ascii=False).encode()  # any encoder takes it
    assert name_bytes(name) == raw


def test_two_names_that_are_spelt_out_stay_two():
    raw = ["caf\udce9", "caf\udcea", "caf\\xe9\n", "caf\udce9\n"]
    assert len(set(map(name_text, raw))) == len(raw)


def test_two_spellings_of_unicode_are_one_name():
    assert NFC != NFD
    assert name_key(NFC) == name_key(NFD) == NFC
    assert name_key("caf\udce9") == "caf\udce9"


def test_names_that_a_person_would_take_for_one_are_found():
    names = ["Apple", "pear", "apple", "caf\u00e9", "Pear ", "cafe\u0301", "fig", "APPLE"]
    assert alike(names) == [["Apple", "apple", "APPLE"], ["pear", "Pear "]]
