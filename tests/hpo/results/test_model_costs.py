"""Limits on models: what is measured, what is refused, and the table of value against cost."""

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.trial import Measurement, TrialRecord, TrialState
from hpo.results.model_costs import Architectures, cost_of, pareto, read_costs
from hpo.run.run_dir import RunDir
from hpo.study.model_limits import ModelLimits, parse_limits, render_count
from tests.quick_runs import Listed, make_engine, optuna_algorithm, run_all, train_to_end
from tests.quick_trainer import value_at
from tests.search_spaces.building import number, space_of

COSTS = {("a", 1): (2.0, 1e6), ("a", 2): (3.0, 2e6), ("b", 1): (8.0, 1e6), ("b", 2): (9.0, 30e6)}


class Measuring:
    """A trainer and an executor in one: costs by backbone and size."""

    name = "measuring"

    def __init__(self):
        self.asked = []

    def measure(self):
        raise AssertionError("the executor is asked, not the trainer")

    def call(self, method, spec):
        assert method == "measure"
        model = spec["model"]
        self.asked.append((model["net"], model["size"]))
        latency, params = COSTS[model["net"], model["size"]]
        return {"latency_ms": latency, "params": params, "device": "test"}


def space():
    return space_of(
        {
            "model.net": {"type": "categorical", "default": "a", "enum": ["a", "b"]},
            "model.size": {"type": "ordered_int", "default": 1, "enum": [1, 2]},
            "train.lr": number(0.01, 1.0, 0.1),
        }
    )


def measured(tmp_path, limits, trainer=None):
    tmp_path.mkdir(exist_ok=True)
    trainer = trainer or Measuring()
    spec = {"model": {"net": "a", "size": 1}, "train": {"lr": 0.1}}
    found = Architectures(RunDir(tmp_path), space(), spec, limits)
    found.measure(trainer, trainer)
    return found, trainer


def test_every_architecture_is_measured_once_and_kept(tmp_path):
    found, trainer = measured(tmp_path, ModelLimits(latency_ms=5))
    assert sorted(trainer.asked) == sorted(COSTS)
    again, other = measured(tmp_path, ModelLimits(latency_ms=5))
    assert other.asked == []
    assert again.rows == found.rows == read_costs(RunDir(tmp_path))


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (ModelLimits(latency_ms=5), {("a", 1), ("a", 2)}),
        (ModelLimits(params=1.5e6), {("a", 1), ("b", 1)}),
        (ModelLimits(latency_ms=8, params=1e6), {("a", 1), ("b", 1)}),
        (ModelLimits(), set(COSTS)),
    ],
)
def test_what_is_beyond_a_limit_is_refused(tmp_path, limits, kept):
    found, _ = measured(tmp_path, limits)
    for net, size in COSTS:
        why = found.refuse({"model.net": net, "model.size": size, "train.lr": 0.1})
        assert bool(why) == ((net, size) not in kept)


def test_the_reason_names_the_figure_and_the_limit(tmp_path):
    found, _ = measured(tmp_path, ModelLimits(latency_ms=8.5, params=20e6))
    slow = found.refuse({"model.net": "b", "model.size": 2})
    assert slow == "net=b, size=2: a picture takes 9 ms, the limit is 8.5 ms"
    large, _ = measured(tmp_path / "other", ModelLimits(params=20e6))
    assert large.refuse({"model.net": "b", "model.size": 2}) == (
        "net=b, size=2: 30M parameters, the limit is 20M"
    )


def test_an_architecture_that_a_changed_space_adds_is_measured_too(tmp_path, monkeypatch):
    monkeypatch.setitem(COSTS, ("a", 3), (4.0, 3e6))
    monkeypatch.setitem(COSTS, ("b", 3), (4.0, 40e6))
    trainer, spec = Measuring(), {"model": {"net": "a", "size": 1}}
    for sizes in ([1, 2], [2, 3]):
        nodes = {
            "model.net": {"type": "categorical", "default": "a", "enum": ["a", "b"]},
            "model.size": {"type": "ordered_int", "default": 2, "enum": sizes},
        }
        found = Architectures(RunDir(tmp_path), space_of(nodes), spec, ModelLimits(params=5e6))
        found.measure(trainer, trainer)
    assert sorted(trainer.asked) == sorted(COSTS)
    assert found.refuse({"model.net": "b", "model.size": 3})
    assert read_costs(RunDir(tmp_path)) == found.rows


class ByLength(Measuring):
    """Parameters by the length of an embedding, which heads search in a range."""

    def call(self, method, spec):
        self.asked.append(spec["model"]["length"])
        return {"latency_ms": 1.0, "params": 1000.0 * spec["model"]["length"], "device": "test"}


