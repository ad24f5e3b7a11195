"""What a language model may do beside a search, asked at an endpoint on this machine."""

import json
import sys

import pytest

from hpo.algorithms.llm_client import LlmError
from hpo.automl import alias
from hpo.automl.brain import LLMAnalyzer, NLConfigGenerator, ResearchPhase, ResearchProgram
from hpo.automl.settings import read_settings
from hpo.core.errors import SpecError
from tests.local_llm import MODEL, Endpoint

RECORDS = [{"parameter": "train.lr", "default_value": 0.001}, "train.margin"]
ANSWER = {
    "automl_algorithm": "bayesian", "automl_hyperparameters": ["train.margin"],
    "algorithm_specific_params": {"automl_max_recommendations": 15}, "metric": "accuracy",
    "reasoning": "few trials",
}  # fmt: skip


def asked(reply, ask):
    """What `ask(options)` returns while the endpoint answers so, and what it was sent."""
    endpoint = Endpoint(lambda question: reply)
    with endpoint.running() as url:
        found = ask({"base_url": url, "model": MODEL})
    return found, endpoint.requests[0][2]["messages"][-1]["content"]


def test_a_wish_becomes_settings_that_a_search_takes():
    def ask(options):
        return NLConfigGenerator(**options).generate_config(
            user_prompt="quick and good", network="shelf_net", available_parameters=RECORDS,
            hardware_info={"gpus": 2},
        )  # fmt: skip

    found, question = asked(ANSWER, ask)
    assert found == ANSWER
    for word in ("quick and good", "shelf_net", "train.lr", '"gpus": 2', "hyperband"):
        assert word in question
    reasoning = found.pop("reasoning")
    names = found.pop("automl_hyperparameters")
    assert (reasoning, names) == ("few trials", ["train.margin"])
    assert read_settings(found).max_recommendations == 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"automl_hyperparameters": ["train.marign"]}, "did you mean 'train.margin'"),
        ({"automl_algorithm": "bayes"}, "algorithm"),
        ({"algorithm_specific_params": {"automl_max_recommendation": 3}}, "did you mean"),
        ({"algorithm_specific_params": {"automl_max_recommendations": 0}}, "at least 1"),
    ],
)
def test_settings_that_no_search_takes_are_refused(change, words):
    with pytest.raises(LlmError, match=words):
        asked(ANSWER | change, lambda options: NLConfigGenerator(**options).generate_config(
            "w", "n", ["train.margin"]
        ))  # fmt: skip


SEEN = {
    "patterns": ["small rates win"], "convergence_assessment": "improving",
    "recommendations": "go on", "suggested_ranges": {"train.lr": {"min": 1e-4, "max": 1e-2}},
}  # fmt: skip


def analyze(narrow, reply):
    history = [{"rec_id": 3, "metric": 0.5, "specs": {"train.lr": 0.01}}]
    return asked(reply, lambda options: LLMAnalyzer(7, narrow, **options).analyze(
        history, RECORDS, "net", "accuracy", "maximize", 0.5
    ))  # fmt: skip


def test_trials_are_analysed_and_ranges_proposed_where_that_is_asked():
    found, question = analyze(True, SEEN)
    assert found == SEEN | {"recommendations": ["go on"]}
    assert '"rec_id": 3' in question
    assert analyze(False, SEEN)[0]["suggested_ranges"] == {}
    for ends in ({"min": 2, "max": 1}, {"min": 1}, 3, {"min": True, "max": 2}):
        with pytest.raises(LlmError, match="train.lr: must be a parameter's min below its max"):
            analyze(True, SEEN | {"suggested_ranges": {"train.lr": ends}})


def test_without_a_model_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("AUTOML_LLM_MODEL", raising=False)
    with pytest.raises(SpecError, match="AUTOML_LLM_MODEL"):
        LLMAnalyzer()


def test_a_program_is_validated_and_taken_as_a_setting():
    phases = [ResearchPhase(name="rates", algorithm="bayesian", parameters=["train.lr"], trials=8),
              ResearchPhase(name="rest", algorithm="random", carry_forward="best", trials=15)]  # fmt: skip
    program = ResearchProgram(objective="higher P@1", network="net", phases=phases)
    assert program.validate(RECORDS, ["bayesian", "random"]) == []
    (problem,) = program.validate(RECORDS, ["bayesian"])
    assert problem.startswith("phases[1].algorithm: 'random' is not available")
    wrong = ResearchProgram(
        objective="", phases=[ResearchPhase(name="a", parameters=["x"], trials=0)]
    )
    assert len(wrong.validate(RECORDS, ["bayesian"])) == 2
    assert ResearchProgram(objective="").validate([], []) == ["phases: must hold one or more"]
    options = read_settings({"algorithm": "autoresearch", "research_program": program}).options
    told = options["research_program"]
    assert [(phase["trials"], phase["method"]) for phase in told["phases"]] == [
        (8, "tpe"),
        (15, "random"),
    ]
    assert (
        told["goal"]
        == "higher P@1. rates: vary train.lr. rest: vary everything; carry forward best"
    )
    json.dumps(told)


def test_the_published_names():
    alias.install()
    try:
        from tao_automl.brain.llm_analyzer import LLMAnalyzer as Analyzer
        from tao_automl.brain.llm_brain import LLMBrain
        from tao_automl.brain.nl_config import NLConfigGenerator as Generator
        from tao_automl.brain.research_program import ResearchPhase as Phase
        from tao_automl.brain.research_program import ResearchProgram as Program
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == alias.NAME]:
            del sys.modules[name]
    assert (Analyzer, Generator) == (LLMAnalyzer, NLConfigGenerator)
    assert (Phase, Program) == (ResearchPhase, ResearchProgram)
    assert LLMBrain.__name__ == "LlmChooser"
