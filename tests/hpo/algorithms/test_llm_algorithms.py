"""The three that ask a language model, in whole searches against an endpoint on this machine."""

import re
import threading

import pytest

from hpo.algorithms import create_algorithm
from hpo.algorithms.llm_client import LlmError
from hpo.core.asking import ask
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.trial import Measurement, TrialState
from hpo.run.ledger import Ledger
from hpo.searching.session import resume_search, start_search
from hpo.study.sections import SearchOptions
from tests.contracts.searching import record_of
from tests.local_llm import MODEL, Endpoint, answer_to
from tests.quick_runs import Ear, quick_space, quick_study

KEY = "sk-very-secret-0123456789"
DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("AUTOML_LLM_MODEL", MODEL)
    monkeypatch.setenv("AUTOML_LLM_API_KEY", KEY)


def study(name, address, trials=7, **options):
    options = {"llm_endpoint": address, **options}
    search = SearchOptions(algorithm=name, algorithm_options=options, pruner="none")
    return quick_study(budget=Budget(trials=trials), search=search)


def run(name, address, out, ear=None, **options):
    ear = ear or Ear()
    return start_search(study(name, address, **options), out, ear.settings(probe=False)), ear


def trials_of(result):
    ledger = Ledger.open(result.run.ledger_file)
    trials = ledger.trials()
    ledger.close()
    return trials


def steps(ear, *names):
    return [e for e in ear.named("algorithm") if not names or e["step"] in names]


def files_with(folder, text):
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


@pytest.mark.parametrize("name", ["llm", "hybrid", "autoresearch"])
def test_a_search_by_a_model_leaves_no_key_anywhere(tmp_path, name, caplog):
    endpoint = Endpoint()
    with endpoint.running() as address:
        result, ear = run(name, address, tmp_path)
    assert all(t.state is TrialState.COMPLETE for t in trials_of(result))
    assert all(headers["Authorization"] == f"Bearer {KEY}" for _, headers, _ in endpoint.requests)
    assert files_with(tmp_path, KEY) == []
    assert KEY not in caplog.text
    assert KEY not in str(ear.events)
    assert result.finished.fallbacks == 0


def test_the_model_sees_trials_and_its_words_stand_with_its_choices(tmp_path):
    endpoint = Endpoint()
    with endpoint.running() as address:
        result, ear = run("llm", address, tmp_path)
    trials = trials_of(result)
    assert [t.note for t in trials] == ["", *["it lies between the best two"] * 6]
    assert len(endpoint.requests) == 6
    last = endpoint.requests[-1][2]["messages"][-1]["content"]
    assert f'"score": {trials[3].value}' in last
    assert len(steps(ear, "proposed")) == 6


@pytest.mark.parametrize("name", ["llm", "hybrid", "autoresearch"])
def test_trials_go_on_while_the_model_thinks(name):
    thought, told = threading.Event(), []

    def reply(question):
        assert thought.wait(60.0)
        return answer_to(question)

    endpoint = Endpoint(reply)
    with endpoint.running() as address:
        algorithm = create_algorithm(
            name, quick_space(), direction="maximize", num_epochs=9, seed=0, pruner="none",
            options={"llm_endpoint": address},
        )  # fmt: skip
        algorithm.attach(lambda event: told.append(event.step))
        first = record_of(ask(algorithm, 0))
        assert ask(algorithm, 1, waits=False) is None
        for epoch in range(1, 10):
            first.measurements.append(Measurement(epoch=epoch, value=0.5))
            assert not algorithm.report(0, first.measurements[-1]).stop
            assert ask(algorithm, 1, waits=False) is None
        first.state, first.value = TrialState.COMPLETE, 0.5
        algorithm.tell(first)
        thought.set()
        assert ask(algorithm, 1).note
    assert len(endpoint.requests) == 1
    assert {"llm": "proposed", "hybrid": "planned", "autoresearch": "screened"}[name] in told


