"""The analyst beside algorithms: what it says, what it narrows, and that its failures change nothing."""

import threading
import time
from contextlib import nullcontext

import pytest

from hpo.algorithms import create_algorithm
from hpo.algorithms.llm_analyzer import AnalyzerSettings, read_settings
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.trial import TrialState
from hpo.run.ledger import Ledger
from hpo.searching.make_plan import plan_study
from hpo.searching.session import resume_search, start_search
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from tests import staged_trainer
from tests.contracts.searching import record_of
from tests.local_llm import MODEL, Endpoint
from tests.quick_runs import Ear, quick_space, quick_study

ON = "AUTOML_LLM_ANALYZER_ENABLED"
INTERVAL = "AUTOML_LLM_ANALYZER_INTERVAL"
NARROWS = "AUTOML_LLM_ANALYZER_NARROW_RANGES"


@pytest.mark.parametrize(
    ("environment", "wish"),
    [
        ({}, None),
        ({ON: ""}, None),
        ({ON: "false", NARROWS: "true"}, None),
        ({ON: "0"}, None),
        ({ON: "true"}, AnalyzerSettings(interval=5, narrows=False)),
        ({ON: "1", INTERVAL: "2", NARROWS: "True"}, AnalyzerSettings(interval=2, narrows=True)),
    ],
)
def test_what_the_environment_asks_for(environment, wish):
    assert read_settings(environment) == wish


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({ON: "perhaps"}, f"{ON}: must be true or false, got 'perhaps'"),
        ({ON: "1", INTERVAL: "0"}, f"{INTERVAL}: must be a whole number above 0, got '0'"),
        ({ON: "1", INTERVAL: "often"}, "got 'often'"),
    ],
)
def test_what_does_not_fit_is_one_line(environment, said):
    with pytest.raises(SpecError, match=said):
        read_settings(environment)


@pytest.fixture
def _analyst(monkeypatch):
    for name, value in ((ON, "1"), (INTERVAL, "3"), ("AUTOML_LLM_MODEL", MODEL)):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AUTOML_LLM_API_KEY", raising=False)
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)


def run(out, ear, name="random", trials=8):
    search = SearchOptions(algorithm=name, seed=4)
    study = quick_study(budget=Budget(trials=trials), search=search)
    return start_search(study, out, ear.settings(probe=False))


def params_of(result):
    ledger = Ledger.open(result.run.ledger_file)
    params = [t.params for t in ledger.trials()]
    ledger.close()
    return params


def said(question):
    assert "Analyse the trials" in question
    return {"analysis": "small rates are best", "ranges": {"train.lr": [1e-5, 1e-4]}}


def steps(ear):
    return [(e["step"], e["trial"]) for e in ear.named("algorithm")]


@pytest.mark.usefixtures("_analyst")
@pytest.mark.parametrize("name", ["random", "asha", "dehb"])
def test_it_speaks_after_every_so_many_trials_and_changes_nothing_by_itself(
    tmp_path, monkeypatch, name
):
    with Endpoint(said).running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        ear = Ear()
        result = run(tmp_path / "with", ear, name)
    assert [step for step, _ in steps(ear)] == ["analyzed", "analyzed"]
    assert ear.named("algorithm")[0]["text"] == "small rates are best"
    monkeypatch.delenv(ON)
    assert params_of(run(tmp_path / "without", Ear(), name)) == params_of(result)


@pytest.mark.usefixtures("_analyst")
@pytest.mark.parametrize("name", ["random", "hyperband"])
def test_nobody_is_asked_about_trials_that_a_forecast_invents(tmp_path, monkeypatch, name):
    endpoint = Endpoint(said)
    with endpoint.running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        ear = Ear()
        study = quick_study(
            budget=Budget(trials=8), search=SearchOptions(algorithm=name, confirm=0)
        )
        start_search(study, tmp_path, ear.settings())
    assert ear.named("review")[0]["forecast"]["trials"]
    assert [step for step, _ in steps(ear)] == ["analyzed", "analyzed"]
    assert len(endpoint.requests) == 2


@pytest.mark.usefixtures("_analyst")
@pytest.mark.parametrize("name", ["mfbo", "random", "dehb"])
def test_stages_take_the_algorithm_that_they_take_without_it(monkeypatch, name):
    study = StudySpec(
        name="staged", trainer=staged_trainer.NAME, budget=Budget(trials=9),
        search=SearchOptions(**staged_trainer.SEARCH, algorithm=name),
    )  # fmt: skip

    says = "dehb starts trials from its own ones"
    expected = pytest.raises(SpecError, match=says) if name == "dehb" else nullcontext()
    with Endpoint(said).running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        with expected:
            plan_study(study, staged_trainer.TRAINER)
    monkeypatch.delenv(ON)
    with expected:
        plan_study(study, staged_trainer.TRAINER)


@pytest.mark.usefixtures("_analyst")
def test_it_thinks_beside_running_trials_and_narrows_when_it_has_answered(monkeypatch):
    monkeypatch.setenv(NARROWS, "1")
    thought, told = threading.Event(), []

    def reply(question):
        assert thought.wait(60.0)
        return said(question)

    with Endpoint(reply).running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        algorithm = create_algorithm(
            "random", quick_space(), direction="maximize", num_epochs=9, seed=4, pruner="none"
        )
        algorithm.attach(lambda event: told.append(event.step))
        running = [record_of(algorithm.ask(number)) for number in range(4)]
        for record in running[:3]:
            record.state, record.value = TrialState.COMPLETE, 0.5
            algorithm.tell(record)
        rates = [algorithm.ask(number).params["train.lr"] for number in range(4, 12)]
        assert told == []
        thought.set()
        patience = time.monotonic() + 60.0
        number = 12
        while not told and time.monotonic() < patience:
            last = algorithm.ask(number).params["train.lr"]
            number += 1
    assert told == ["analyzed"]
    assert max(rates) > 1e-4
    assert last <= 1e-4 * (1 + 1e-9)


@pytest.mark.usefixtures("_analyst")
def test_narrowed_ranges_hold_from_then_on_and_after_a_restart(tmp_path, monkeypatch):
    monkeypatch.setenv(NARROWS, "1")
    with Endpoint(said).running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        whole = run(tmp_path / "whole", Ear())
        cut = run(tmp_path / "cut", Ear(stop_after=(4, 1)))
        resume_search(cut.run, Ear().settings(probe=False))
    rates = [params["train.lr"] for params in params_of(whole)]
    assert max(rates[1:3]) > 1e-4
    assert all(rate <= 1e-4 * (1 + 1e-9) for rate in rates[3:])
    assert params_of(cut) == params_of(whole)


@pytest.mark.usefixtures("_analyst")
def test_an_algorithm_that_keeps_its_own_ranges_is_said_to(tmp_path, monkeypatch):
    monkeypatch.setenv(NARROWS, "1")
    ear = Ear()
    with Endpoint(said).running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        run(tmp_path, ear, "dehb")
    assert [step for step, _ in steps(ear)] == ["analyzed", "not_narrowed"] * 2


@pytest.mark.usefixtures("_analyst")
def test_a_failed_call_is_an_event_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOML_LLM_ENDPOINT", "http://127.0.0.1:9/v1")
    ear = Ear()
    result = run(tmp_path / "with", ear)
    assert [step for step, _ in steps(ear)] == ["analysis_failed", "analysis_failed"]
    monkeypatch.delenv(ON)
    assert params_of(run(tmp_path / "without", Ear())) == params_of(result)
