"""Every trainer keeps the contract that the harness is written against."""

import inspect

import pytest

from hpo.core.errors import SpecError
from hpo.core.protocols import OPTIONAL, Algorithm, Executor, Trainer, TrialDriver
from hpo.study.trainers import demand, find_trainer
from tests import quick_trainer


def members(protocol):
    methods = {n for n, f in vars(protocol).items() if callable(f) and not n.startswith("_")}
    return methods, set(inspect.get_annotations(protocol))


def check_methods(thing, protocol):
    for name in members(protocol)[0]:
        if name in OPTIONAL and not hasattr(thing, name):
            continue
        wanted = inspect.signature(getattr(protocol, name)).parameters
        given = inspect.signature(getattr(thing, name)).parameters
        assert list(given) == [n for n in wanted if n != "self"], f"{thing}.{name}"
        for n, parameter in given.items():
            assert parameter.kind == wanted[n].kind, f"{thing}.{name}({n})"


@pytest.mark.parametrize("name", [quick_trainer.NAME, "ml_recog"])
def test_trainers_have_all_members(name):
    try:
        trainer = find_trainer(name)
    except SpecError as error:
        pytest.skip(f"the package is not installed, so its entry points are not known: {error}")
    check_methods(trainer, Trainer)
    for attribute in members(Trainer)[1]:
        assert hasattr(trainer, attribute), attribute
    assert trainer.direction in ("maximize", "minimize")


def test_our_trainer_leaves_nothing_out():
    assert all(hasattr(find_trainer("ml_recog"), name) for name in OPTIONAL)
    assert members(Trainer)[0] >= OPTIONAL


def test_what_is_left_out_is_refused_in_one_line():
    demand(find_trainer("ml_recog"), "add_classes")
    with pytest.raises(SpecError, match="^trainer quick: has no add_classes"):
        demand(find_trainer(quick_trainer.NAME), "add_classes")


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
