"""What a search wrote of its winner is read whole or refused; `tests/bad_input` damages every value of it."""

import json

import pytest

from hpo.core.errors import RunError
from hpo.run.handed_on import (
    REPORT_FILE,
    checked_report,
    extent_of,
    extent_of_rows,
    read_current,
    read_handed_on,
)
from hpo.run.run_dir import RunDir

LEAST = {"trial": 3, "value": 0.8, "params": {"lr": 0.1}, "spec": "/run/best/spec.yaml"}
USED = {"words": "average of 1 and 3", "trials": [1, 3], "value": 0.8, "is_used": True}


def test_it_is_returned_as_it_was_written(tmp_path):
    run = RunDir(tmp_path)
    spec = str(run.best_dir / "spec.yaml")
    told = {**LEAST, "spec": spec, "weights": "lite0", "receipt": {"a": [1]}}
    assert read_handed_on(run) == {}
    run.best_dir.mkdir()
    (run.best_dir / REPORT_FILE).write_text(json.dumps(told))
    assert read_handed_on(run) == told


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b"null", b'{"trial": 3}'])
def test_a_damaged_one_says_how_to_make_it_again(tmp_path, text):
    run = RunDir(tmp_path / "a run")
    run.best_dir.mkdir(parents=True)
    (run.best_dir / REPORT_FILE).write_bytes(text)
    with pytest.raises(RunError) as caught:
        read_handed_on(run)
    assert str(caught.value) == (
        f"{run.best_dir / REPORT_FILE}: must be what a search wrote of its winner, and is damaged; "
        f"`hpo export '{run}'` makes the winner's files again"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"value": "0.8"},
        {"value": True},
        {"trial": 3.5},
        {"average": {**USED, "value": None}},
        {"average": {"is_used": False}},
        {"confirmation": {"words": "won"}},
        {"expected": {"value": 0.8}},
        {"metric": "f1", "test": {"f1": "0.8"}},
        {"test": {"held_out": {"value": 0.8, "interval": [0.7]}}},
        {"test": {"alone": {"value": 0.8}}},
        {"pareto": [{"name": "a"}]},
        {"next": [3]},
    ],
)
def test_values_that_could_not_be_shown_are_refused(more):
    assert checked_report({**LEAST, "average": USED}) == {**LEAST, "average": USED}
    with pytest.raises(ValueError, match="must be|missing|shorter|argument"):
        checked_report({**LEAST, **more})


def test_what_was_handed_on_counts_until_a_new_epoch_is_trained(tmp_path):
    """A trial stands in the state as soon as it is begun, at the epoch that it goes on from."""
    run, rows = RunDir(tmp_path), [{"epoch": 9}, {"epoch": 27, "start_from": [0, 9]}]
    run.best_dir.mkdir()
    told = {**LEAST, "spec": str(run.best_dir / "spec.yaml"), "over": extent_of([9, 18])}
    (run.best_dir / REPORT_FILE).write_text(json.dumps(told))
    begun = [*rows, {"epoch": 0, "start_from": None}, {"epoch": 9, "start_from": [0, 9]}]
    for shown in (rows, begun):
        assert read_current(run, extent_of_rows(shown)) == told
    for trained in ({"epoch": 1}, {"epoch": 10, "start_from": [0, 9]}):
        assert read_current(run, extent_of_rows([*rows, trained])) == {}


def test_paths_of_a_copied_run_are_its_own(tmp_path):
    run = RunDir(tmp_path / "copy")
    run.best_dir.mkdir(parents=True)
    told = {**LEAST, "onnx": "/run/best/model.onnx", "next": ["hpo predict /run a.jpg"]}
    (run.best_dir / REPORT_FILE).write_text(json.dumps(told))
    found = read_handed_on(run)
    assert found["onnx"] == str(run.best_dir / "model.onnx")
    assert found["next"] == [f"hpo predict {run} a.jpg"]
