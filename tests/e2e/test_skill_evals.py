"""The skill's evaluation tasks: all by `-m slow` or `python -m tests.e2e.skill_evals`, the quick ones always."""

import pytest

from tests.e2e.skill_evals import GIVEN, Bench, compare_json, differences, look, read_tasks

QUICK = (
    "missing-data",
    "missing-data-for-a-search",
    "misspelt-key",
    "illegal-batch",
    "misspelt-policy",
)
"""Refused before a picture is looked at, so torch is never loaded."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("evals"))


def test_thirty_tasks_are_well_formed():
    tasks = read_tasks()
    assert len({task["id"] for task in tasks}) == 30
    for task in tasks:
        assert task["request"]
        assert set(task.get("given", [])) <= set(GIVEN)
        assert set(task) <= {
            "id",
            "request",
            "given",
            "no data",
            "without",
            "steps",
            "files",
            "absent",
        }
        for step in task["steps"]:
            known = {"run", "exit", "stdout", "stderr", "json", "events", "no events", "one line"}
            assert set(step) <= known, task["id"]
            assert set(step) - {"run"}, f"{task['id']} expects nothing"
    refused = [t for t in tasks if any(step.get("exit") == 2 for step in t["steps"])]
    assert len(refused) >= 6


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=() if task["id"] in QUICK else pytest.mark.slow, id=task["id"])
        for task in read_tasks()
    ],
)
def test_task(bench, task):
    assert bench.run(task) == []


def test_what_differs_is_found(tmp_path):
    data = {"a": {"b": [1, {"c": "text"}]}}
    assert differences({"a.b.1.c": "~^te", "a.b.0": 1}, data) == []
    assert len(differences({"a.b.0": 2, "a.x": 1, "a.b.7": 0}, data)) == 3
    text = '{"event": "one", "n": 1}\n{"event": "two"}\n'
    assert (
        compare_json({"events": {"one": {"n": 1}, "two": None}, "no events": ["three"]}, text) == []
    )
    assert (
        len(compare_json({"events": {"one": {"n": 2}, "three": {}}, "no events": ["two"]}, text))
        == 3
    )
    assert compare_json({"json": {"n": 1}}, "no json")
    (tmp_path / "results" / "a").mkdir(parents=True)
    assert look({"files": ["results/b"], "absent": ["results/a"]}, tmp_path) == [
        "no file results/b", "there is results/a",
    ]  # fmt: skip
