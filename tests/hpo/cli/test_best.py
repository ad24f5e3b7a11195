import json
import shutil
from pathlib import Path

import pytest

from hpo import api
from hpo.core.event_json import to_plain
from hpo.core.selection import best_trial
from hpo.core.trial import Measurement, Suggestion
from hpo.core.trial_row import TrialRow
from hpo.report import summary
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.tracking.rows import Study
from hpo.tracking.summary import describe


def test_the_winner_and_its_files(hpo, json_of, first):
    best = json_of("best", "first")
    code, out, err = hpo("best", "first")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"trial {best['trial']}: P@1 {best['value']:.4f}"
    for name, file in [("spec", "spec.yaml"), ("checkpoint", "model.ckpt"), ("onnx", "model.onnx")]:
        assert best[name] == str(first / "best" / file)
        assert f"{name:<11} {best[name]}" in lines
    assert f"next        hpo predict {first} IMAGE..." in lines
    assert set(best["params"]) == {"train.lr", "train.margin", "train.width"}


def test_before_the_end_it_is_the_best_so_far(hpo, json_of, second):
    best = json_of("best")
    assert best["trial"] == 0
    assert "onnx" not in best
    assert hpo("best")[1].startswith("trial 0: P@1 0.")


def test_a_moved_run_names_its_files_where_they_are(json_of, hpo, first, tmp_path):
    there = tmp_path / "archive" / "first" / first.name
    there.parent.mkdir(parents=True)
    shutil.move(first, there)
    best = json_of("best", there)
    for name in ("spec", "checkpoint", "onnx"):
        assert Path(best[name]).is_file()
        assert Path(best[name]).is_relative_to(there)
    assert str(first) not in hpo("best", there)[1]


def test_no_result_yet(fails, second):
    (second / "state.json").unlink()
    (second / "events.ndjson").unlink()
    assert fails("best") == (
        f"hpo best: {second}: no trial has a result yet; `hpo status {second}` shows them"
    )


@pytest.mark.parametrize("text", [None, '{"status": "runn'])
def test_a_lost_state_is_no_search_without_results(fails, second, text):
    file = second / "state.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert fails("best") == (
        f"hpo best: {file}: must be what a search wrote of itself, and is damaged or gone; "
        f"`hpo resume {second}` writes it anew"
    )


def test_once_a_search_has_gone_on_nobody_names_the_winner_of_before(hpo, json_of, first):
    """Extended, and interrupted after a better trial: what lies in `best/` is of another search."""
    before = json_of("best", "first")["trial"]
    file = first / "best" / "report.json"
    standings = [
        {"number": n, "value": 0.9 - n / 100, "values": [0.9], "interval": None} for n in range(3)
    ]
    told = {"confirmation": {"words": ["told before"], "winner": before, "standings": standings}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    run, other = RunDir(first), int(not before)

    def read():
        """All that is said of the winner, and of a finalist beside it."""
        trials, direction = Ledger.read_trials(run.ledger_file)
        study = Study(run=run, name="first", uuid="u", direction=direction, metric="m", summary={})
        facts = load_run_data(run)
        return facts.best.number, best_trial(trials, direction).number, [
            *(hpo(*words)[1] for words in (("best", "first"), ("status", "first"), ("why", "first", facts.best.number))),
            *summary.sentences(facts),
            describe(study, trials, "running"),
        ]  # fmt: skip

    number, ranked, words = read()
    assert (number, ranked) == (before, before)
    assert sum("told before" in text.lower() for text in words) == 5
    assert "against" in hpo("why", "first", other)[1]

    facts = {"number": 4, "params": {}, "latents": {}, "until_epoch": 9}
    ledger = Ledger.open(run.ledger_file)
    ledger.start(Suggestion(**facts), now=0.0, clock=99.0)
    ledger.record(4, Measurement(epoch=9, value=2.0), clock=99.0)
    rows = to_plain([TrialRow.of(t, "maximize") for t in ledger.trials()])
    ledger.close()
    run.write_state({**run.read_state(), "status": "stopped", "trials": rows, "best": rows[4]})
    number, ranked, words = read()
    assert (number, ranked) == (4, 4)
    run.write_state({**run.read_state(), "metric": "val_loss"})
    assert hpo("best", "first")[1].startswith("trial 4: val_loss 2.0000\n")
    assert json_of("best", "first")["trial"] == api.Study(run).best["trial"] == 4
    assert not any("told before" in text.lower() for text in words)
    assert "against" not in hpo("why", "first", other)[1]
