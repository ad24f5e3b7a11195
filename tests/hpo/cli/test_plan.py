"""`hpo plan` tells what the search then does, and leaves nothing behind."""

import json
from dataclasses import replace

import pytest

from hpo.cli.plan import render_more
from hpo.core.budget import parse_budget
from hpo.core.forecast import Forecast
from hpo.run.ledger import Ledger
from hpo.searching.dry_run import DryRun, cost_of, plan_search
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from tests.quick_cli import call, write_study
from tests.quick_runs import quick_study

FORECAST = Forecast(
    seconds=3600.0, low_s=3000.0, high_s=4000.0, trials=20, epochs=90, pruned=9, busy_share=1.0
)


def found(budget, **facts):
    """A dry run that measured an hour for 20 trials."""
    return DryRun(
        budget=parse_budget(budget), epochs_per_trial=9, forecast=FORECAST,
        **{"first_batch": [], "with_twice_the_slots": None, "batch_in_memory": None, **facts},
    )  # fmt: skip


def test_the_first_batch_is_what_then_runs(tmp_path):
    study = quick_study(budget=parse_budget("3"))
    settings = SearchSettings(executor="inprocess")
    planned = plan_search(study, settings).first_batch
    run = start_search(study, tmp_path, settings).run
    ledger = Ledger.open(run.ledger_file)
    trained = [trial.params for trial in ledger.trials()]
    ledger.close()
    assert [entry["params"] for entry in planned] == trained[: len(planned)]


def test_nothing_is_left_behind(tmp_path):
    code, out, err = call(tmp_path, "plan", write_study(tmp_path), "--budget", "9", "--in-process")
    told = ["starting the workers ...", "looking at the pictures ...", "measuring an epoch ..."]
    assert (code, err.splitlines()) == (0, told)
    assert "expected  " in out
    assert "first     trial 0: the default configuration" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml"]


def test_a_plan_that_is_kept_beside_its_study_keeps_no_search_from_starting(tmp_path):
    words = (write_study(tmp_path), "--budget", "2", "--in-process")
    (tmp_path / "plan.json").write_text(call(tmp_path, "plan", *words, "--json")[1])
    code, _, err = call(tmp_path, "search", *words, "--yes")
    assert code == 0, err
    assert len(list(tmp_path.glob("runs/quick/*/ledger.db"))) == 1


def test_json_for_programs(tmp_path, json_of):
    plan = json_of("plan", write_study(tmp_path), "--budget", "9", "--in-process")
    assert plan["forecast"]["trials"] == 9
    assert plan["with_twice_the_slots"]["seconds"] < plan["forecast"]["seconds"]


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf"])
def test_a_price_is_a_positive_number(tmp_path, fails, price):
    line = fails("plan", write_study(tmp_path), f"--price-per-gpu-hour={price}")
    assert line.startswith("hpo plan: --price-per-gpu-hour: must be above 0, got")


def test_the_cost_is_hours_times_gpus_times_price():
    review = found("20", gpus_per_trial=0.5, concurrent=4)
    assert cost_of(review, 3.0, parse_budget("20")) == pytest.approx(6.0)
    assert cost_of(review, 3.0, parse_budget("20,1gpuh")) == pytest.approx(3.0)
    assert cost_of(replace(review, gpus_per_trial=0.0), 3.0, parse_budget("20")) is None


def test_what_more_hardware_would_bring():
    twice = replace(FORECAST, seconds=1800.0, trials=40)
    facts = {"with_twice_the_slots": twice, "gpus_per_trial": 1.0, "batch_in_memory": 96,
             "concurrent": 2, "probe": {"total_memory_mib": 12000.0}}  # fmt: skip
    lines = render_more(found("20", **facts), 3.0)
    assert lines[:4] == [
        "hardware  with twice as many GPUs the search would take 30m in place of 1h",
        "memory    a batch of about 96 would fill the GPU",
        "warning   the GPU has 12000 MiB; below 16 GB large backbones do not fit",
        "cost      about 6.00 at 3 a GPU hour",
    ]
    lines = render_more(found("1h", **facts), None)
    assert lines[0] == (
        "hardware  with twice as many GPUs the same budget would be enough for 40 trials in place "
        "of 20"
    )


@pytest.mark.parametrize(
    ("budget", "facts"),
    [
        ("20", {"seconds": 3590.0}),
        ("2h", {"seconds": 3600.0}),
        ("2h", {"seconds": 3800.0, "trials": 19}),
        ("4gpuh", {"seconds": 3600.0, "epochs": 99}),
    ],
)
def test_hardware_that_would_bring_nothing_is_not_named(budget, facts):
    lines = render_more(found(budget, with_twice_the_slots=replace(FORECAST, **facts)), None)
    assert lines == ["start     the same flags with `hpo search`"]


def test_more_cores_end_a_budget_of_epochs_sooner():
    twice = replace(FORECAST, seconds=2400.0, trials=21)
    lines = render_more(found("90epochs", with_twice_the_slots=twice), None)
    assert lines[0] == "hardware  with twice as many cores the search would take 40m in place of 1h"


def test_runs_below_out_are_remembered_by_whoever_made_them(tmp_path, hpo, monkeypatch):
    """As a search there does; the list of runs that the search was put on is another one's."""
    data = "".join(f"  {name}: {tmp_path}/{name}\n" for name in ("train", "reference", "query"))
    for name in ("train", "reference", "query"):
        (tmp_path / name).write_text(name)
    study = write_study(tmp_path, f"data:\n{data}search: {{algorithm: random, pruner: none}}\n")
    flags = (study, "--in-process", "--memory", "--budget", "6", "--json")

    def call_as(person, verb, *more):
        (tmp_path / person).mkdir(exist_ok=True)
        monkeypatch.setenv("HPO_MEMORY", "on")
        monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / person))
        code, out, err = hpo(verb, *flags, *more)
        assert code == 0, err
        return out

    call_as("one", "search", "--out", "moved")
    begins = [
        json.loads(call_as("two", "plan", "--out", out))["start"] for out in ("moved", "none")
    ]
    assert [any("--no-memory" in line for line in lines) for lines in begins] == [True, False]