def of_stages(tmp_path, heads, params):
    """Architectures of a search whose last stage searches none of its own."""
    last = space_of({"train.lr": number(0.01, 1.0, 0.1)})
    spec, trainer = {"model": {"length": 128}}, ByLength()
    limits = ModelLimits(params=params)
    found = Architectures(RunDir(tmp_path), last, spec, limits, [space_of(heads)])
    return found, trainer, lambda: found.measure(trainer, trainer)


def test_limits_hold_for_what_networks_take_over_from_heads(tmp_path):
    options = {"type": "ordered_int", "default": 128, "enum": [64, 128, 500]}
    found, trainer, measure = of_stages(tmp_path, {"model.length": options}, 200e3)
    measure()
    assert sorted(set(trainer.asked)) == [64, 128, 500]
    assert "500k parameters" in found.refuse({"model.length": 500, "train.lr": 0.1})
    assert found.refuse({"model.length": 64}) == ""


def test_a_range_of_heads_is_measured_at_its_ends(tmp_path):
    lengths = {"type": "int", "default": 128, "minimum": 64, "maximum": 512}
    found, trainer, measure = of_stages(tmp_path, {"model.length": lengths}, 600e3)
    measure()
    assert sorted(set(trainer.asked)) == [64, 128, 512]
    assert found.refuse({"model.length": 300}) == ""
    (tmp_path / "other").mkdir()
    *_, measure = of_stages(tmp_path / "other", {"model.length": lengths}, 200e3)
    with pytest.raises(SpecError, match=r"model\.length has too many values .*length=512: 512k"):
        measure()


@pytest.mark.parametrize("default", ["a", "b"])
@pytest.mark.parametrize("limits", [ModelLimits(), ModelLimits(latency_ms=5)])
def test_what_only_one_architecture_has_beside_itself_keeps_none_from_being_measured(
    tmp_path, limits, default
):
    idle_beside_a = {
        "train.extra": number(1.0, 3.0, 2.0),
        "train.way": {"type": "categorical", "default": "x", "enum": ["x", "y"]},
    }
    nodes = {
        "model.net": {"type": "categorical", "default": default, "enum": ["a", "b"]},
        "model.size": {"type": "ordered_int", "default": 1, "enum": [1, 2]},
        **idle_beside_a,
    }

    def inactive(spec):
        return dict.fromkeys(idle_beside_a, "b has it") if spec["model"]["net"] == "a" else {}

    space, trainer = space_of(nodes, inactive=inactive), Measuring()
    assert {p.name for p in space.parameters if p.condition} == set(idle_beside_a)
    spec = {"model": {"net": default, "size": 1}}
    found = Architectures(RunDir(tmp_path), space, spec, limits)
    found.measure(trainer, trainer)
    assert sorted(trainer.asked) == sorted(COSTS)
    assert trainer.asked[0] == (default, 1)
    refused = {n for n, s in COSTS if found.refuse({"model.net": n, "model.size": s})}
    assert refused == ({"b"} if limits else set())


def test_limits_that_nothing_keeps_are_one_line(tmp_path):
    with pytest.raises(SpecError, match=r"no architecture is within .* net=a, size=1: .* 2 ms"):
        measured(tmp_path, ModelLimits(latency_ms=1))


def test_a_trainer_that_cannot_measure_takes_no_limit(tmp_path):
    class Plain:
        name = "plain"

    assert measured(tmp_path, ModelLimits(), Plain())[0].rows == []
    with pytest.raises(SpecError, match="plain cannot measure"):
        measured(tmp_path, ModelLimits(params=1e6), Plain())


@pytest.mark.parametrize(
    ("latency", "params", "limits"),
    [
        ("5ms", "", ModelLimits(latency_ms=5)),
        ("0.1s", "30M", ModelLimits(latency_ms=100, params=30e6)),
        ("", "500k", ModelLimits(params=500e3)),
        ("", "1234", ModelLimits(params=1234)),
    ],
)
def test_limits_are_read_as_people_write_them(latency, params, limits):
    assert parse_limits(latency, params) == limits


@pytest.mark.parametrize(
    ("latency", "params", "words"),
    [
        ("5", "", "max_latency: .*5ms"),
        ("0ms", "", "max_latency"),
        ("", "many", "max_params: .*30M"),
    ],
)
def test_wrong_limits_are_one_line(latency, params, words):
    with pytest.raises(SpecError, match=words):
        parse_limits(latency, params)


