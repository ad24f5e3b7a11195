import pytest

from hpo.core.addresses import (
    is_remote,
    refuse_password,
    short_name,
    shown_address,
    without_file,
)
from hpo.core.errors import SpecError


@pytest.mark.parametrize(
    ("place", "is_elsewhere"),
    [
        ("s3://b/c", True),
        ("https://h/a.tar", True),
        ("file:///d", False),
        ("/d", False),
        ("d", False),
    ],
)
def test_a_file_address_is_of_this_machine(place, is_elsewhere):
    assert is_remote(place) is is_elsewhere


def test_the_path_in_a_file_address_may_be_quoted(tmp_path):
    plain, odd = tmp_path / "my data", tmp_path / "50%20"
    odd.mkdir()
    assert without_file(plain.as_uri()) == str(plain)
    assert without_file(f"file://{plain}") == str(plain)
    assert without_file(f"file://{odd}") == str(odd)  # as some write it, unquoted
    for place in ("s3://b/a%20b", "/a%20b", "~/d", ""):
        assert without_file(place) == place


@pytest.mark.parametrize("secret", ["secret", "", "a:b", "s?cret"])
def test_a_password_in_an_address_is_refused_and_not_repeated(secret):
    with pytest.raises(SpecError, match=r"^zip://a::ftp://bob@h: must .* FSSPEC_FTP_PASS") as told:
        refuse_password(f"zip://a::ftp://bob:{secret}@h")
    assert not secret or secret not in str(told.value)


@pytest.mark.parametrize("place", ["ftp://bob@h/x", "ftp://h:21/a@b", "s3://b/k:1@2", "/d:a@b", ""])
def test_addresses_without_a_password_are_taken(place):
    assert refuse_password(place) is None


def test_places_are_shown_without_signatures_and_named_in_short():
    assert shown_address("https://h/a.zip?X-Amz-Signature=5f") == "https://h/a.zip"
    assert shown_address("/d/what?") == "/d/what?"
    assert short_name("https://h/a.zip?X-Amz-Signature=" + "5" * 300) == "a.zip"
    assert short_name("/d/caf\udce9") == "caf\udce9"
    long = [short_name(f"/{folder}/" + "ü" * 120) for folder in "ab"]
    assert long[0] != long[1]
    assert all(name.startswith("ü" * 40) and len(name.encode()) < 100 for name in long)
