"""A row for each candidate, the best first; what is one candidate's fault ends no other."""

import pytest

from hpo.core.errors import DataError, HpoError, SpecError
from hpo.study.screening import screen_all


class Fault(Exception):
    """An error of a trainer, as the harness knows it."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Checking:
    """A trainer that refuses a width of 0 and keeps what it was asked to check."""

    direction = "maximize"

    def __init__(self):
        self.checked = []

    def validate(self, spec):
        self.checked.append(spec)
        if spec["train"]["width"] == 0:
            raise Fault("spec", "train.width: must be above 0")
        return dict(spec)


def candidate(width):
    return {"name": f"w{width}", "weights": "none", "spec": {"train.width": width}}


def rows_of(widths, outcomes, trainer=None):
    def screen(own, spec):
        assert own["spec"]["train.width"] == spec["train"]["width"]
        found = outcomes[spec["train"]["width"]]
        if isinstance(found, Exception):
            raise found
        return {"value": found}

    base = {"train": {"lr": 0.5}}
    return screen_all(trainer or Checking(), [candidate(w) for w in widths], base, screen)


def test_the_best_comes_first_in_the_trainers_direction():
    outcomes = {4: 0.2, 8: 0.7, 16: 0.5}
    assert [row["name"] for row in rows_of([4, 8, 16], outcomes)] == ["w8", "w16", "w4"]
    lower = Checking()
    lower.direction = "minimize"
    assert [row["name"] for row in rows_of([4, 8, 16], outcomes, lower)] == ["w4", "w16", "w8"]


@pytest.mark.parametrize("kind", ["spec", "out_of_memory", "diverged"])
def test_a_candidate_that_cannot_be_used_stands_last_with_its_error(kind):
    rows = rows_of([4, 8], {4: Fault(kind, "does not fit"), 8: 0.1})
    assert [row["name"] for row in rows] == ["w8", "w4"]
    assert rows[1]["error"] == "w4: does not fit"
    assert "value" not in rows[1]


def test_pictures_that_cannot_be_used_end_all():
    with pytest.raises(DataError, match=r"^no pictures$"):
        rows_of([4, 8], {4: Fault("data", "no pictures"), 8: 0.1})


def test_a_mistake_in_code_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        rows_of([4, 8], {4: ZeroDivisionError("x"), 8: 0.1})


def test_without_a_usable_candidate_the_errors_are_told():
    with pytest.raises(HpoError, match="too large.*; .*too small"):
        rows_of([4, 8], {4: Fault("spec", "too large"), 8: Fault("out_of_memory", "too small")})


def test_every_spec_is_checked_before_the_first_is_screened():
    trainer = Checking()
    with pytest.raises(SpecError, match=r"train\.width: must be above 0"):
        rows_of([4, 0], {4: AssertionError("was screened")}, trainer)
    assert trainer.checked[0] == {"train": {"lr": 0.5, "width": 4}}
