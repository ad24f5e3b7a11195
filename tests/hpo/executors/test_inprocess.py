import pytest

from hpo.core.budget import Budget
from hpo.core.errors import RunError
from hpo.core.trial import TrialState
from hpo.executors.inprocess import InProcessExecutor
from hpo.searching.engine import ReceiptError
from tests.quick_runs import Listed, make_engine, optuna_algorithm, quick_study
from tests.quick_trainer import NAME, TRAINER
from tests.telling_trainer import NAME as TELLING


def run(folder, algorithm, spec=None, **plan):
    engine = make_engine(folder, algorithm, study=quick_study(spec), **plan)
    InProcessExecutor(NAME).run(engine)
    return engine


def trained(folder, number):
    return (folder / f"trials/{number:04d}/trained.txt").read_text().split()


def test_a_search_with_the_real_pieces(tmp_path):
    engine = run(tmp_path, optuna_algorithm("tpe"), budget=Budget(trials=9))
    trials = engine.ledger.trials()
    assert len(trials) == 9
    assert engine.is_over()
    states = [str(t.state) for t in trials]
    assert states[0] == "complete"
    assert states.count("pruned") >= 3
    for t in trials:
        assert trained(tmp_path, t.number) == [str(e) for e in range(1, t.epochs + 1)]
        assert t.epochs == 9 or t.state is TrialState.PRUNED
        assert t.receipt["applied"] == t.params
    assert engine.best().value > trials[0].value


def test_listeners_hear_what_is_done_before_the_first_epoch(tmp_path):
    engine = make_engine(tmp_path, Listed([0.01]), budget=Budget(trials=1))
    InProcessExecutor(TELLING).run(engine)
    assert engine.events.names()[:5] == ["trial_started", *["trial_progress"] * 3, "epoch"]
    texts = [event["text"] for event in engine.events.named("trial_progress")]
    assert texts == ["head epochs 1/20", "looking around", ""]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("raise", {"kind": "code", "message": "RuntimeError: the loss exploded on purpose"}),
        ("oom", {"kind": "out_of_memory", "message": "out of memory on purpose"}),
        ("nan", {"kind": "diverged", "message": "the metric of epoch 3 is nan, not a number"}),
    ],
)
def test_faults_of_one_trial_leave_the_others_alone(tmp_path, kind, cause):
    spec = {"fault.kind": kind, "fault.trial": 1, "fault.epoch": 3}
    engine = run(tmp_path, Listed([0.01] * 3), spec, budget=Budget(trials=3))
    assert [str(t.state) for t in engine.ledger.trials()] == ["complete", "failed", "complete"]
    assert engine.ledger.trial(1).error == cause
    assert engine.ledger.trial(1).value is None


def test_broken_plumbing_ends_the_search_and_is_no_failed_trial(tmp_path):
    spec = {"fault.kind": "wrong_receipt", "fault.trial": 1}
    with pytest.raises(
        ReceiptError, match=r"trial 1: train.lr: was suggested to be 0.01, but .* 0.5"
    ):
        run(tmp_path, Listed([0.01] * 3), spec, budget=Budget(trials=3))


def test_a_ledger_that_cannot_write_ends_the_search(tmp_path):
    engine = make_engine(tmp_path, Listed([0.01] * 3), budget=Budget(trials=3))
    record, calls = engine.ledger.record, []

    def refuse(*args, **kwargs):
        calls.append(args)
        if len(calls) == 12:
            raise RunError("disk full")
        record(*args, **kwargs)

    engine.ledger.record = refuse
    with pytest.raises(RunError, match="disk full"):
        InProcessExecutor(NAME).run(engine)
    assert [str(t.state) for t in engine.ledger.trials()] == ["complete", "running"]
    assert engine.ledger.trial(1).epochs == 2


def test_confirmations_follow_when_the_algorithm_runs_dry(tmp_path):
    engine = run(tmp_path, Listed([0.01, 0.1]), budget=Budget(trials=20), confirm=1)
    trials = engine.ledger.trials()
    assert [t.purpose for t in trials] == ["search", "search", "confirm", "confirm"]
    # The default is the best of the two, so it alone is trained again, with two new seeds.
    assert [t.params for t in trials[2:]] == [trials[0].params] * 2
    assert len({t.seed for t in trials if t.params == trials[0].params}) == 3


def test_calls_and_closing(tmp_path):
    executor = InProcessExecutor(NAME)
    assert executor.call("probe", TRAINER.validate({}))["images_per_s"] == 1000.0
    executor.close()
    executor.close()


def test_what_listeners_print_is_the_programs_and_what_a_trial_prints_is_in_its_log(
    tmp_path, capsys
):
    engine = make_engine(tmp_path, Listed([0.01]), budget=Budget(trials=1))
    emit = engine.events

    class Saying:
        def __getattr__(self, name):
            return getattr(engine, name)

        def on_epoch(self, number, payload):
            print(f"epoch {payload['epoch']}")
            return engine.on_epoch(number, payload)

        def emit(self, event):
            print(event.text)
            emit(event)

    InProcessExecutor(TELLING).run(Saying())
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "head epochs 1/20",
        "looking around",
        "",
        *(f"epoch {n}" for n in range(1, 10)),
    ]
    log = (tmp_path / "trials/0000/log.txt").read_text()
    assert log.startswith("worker ")
    assert "epoch 1" not in log
