"""The winner's confirmation through the engine, with checkpoints that are really evaluated."""

import json
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.event_json import to_plain
from hpo.core.trial import Ended, Measurement, Purpose, TrialRecord, TrialState
from hpo.results.confirm import confirm, fewer_words
from hpo.run.ledger import Ledger
from tests.quick_runs import Events, Listed, make_engine, receipt_of, run_all
from tests.quick_trainer import TRAINER

QUERIES = 100


class Evaluator:
    """Answers `evaluate` for checkpoints that hold how many queries of each half are right."""

    def __init__(self, *, metric="query"):
        self.metric, self.asked = metric, []

    def call(self, method, spec):
        assert method == "evaluate"
        checkpoint = Path(spec["evaluate"]["checkpoint"])
        self.asked.append(checkpoint)
        first, second = json.loads(checkpoint.read_text())
        hits = [i < first for i in range(QUERIES // 2)] + [i < second for i in range(QUERIES // 2)]
        if self.metric == "broken":
            raise OSError("the disk is gone")
        mean = sum(hits) / QUERIES if self.metric != "other" else 0.123
        return {
            "metrics": {"val_precision_at_1": mean},
            "hits": hits,
            "query_classes": ["a"] * (QUERIES // 2) + ["b"] * (QUERIES // 2),
        }


def searched(folder, rates, right, *, confirm=2, ledger=None, budget=None, quick=()):
    """A search whose values are its rates, every run with a checkpoint of `right[rate]`.

    Epochs of `quick` rates take half the time.
    """
    engine = make_engine(
        folder, Listed(rates), ledger=ledger, budget=budget or Budget(trials=len(rates)),
        confirm=confirm,
    )  # fmt: skip
    while (launch := engine.next_launch()) is not None:
        rate = launch.spec["train"]["lr"]
        kept = Path(launch.folder) / "ckpt" / "best.ckpt"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(right[rate]))
        for epoch in range(1, 10):
            value = (
                rate
                if engine.ledger.trial(launch.number).purpose == "search"
                else sum(right[rate]) / 100
            )
            seconds = 0.5 if rate in quick else 1.0
            report = {
                **{"epoch": epoch, "value": value, "seconds": seconds},
                "receipt": receipt_of(launch),
            }
            assert engine.on_epoch(launch.number, report)
        engine.on_end(launch.number, Ended(receipt=receipt_of(launch)))
    return engine


def compared(engine, evaluator=None, asked=2):
    events = Events()
    evaluator = evaluator or Evaluator()
    result = confirm(
        engine.specs.run, engine.ledger, TRAINER, evaluator, engine.specs.spec_of, events,
        asked=asked,
    )  # fmt: skip
    return result, events


def test_the_lucky_one_does_not_win(tmp_path):
    """Trial 2 looked best in the search; with new seeds it answers fewer queries than trial 1."""
    engine = searched(tmp_path, [0.3, 0.8, 0.9], {0.3: (20, 20), 0.8: (45, 45), 0.9: (25, 25)})
    assert engine.best().number == 1  # by the means alone
    result, events = compared(engine)
    assert (result.winner, result.default) == (1, 0)
    assert [s.number for s in result.standings] == [1, 2, 0]
    assert [s.value for s in result.standings] == [0.9, 0.5, 0.4]
    assert not result.standings[1].is_tied
    assert result.words[0].startswith("trial 1: 0.9000 (0.8")
    assert result.words[0].endswith(" over 2 new seeds, the best mean of 3")
    assert result.words[1].startswith("+0.5000 over the default, 0.4000 (0.3")
    assert events.named("chosen") == [to_plain(result.to_json())]
    assert engine.best().number == 1


def test_a_tie_is_called_one(tmp_path):
    engine = searched(tmp_path, [0.3, 0.8, 0.9], {0.3: (40, 40), 0.8: (41, 41), 0.9: (41, 40)})
    result, _ = compared(engine)
    assert result.winner == 1
    assert (
        "a tie with trial 2 (0.8100) and the default (0.8000): the difference may be chance"
        in result.words
    )
    assert result.words[-1].endswith("which may be chance")


def test_a_tie_with_the_default_alone_is_told_once(tmp_path):
    result, _ = compared(searched(tmp_path, [0.3, 0.8], {0.3: (40, 40), 0.8: (41, 41)}))
    assert result.winner == 1
    assert [line for line in result.words if "may be chance" in line] == result.words[1:]
    assert result.words[1].startswith("+0.0200 over the default, 0.8000 (")


def test_a_cheaper_winner_is_compared_with_the_default_itself(tmp_path):
    """Four queries set the default apart from the best mean, and two from the winner below that.

    Of a hundred queries drawn with replacement none is among four that differ by a chance of 1.7 %
    (0.96^100), which is below 2.5 %, and none among two by 13 %.
    """
    right = {0.3: (43, 43), 0.8: (45, 45), 0.9: (44, 44)}
    result, _ = compared(searched(tmp_path, [0.3, 0.8, 0.9], right, quick=[0.9]))
    by_number = {s.number: s for s in result.standings}
    assert (result.winner, result.default, result.standings[0].number) == (2, 0, 1)
    assert [(s.is_tied, s.is_level) for s in map(by_number.get, (0, 1, 2))] == [
        (False, True), (True, True), (True, True),
    ]  # fmt: skip
    words = "; ".join(result.words)
    assert "+0.0200 over the default, 0.8600 (" in words
    assert words.endswith("which may be chance")
    assert "a tie with trial 1 (0.9000) and the default (0.8600): the difference may be" in words


def test_a_configuration_that_was_drawn_twice_is_compared_once_beside_the_second_best(tmp_path):
    right = {0.3: (40, 40), 0.8: (41, 41), 0.7: (41, 40)}
    engine = searched(tmp_path, [0.3, 0.8, 0.8, 0.7], right)
    result, _ = compared(engine)
    assert [s.number for s in result.standings] == [1, 3, 0]
    assert (
        "a tie with trial 3 (0.8100) and the default (0.8000): the difference may be chance"
        in result.words
    )
    assert sum(t.is_repeat for t in engine.ledger.trials()) == 6


def test_nothing_better_than_the_default_leaves_the_default(tmp_path):
    engine = searched(tmp_path, [0.3, 0.8, 0.9], {0.3: (40, 40), 0.8: (20, 20), 0.9: (10, 10)})
    result, _ = compared(engine)
    assert result.winner == 0
    assert "nothing that was found is better than the default configuration" in result.words
    assert engine.best().number == 0


def test_the_choice_stands_after_a_restart_and_evaluations_are_not_repeated(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger.create(path, "maximize")
    right = {0.3: (20, 20), 0.8: (45, 45), 0.9: (25, 25)}
    engine = searched(tmp_path, [0.3, 0.8, 0.9], right, ledger=ledger)
    evaluator = Evaluator()
    first, _ = compared(engine, evaluator)
    assert len(evaluator.asked) == 6
    again, _ = compared(engine, evaluator)
    assert again == first
    assert len(evaluator.asked) == 6
    ledger.close()
    reopened = Ledger.open(path)
    assert [t.number for t in reopened.trials() if t.is_chosen] == [1]
    more = make_engine(
        tmp_path, Listed([0.3, 0.8, 0.9, 0.95]), ledger=reopened, budget=Budget(trials=4)
    )
    run_all(more, lambda epoch: 0.95)
    assert not any(t.is_chosen for t in reopened.trials())
    reopened.close()
    assert not any(t.is_chosen for t in Ledger.open(path).trials())


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b'{"hits": 3}', b'{"hits": [], "metrics": {}}']
)
def test_an_evaluation_whose_record_is_damaged_is_made_again(tmp_path, text):
    engine = searched(tmp_path, [0.3, 0.8], {0.3: (20, 20), 0.8: (45, 45)}, confirm=1)
    evaluator = Evaluator()
    first, _ = compared(engine, evaluator)
    count = len(evaluator.asked)
    file = next((tmp_path / "evaluations" / "confirm").glob("*/hits.json"))
    file.write_bytes(text)
    again, _ = compared(engine, evaluator)
    assert (again, len(evaluator.asked)) == (first, count + 1)


@pytest.mark.parametrize("metric", ["other", "broken"])
def test_without_hits_that_explain_the_metric_means_decide_and_that_is_said(tmp_path, metric):
    engine = searched(tmp_path, [0.3, 0.8, 0.9], {0.3: (20, 20), 0.8: (45, 45), 0.9: (25, 25)})
    result, _ = compared(engine, Evaluator(metric=metric))
    assert all(s.interval is None for s in result.standings)
    assert (
        result.words[-1] == "the trainer reports no hits per query, so only the means are compared"
    )
    assert result.winner == (1 if metric == "broken" else result.winner)


def test_a_default_that_leads_is_told_over_its_new_seeds(tmp_path):
    engine = searched(tmp_path, [0.9, 0.3], {0.9: (40, 30), 0.3: (20, 20)}, confirm=1)
    result, _ = compared(engine, asked=1)
    assert (result.winner, result.default, len(result.standings)) == (0, 0, 1)
    assert result.words[0].startswith("trial 0: 0.7000 (0.")
    assert result.words[0].endswith(" over 2 new seeds")
    assert result.words[1:] == ["nothing that was found is better than the default configuration"]


def test_a_search_without_repeats_compares_nothing(tmp_path):
    engine = searched(tmp_path, [0.3, 0.8], {0.3: (20, 20), 0.8: (45, 45)}, confirm=0)
    assert compared(engine)[0] is None
    assert engine.best().number == 1


def test_a_budget_too_small_for_the_default_compares_nothing(tmp_path):
    engine = make_engine(tmp_path, Listed([0.3, 0.8]), budget=Budget(epochs=23), confirm=1)
    run_all(engine, lambda epoch: 0.5)
    assert compared(engine)[0] is None


def test_fewer_finalists_than_were_asked_for_are_said_with_the_reason(tmp_path):
    """Two trials were trained where three were asked for; both halves have the same hits."""
    engine = searched(tmp_path, [0.3, 0.8], {0.3: (20, 20), 0.8: (45, 45)}, confirm=3)
    result, _ = compared(engine, asked=3)
    assert result.words[-1] == (
        "2 trials compared where 3 were asked for: no other was trained to its end"
    )
    assert compared(engine, asked=2)[0].words == result.words[:-1]


@pytest.mark.parametrize(
    ("best", "compared", "said"),
    [
        (2, 0, "the best trial went on from one with other parameters"),
        (
            1,
            2,
            "2 trials compared where 3 were asked for: no other was trained to its end with the",
        ),
    ],
)
def test_trials_whose_parameters_changed_on_the_way_are_said_not_to_be_trained_again(
    best, compared, said
):
    trials = [
        TrialRecord(
            number=n, state=TrialState.COMPLETE, params={"lr": n}, latents={}, until_epoch=9,
            start_from=(0, 3) if n == 2 else None,
            measurements=[Measurement(epoch=9, value=0.5 + 0.1 * (n == best))],
        )
        for n in range(3)
    ]  # fmt: skip
    (words,) = fewer_words(trials, "maximize", 3, compared)
    assert words.startswith(said)


@pytest.mark.parametrize(
    ("ends", "compared", "said"),
    [
        ({2: "failed failed"}, 2, "2 of 3 finalists compared: repeats of trial 2 failed: no room"),
        (
            {1: "failed failed", 2: "failed failed"}, 1,
            "1 of 3 finalists compared: repeats of trials 2, 1 failed: no room",
        ),
        ({2: "failed complete", 1: "complete"}, 0, "repeats of trial 2 failed: no room"),
        ({2: "failed complete", 1: ""}, 2,
         "2 of 3 finalists compared: the budget ended before the others were trained again"),
    ],
)  # fmt: skip
def test_repeats_that_failed_are_not_put_down_to_the_budget(ends, compared, said):
    ends = {0: "complete complete", 1: "complete complete", 2: "complete complete"} | ends
    trials = [
        TrialRecord(
            number=3 * again + n, state=TrialState(state), params={"lr": n}, latents={},
            until_epoch=9, purpose=Purpose.CONFIRM if again else Purpose.SEARCH,
            measurements=[Measurement(epoch=9, value=0.5 + 0.1 * n)],
            error={"kind": "infrastructure", "message": "no room"} if state == "failed" else None,
        )
        for n in range(3)
        for again, state in enumerate(["complete", *ends[n].split()])
    ]  # fmt: skip
    assert fewer_words(trials, "maximize", 2, compared) == [said]


def test_a_comparison_that_the_budget_cut_short_says_so(tmp_path):
    engine = searched(
        tmp_path, [0.3, 0.8, 0.9], {0.3: (20, 20), 0.8: (45, 45), 0.9: (25, 25)},
        budget=Budget(epochs=45), confirm=2,
    )  # fmt: skip
    repeated = {json.dumps(t.params) for t in engine.ledger.trials() if t.is_repeat}
    assert len(repeated) == 2  # 3 x 9 epochs, and 18 are left for repeats of 9
    result, _ = compared(engine)
    assert result.words[-1] == (
        "2 of 3 finalists compared: the budget ended before the others were trained again"
    )
