import pytest

from hpo.core.errors import SpecError
from hpo.study.sharing import check_sharing


@pytest.mark.parametrize(
    ("given", "read"), [(None, None), ("", None), ("auto", "auto"), (" 3 ", 3), (4, 4)]
)
def test_numbers_and_auto(given, read):
    assert check_sharing(given, None, "--trials-per-gpu") == read


@pytest.mark.parametrize("given", [0, -1, "0", "2.5", "many", True])
def test_anything_else_is_refused(given):
    with pytest.raises(SpecError, match="^here: must be auto or a number from 1, got "):
        check_sharing(given, None, "here")


def test_one_way_to_say_how_many_run_at_a_time():
    with pytest.raises(SpecError, match=r"here: cannot stand beside `concurrent` \(2\)"):
        check_sharing("auto", 2, "here")
    assert check_sharing(None, 2, "here") is None
