import pytest

from hpo.core.addresses import is_remote, without_file


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