def test_an_answer_that_cannot_be_used_is_asked_for_again_with_the_reason(tmp_path):
    questions = []

    def reply(question):
        questions.append(question)
        if "no use" not in question:
            return {"params": {"train.lrr": 0.1}}
        return answer_to(question)

    with Endpoint(reply).running() as address:
        result, _ = run("llm", address, tmp_path, trials=3)
    assert len(questions) == 4
    assert "Your last answer was no use: train.lrr is not searched" in questions[1]
    assert result.finished.fallbacks == 0


def test_a_failed_call_is_made_up_for_visibly_and_counted(tmp_path):
    calls = []

    def reply(question):
        calls.append(question)
        return 503 if len(calls) in (2, 3) else answer_to(question)

    with Endpoint(reply).running() as address:
        result, ear = run("llm", address, tmp_path)
    notes = [t.note for t in trials_of(result)]
    assert [note.startswith("fallback to tpe: ") for note in notes] == [
        False,
        False,
        True,
        True,
        *[False] * 3,
    ]
    assert "refused with HTTP 503" in notes[2]
    assert result.finished.fallbacks == 2
    assert [e["failures"] for e in steps(ear, "fallback")] == [1, 2]
    assert any("refused with HTTP 503" in e["reason"] for e in ear.named("trial_finished"))


@pytest.mark.parametrize("name", ["llm", "hybrid", "autoresearch"])
def test_a_dead_endpoint_ends_the_search_with_its_cause_and_can_be_resumed(tmp_path, name):
    with pytest.raises(LlmError, match=r"refused; 3 trials in a row could not be chosen by it"):
        run(name, DEAD, tmp_path, llm_max_failures=2)
    folder = next(tmp_path.glob("quick/*"))
    ledger = Ledger.open(folder / "ledger.db")
    assert [t.note.startswith("fallback") for t in ledger.trials()] == [False, True, True]
    ledger.close()


def test_failures_in_a_row_are_counted_over_a_restart(tmp_path):
    ear = Ear(stop_after=(2, 9))
    result, _ = run("llm", DEAD, tmp_path, ear, llm_max_failures=2)
    assert result.finished is None
    with pytest.raises(LlmError, match="3 trials in a row"):
        resume_search(result.run, Ear().settings(probe=False))


def test_failures_in_a_row_are_counted_whatever_else_stands_in_their_notes():
    """A trial of the last of several stages says first what it begins with."""

    def make():
        algorithm = create_algorithm(
            "llm", quick_space(), direction="maximize", num_epochs=9, seed=0, pruner="none",
            options={"llm_endpoint": DEAD, "llm_max_failures": 2},
        )  # fmt: skip
        algorithm.ask(0)
        return algorithm

    made, again, failed = make(), make(), []
    for number in (1, 2):
        failed.append(record_of(ask(made, number)))
        failed[-1].note = f"begins with trial 9 (heads, 0.5); {failed[-1].note}"
    assert [t.is_fallback for t in failed] == [True, True]
    for record in failed:
        again.restore(record)
    with pytest.raises(LlmError, match="3 trials in a row"):
        ask(again, 3)


def test_the_phases_of_a_plan_are_carried_out_and_kept(tmp_path):
    ear = Ear(stop_after=(3, 9))
    endpoint = Endpoint()
    with endpoint.running() as address:
        whole, _ = run("hybrid", address, tmp_path / "whole", trials=12)
        cut, _ = run("hybrid", address, tmp_path / "cut", ear, trials=12)
        resume_search(cut.run, Ear().settings(probe=False))
    trials = trials_of(whole)
    assert [t.note for t in trials[1:]] == [
        *["look around (random)"] * 4, *["rates (tpe)"] * 4, *["model (bfbo)"] * 3,
    ]  # fmt: skip
    assert all(0.001 <= t.params["train.lr"] <= 0.05 for t in trials[5:9])
    assert len(endpoint.requests) == 2  # one plan each; the resumed search has it from the ledger
    assert [t.params for t in trials_of(cut)] == [t.params for t in trials]


