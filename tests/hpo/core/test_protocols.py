"""Every trainer keeps the contract that the harness is written against."""

import inspect

import pytest

from hpo.core.errors import SpecError
from hpo.core.protocols import (
    Algorithm,
    BackgroundAlgorithm,
    EventSource,
    Executor,
    GroupedPruning,
    Narrowable,
    OptunaView,
    Trainer,
    TrialDriver,
    WarmStarter,
)
from hpo.core.trainer_extras import EXTRAS
from hpo.study.trainers import find_trainer
from tests import quick_trainer
from tests.quick_runs import optuna_algorithm


def members(protocol):
    methods = {n for n, f in vars(protocol).items() if callable(f) and not n.startswith("_")}
    return methods, set(inspect.get_annotations(protocol))


MAY_LACK = {
    ("split_data", "group_by"), ("inspect_data", "opens"), ("inspect_data", "beside"), ("probe", "brief"),
    ("fit", "progress"), ("fit_heads", "progress"),
}  # fmt: skip
"""Arguments that a trainer may leave out: it is then never given them."""


def check_methods(thing, protocol):
    for name in members(protocol)[0]:
        wanted = inspect.signature(getattr(protocol, name)).parameters
        given = inspect.signature(getattr(thing, name)).parameters
        told = [n for n in wanted if n != "self" and (n in given or (name, n) not in MAY_LACK)]
        assert list(given) == told, f"{thing}.{name}"
        for n, parameter in given.items():
            assert parameter.kind == wanted[n].kind, f"{thing}.{name}({n})"


@pytest.mark.parametrize("name", [quick_trainer.NAME, "ml_recog"])
def test_trainers_have_all_members(name):
    try:
        trainer = find_trainer(name)
    except SpecError as error:
        pytest.skip(f"the package is not installed, so its entry points are not known: {error}")
    check_methods(trainer, Trainer)
    for extra in EXTRAS:
        if isinstance(trainer, extra):
            check_methods(trainer, extra)
    for attribute in members(Trainer)[1]:
        assert hasattr(trainer, attribute), attribute
    assert trainer.direction in ("maximize", "minimize")


def test_our_trainer_offers_every_extra_but_another_key_for_validations():
    lacking = [kind.__name__ for kind in EXTRAS if not isinstance(find_trainer("ml_recog"), kind)]
    assert lacking == ["SparseValidation"]


@pytest.mark.parametrize("name", ["tpe", "hyperband", "pbt", "dehb", "llm"])
def test_algorithms_have_the_extras_that_they_are_asked_for(name):
    extras = (BackgroundAlgorithm, EventSource, GroupedPruning, Narrowable, OptunaView, WarmStarter)
    options = {"llm_endpoint": "http://127.0.0.1:9", "llm_model": "m"} if name == "llm" else {}
    algorithm = optuna_algorithm(name, pruner="none", options=options)
    found = [extra for extra in extras if isinstance(algorithm, extra)]
    assert OptunaView in found
    for extra in found:
        check_methods(algorithm, extra)


def test_engine_algorithm_and_executors_have_all_members():
    from hpo.algorithms.optuna_brain import OptunaAlgorithm
    from hpo.executors.inprocess import InProcessExecutor
    from hpo.executors.ray import RayExecutor
    from hpo.searching.engine import Engine

    for kind, protocol in (
        (Engine, TrialDriver),
        (OptunaAlgorithm, Algorithm),
        (InProcessExecutor, Executor),
        (RayExecutor, Executor),
    ):
        for name in members(protocol)[0]:
            wanted = inspect.signature(getattr(protocol, name))
            assert list(inspect.signature(getattr(kind, name)).parameters) == list(
                wanted.parameters
            )
