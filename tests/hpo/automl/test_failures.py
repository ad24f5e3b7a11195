import pytest

from hpo.automl.failures import explain_analysis, explain_failure


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "ended with exit code 3"), (-11, "was killed by SIGSEGV"), (-9, "was killed by SIGKILL"),
     (-250, "ended with exit code -250"), (None, "was lost")],
)  # fmt: skip
def test_how_a_command_ended_is_said(code, said):
    found = explain_failure("epoch 1\nRuntimeError: no\n", code)
    assert found["message"] == f"the command {said}: RuntimeError: no"


@pytest.mark.parametrize("why", ["never began", "is gone without a result (killed?)"])
def test_a_job_whose_process_was_lost_is_no_fault_of_its_trial(why):
    found = explain_analysis({"status": "failure", "message": f"its process {why}"}, "", "failure")
    assert found == {
        "kind": "infrastructure", "message": f"the job ended as failure: its process {why}",
    }  # fmt: skip
