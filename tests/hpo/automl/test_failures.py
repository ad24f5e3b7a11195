import pytest

from hpo.automl.failures import explain_failure


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "ended with exit code 3"), (-11, "was killed by SIGSEGV"), (-9, "was killed by SIGKILL"),
     (-250, "ended with exit code -250"), (None, "was lost")],
)  # fmt: skip
def test_how_a_command_ended_is_said(code, said):
    found = explain_failure("epoch 1\nRuntimeError: no\n", code)
    assert found["message"] == f"the command {said}: RuntimeError: no"
