import pytest

from hpo.core.errors import HpoError
from hpo.results.worker_calls import call_twice


class Lost(HpoError):
    kind = "infrastructure"


class Caller:
    """An executor that answers with what it is given, one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def call(self, method, spec):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"method": method, **spec, **answer}


def test_a_lost_worker_gets_a_second_call():
    caller = Caller(Lost("gone"), {"value": 2})
    assert call_twice(caller, "evaluate", {"a": 1}) == {"method": "evaluate", "a": 1, "value": 2}
    with pytest.raises(Lost, match="again"):
        call_twice(Caller(Lost("gone"), Lost("again"), {}), "evaluate", {})


@pytest.mark.parametrize("error", [ValueError("wrong"), HpoError("refused")])
def test_other_errors_are_not_tried_again(error):
    caller = Caller(error, {"value": 2})
    with pytest.raises(type(error)):
        call_twice(caller, "export", {})
    assert len(caller.answers) == 1