def test_every_step_of_research_is_an_event(tmp_path):
    with Endpoint().running() as address:
        result, ear = run("autoresearch", address, tmp_path, trials=6)
    one = [e["step"] for e in steps(ear) if e["trial"] == 3]
    assert one[:3] == ["retrieved", "proposed", "screened"]
    assert one[3] == "verified"
    assert one[4] in ("kept", "discarded")
    screened = steps(ear, "screened")
    assert [e["scores"] is None for e in screened] == [True, True, True, False, False]
    best = max(trials_of(result), key=lambda t: t.value)
    assert steps(ear, "kept")[-1]["trial"] == best.number
    assert all(
        e["text"] == "values read back from the live trainer" for e in steps(ear, "verified")
    )


def test_a_screen_picks_what_the_model_of_the_surface_expects_most_of(tmp_path):
    """Of three candidates, the one beside the best trial so far wins over two far away."""

    def reply(question):
        if question.count('"trial":') < 6:
            return answer_to(question)
        near = {"train.lr": 0.011, "train.margin": 0.52, "train.width": 190}
        far = {"train.lr": 2e-5, "train.margin": 1.9, "train.width": 3}
        ideas = [far, far | {"train.width": 2}, near]
        return {"candidates": [{"params": p, "hypothesis": "h"} for p in ideas]}

    def reply_first_near(question):
        if question.count('"trial":') == 1:
            near = {"train.lr": 0.01, "train.margin": 0.5, "train.width": 200}
            return {"candidates": [{"params": near, "hypothesis": "h"}]}
        return reply(question)

    with Endpoint(reply_first_near).running() as address:
        result, ear = run("autoresearch", address, tmp_path, trials=7)
    assert trials_of(result)[6].params["train.width"] == 190
    assert steps(ear, "screened")[-1]["text"] == "candidate 3: the highest expected value"


def test_a_research_program_is_kept_to(tmp_path):
    program = {
        "goal": "small margins",
        "phases": [
            {"name": "small ones", "trials": 2, "focus": {"train.margin": [0.0, 1.0]}},
            {"name": "large ones", "trials": 2, "focus": {"train.margin": [0.5, 2.0]}},
        ],
    }
    questions = []

    def reply(question):
        questions.append(question)
        low = "small ones" in question
        drawn = answer_to(question)["candidates"]
        for i, item in enumerate(drawn):
            item["params"]["train.margin"] = (0.1 if low else 1.8) + i / 100
        return {"candidates": drawn}

    with Endpoint(reply).running() as address:
        result, _ = run("autoresearch", address, tmp_path, trials=5, research_program=program)
    margins = [t.params["train.margin"] for t in trials_of(result)[1:]]
    assert all(m < 0.2 for m in margins[:2])
    assert all(m > 1.7 for m in margins[2:])
    assert all("small margins" in question for question in questions)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ({"aim": "x"}, "unknown key 'aim'; it has goal and phases"),
        ({"phases": [{"trials": 0}]}, "phase 1: trials must be a whole number above 0, got 0"),
        (
            {"phases": [{"trials": 1}, {"trials": 2, "method": "magic"}]},
            "phase 2: method must be one of random, tpe, bfbo",
        ),
        (
            {"phases": [{"trials": 1, "focus": {"train.lrr": [0, 1]}}]},
            "phase 1: focus: train.lrr is not searched",
        ),
        (
            {"phases": [{"trials": 1, "focus": {"train.lr": [1, 0]}}]},
            "phase 1: focus: train.lr: a range must be [low, high], got [1, 0]",
        ),
        ({"phases": "many"}, "phases must be a list of one or more"),
    ],
)
def test_a_program_is_checked_before_anything_is_trained(tmp_path, program, said):
    with pytest.raises(SpecError, match=re.escape(f"research_program: {said}")):
        run("autoresearch", DEAD, tmp_path, research_program=program)


def test_a_key_in_a_study_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no secret may stand in it; set AUTOML_LLM_API_KEY"):
        run("llm", DEAD, tmp_path, api_key=KEY)
    assert files_with(tmp_path, KEY) == []
