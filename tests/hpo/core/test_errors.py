import pytest

from hpo.core.errors import DataError, HpoError, RunError, SpecError


@pytest.mark.parametrize("kind", [SpecError, DataError, RunError])
def test_what_users_can_mend_has_one_base(kind):
    assert issubclass(kind, HpoError)
