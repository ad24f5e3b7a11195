"""The skill's evaluation tasks: all by `-m slow` or `python -m tests.e2e.skill_evals`, the quick ones always."""

import re
from dataclasses import asdict

import pytest

from hpo.automl.policy import resolve_policy
from hpo.automl.routing import decide_route
from hpo.study.skill import load_skill
from tests.e2e.skill_evals import (
    GIVEN,
    SKILL,
    Bench,
    compare_json,
    differences,
    look,
    read_tasks,
)

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


def test_the_route_that_a_task_expects_is_that_of_its_words():
    checked = 0
    for task in read_tasks():
        wanted = (task["steps"][0].get("events") or {}).get("routed")
        words = re.findall(r'--request "([^"]*)"', task["steps"][0]["run"])
        if not (wanted and words and "without" not in task):
            continue
        stated = re.findall(r"--policy (\w+)", task["steps"][0]["run"])
        policy = resolve_policy(stated[0] if stated else None, words[0])
        route = asdict(decide_route(load_skill(SKILL), "train", policy))
        assert differences(wanted, route) == [], task["id"]
        checked += 1
    assert checked == 12


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
