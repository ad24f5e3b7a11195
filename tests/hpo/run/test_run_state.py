"""What `state.json` must hold; `tests/bad_input` damages every value of one."""

import pytest

from hpo.run.run_state import checked_state

ROW = {"trial": 0, "state": "running", "purpose": "search"}
FAILED = {**ROW, "state": "failed", "error": {"kind": "data", "message": "gone"}}


def test_rows_of_earlier_releases_get_what_they_lack_and_keep_what_is_not_known():
    state = checked_state({"status": "running", "trials": [{**ROW, "old": 1}], "more": [2]})
    assert (state["status"], state["more"]) == ("running", [2])
    (row,) = state["trials"]
    assert row.items() >= {**ROW, "old": 1, "value": None, "epoch": 0, "error": None}.items()
    assert checked_state({"best": ROW})["best"]["seconds"] == 0.0


@pytest.mark.parametrize(
    "state",
    [
        3, [], None, {"status": 3}, {"budget": "a while"}, {"spent": {"seconds": "x"}},
        {"spent": {"seconds": float("nan")}}, {"best": 3}, {"best": {"trial": 1}}, {"trials": {}},
        {"trials": [None]}, {"trials": [{**ROW, "state": "waits"}]}, {"trials": [{**ROW, "value": "x"}]},
        {"trials": [{**ROW, "start_from": [1]}]}, {"trials": [{**FAILED, "error": {"kind": "data"}}]},
        {"rungs": [{}]}, {"stages": ["heads"]}, {"forecasts": [{"expected_s": 0, "took_s": 1}]},
        {"forecasts": [{"expected_s": 1}]}, {"finished": {}}, {"paused": None},
    ],
)  # fmt: skip
def test_what_its_readers_could_not_show_is_refused(state):
    assert checked_state({"trials": [FAILED], "spent": {"seconds": 2}})
    with pytest.raises(ValueError, match="must|missing|argument|not a valid|shorter|understood"):
        checked_state(state)
