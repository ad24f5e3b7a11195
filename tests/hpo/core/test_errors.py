import pytest

from hpo.core.errors import DataError, HpoError, RunError, SpecError, TrialFailure


@pytest.mark.parametrize("kind", [SpecError, DataError, RunError])
def test_what_users_can_mend_has_one_base(kind):
    assert issubclass(kind, HpoError)


def test_a_trials_failure_is_no_fault_of_the_user():
    failure = TrialFailure("out_of_memory", "batch of 512 does not fit", "Traceback ...")
    assert not isinstance(failure, HpoError)
    assert (str(failure), failure.kind, failure.detail) == (
        "batch of 512 does not fit", "out_of_memory", "Traceback ...",
    )  # fmt: skip
