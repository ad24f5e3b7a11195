"""Every algorithm goes on, as `hpo resume --force` does, after its space was changed."""

import json
import random

import pytest

from hpo.algorithms import ALGORITHMS, create_algorithm
from hpo.algorithms.entry import Context
from hpo.core.budget import Budget
from hpo.core.trial import Ended, TrialState
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from tests.local_llm import MODEL, Endpoint
from tests.quick_runs import make_engine
from tests.quick_trainer import DEFAULTS
from tests.search_spaces.building import number, space_of

NODES = {
    "train.lr": number(1e-4, 1.0, 0.01),
    "train.margin": {"type": "ordered_int", "default": 2, "enum": [1, 2, 4, 8]},
    "train.width": {"type": "categorical", "default": "b", "enum": ["a", "b", "c"]},
    "train.seed": number(1, 9, 4, kind="int"),
}
"""Every kind of dimension."""
CHANGES = {
    "an option was taken away": {
        "train.width": {"type": "categorical", "default": "b", "enum": ["b", "c"]}
    },
    "the default option was taken away": {
        "train.width": {"type": "categorical", "default": "a", "enum": ["a", "c"]},
        "train.margin": {"type": "ordered_int", "default": 4, "enum": [4, 8]},
    },
    "ranges were narrowed": {
        "train.lr": number(0.02, 0.03, 0.02),
        "train.seed": number(6, 7, 6, kind="int"),
    },
    "ranges became options and options a range": {
        "train.lr": {"type": "categorical", "default": 0.01, "enum": [0.01, 0.5]},
        "train.width": number(0.1, 0.9, 0.5),
    },
    "parameters were taken away": {"train.width": None, "train.seed": None},
    "another parameter is searched": {
        "train.width": {"type": "categorical", "default": "c", "enum": ["c", "d"]},
        "train.margin": None,
        "train.momentum": number(0.0, 0.9, 0.5),
    },
}
STYLES = {"asha": "rungs", "bohb": "rungs"}
"""Of those that run in either, two go on from checkpoints."""
THINK = [name for name in ALGORITHMS if name in ("llm", "hybrid", "autoresearch")]


def spaces(change):
    nodes = {name: node for name, node in {**NODES, **change}.items() if node is not None}
    return space_of(NODES), space_of(nodes)


def answer(question):
    """A language model that knows any space: what it says is drawn by the question."""
    rng = random.Random(question)
    facts = json.loads(question.partition("\nYour last answer")[0])
    if "Plan phases" in facts["question"]:
        numbers = {"train.lr": [0.001, 0.05], "train.seed": [2, 8]}
        ways = ("random", "tpe", "bfbo") * 9
        return {"phases": [{"trials": 3, "method": way, "focus": numbers} for way in ways]}

    def drawn():
        shapes = {p["name"]: p["distribution"] for p in facts["parameters"]}
        del shapes[rng.choice([name for name in shapes if name != "train.lr"])]  # as in the best
        found = {}
        for name, shape in shapes.items():
            if "options" in shape:
                found[name] = rng.choice(shape["options"])
            elif shape["type"] == "int":
                found[name] = rng.randint(shape["low"], shape["high"])
            else:
                found[name] = rng.uniform(shape["low"], shape["high"])
        return found

    candidates = [{"params": drawn(), "hypothesis": "so"} for _ in range(3)]
    return {"candidates": candidates, **candidates[0]}


@pytest.fixture
def options(request, monkeypatch):
    """What an algorithm needs to be built."""
    if request.getfixturevalue("name") not in THINK:
        yield {}
        return
    monkeypatch.setenv("AUTOML_LLM_MODEL", MODEL)
    monkeypatch.setenv("AUTOML_LLM_API_KEY", "sk-1")
    with Endpoint(answer).running() as address:
        yield {"llm_endpoint": address}


def search(folder, space, ledger, name, options, trials):
    """Go on with a ledger until it has so many trials, as a new start of the search does."""
    algorithm = create_algorithm(
        name, space, direction="maximize", num_epochs=9, seed=3, options=options,
        context=Context(style=STYLES.get(name, "running"), restart_keys=("train.width",)),
    )  # fmt: skip
    base = {**DEFAULTS, "train": {**DEFAULTS["train"], "lr": 0.01, "momentum": 0.1}}
    engine = make_engine(
        folder, algorithm, ledger=ledger, budget=Budget(trials=trials),
        specs=TrialSpecs(base_spec=base, seed_key="", space=space),
    )  # fmt: skip
    begun = ledger.next_number
    while (launch := engine.next_launch()) is not None:
        level = random.Random(launch.number).random() if launch.number else 1.0
        for epoch in range(1, launch.spec["train"]["num_epochs"] + 1):
            if not engine.on_epoch(launch.number, {"epoch": epoch, "value": level + epoch / 99}):
                break
        engine.on_end(launch.number, Ended())
    return ledger.trials()[begun:]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "bayesian" else n for n in ALGORITHMS],
)
def test_it_goes_on_in_the_new_space(tmp_path, name, change, options):
    old, new = spaces(CHANGES[change])
    ledger = Ledger.create(None, "maximize")
    begun, more = (8, 4) if name == "bayesian" else (14, 9)  # which is slow
    before = search(tmp_path, old, ledger, name, options, begun)
    assert {t.params["train.width"] for t in before} >= {"a", "b"}
    after = search(tmp_path, new, ledger, name, options, begun + more)
    assert len(after) == more
    assert {t.state for t in after} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in after:
        if trial.start_from is None:
            new.validate(trial.params)
    assert not [t.note for t in after if "failed" in t.note or "fallback" in t.note]
    assert len(search(tmp_path, new, ledger, name, options, begun + more + 2)) == 2