def test_counts_for_people():
    assert [render_count(n) for n in (372_416, 11.2e6, 1.5e9, 12, 999_400, 999_600)] == [
        "372k", "11.2M", "1.5B", "12", "999k", "1M",
    ]  # fmt: skip


def test_a_refused_trial_counts_as_none_and_the_search_goes_on(tmp_path):
    rates = [0.1, 0.9, 0.9, 0.9, 0.9, 0.2, 0.3]
    engine = make_engine(
        tmp_path, Listed(rates), budget=Budget(trials=3),
        refuse=lambda params: "too large" if params["train.lr"] == 0.9 else "",
    )  # fmt: skip
    launches = run_all(engine)
    assert [launch.spec["train"]["lr"] for launch in launches] == [0.1, 0.2, 0.3]
    assert engine.spent().trials == 3
    assert engine.ended_because == "trials"
    refused = [t for t in engine.ledger.trials() if t.is_refused]
    assert [t.error["message"] for t in refused] == ["too large"] * 4
    # To the algorithm they are trials that failed, so that a replay tells it the same.
    assert ("end", 1, "failed", None) in engine._algorithm.heard


def test_however_many_proposals_are_refused_the_search_goes_on_or_ends(tmp_path):
    def refuse(params):
        return "too large" if params["train.lr"] == 0.9 else ""

    made = []
    for refused in (499, 500):
        rates = [0.1, *[0.9] * refused, 0.2, 0.3]
        facts = {"budget": Budget(trials=3), "refuse": refuse}
        engine = make_engine(tmp_path / str(refused), Listed(rates), **facts)
        launches = run_all(engine)
        made.append(([launch.spec["train"]["lr"] for launch in launches], engine.ended_because))
    cause = "the last 500 proposals were refused, the newest by: too large"
    assert made == [([0.1, 0.2, 0.3], "trials"), ([0.1], cause)]
    assert engine.is_over()
    # A resume asks once more.
    again = make_engine(tmp_path / "500", Listed(rates), ledger=engine.ledger, **facts)
    assert [launch.spec["train"]["lr"] for launch in run_all(again)] == [0.2, 0.3]


@pytest.mark.parametrize("name", ["tpe", "mfbo"])
def test_an_algorithm_learns_what_is_refused(tmp_path, name):
    """The best values lie beyond the limit, so a model that knows of none there would go there."""
    engine = make_engine(
        tmp_path, optuna_algorithm(name), budget=Budget(trials=20),
        refuse=lambda params: "too wide" if params["train.width"] > 100 else "",
    )  # fmt: skip
    while (launch := engine.next_launch()) is not None:
        assert engine.ledger.next_number < 200
        params = launch.spec["train"]
        train_to_end(engine, launch, lambda epoch, p=params: value_at(p, epoch, 1))
    assert engine.ended_because == "trials"
    assert sum(t.is_refused for t in engine.ledger.trials()) < 20


def trial(number, net, size, value, epochs=3):
    record = TrialRecord(
        number=number,
        state=TrialState.COMPLETE,
        params={"model.net": net, "model.size": size},
        latents={},
        until_epoch=3,
    )
    record.measurements += [Measurement(epoch=e, value=value) for e in range(1, epochs + 1)]
    return record


def test_the_front_holds_what_nothing_quicker_beats(tmp_path):
    found, _ = measured(tmp_path, ModelLimits())
    trials = [
        trial(0, "a", 1, 0.5), trial(1, "a", 1, 0.6), trial(2, "a", 2, 0.6),
        trial(3, "b", 1, 0.8), trial(4, "b", 2, 0.99, epochs=2),
    ]  # fmt: skip
    rows = pareto(trials, found.rows, "maximize")
    assert [(r["trial"], r["latency_ms"], r["value"], r["on_front"]) for r in rows] == [
        (1, 2.0, 0.6, True), (2, 3.0, 0.6, False), (3, 8.0, 0.8, True),
    ]  # fmt: skip
    assert cost_of(found.rows, {"model.net": "c", "model.size": 1}) is None


@pytest.mark.parametrize("text", [b"", b"{", b"{}", b"[3]", b'[{"architecture": {}}]', b"\xff"])
def test_damaged_measurements_are_made_anew(tmp_path, text):
    found, _ = measured(tmp_path, ModelLimits(latency_ms=5))
    (tmp_path / "architectures.json").write_bytes(text)
    again, other = measured(tmp_path, ModelLimits(latency_ms=5))
    assert sorted(other.asked) == sorted(COSTS)
    assert again.rows == found.rows == read_costs(RunDir(tmp_path))
