"""Lines of the AutoML route."""

import io

import pytest

from hpo.cli.automl_console import RouteConsole, print_job
from hpo.core.route_events import Baseline
from hpo.jobs.job import Job
from tests.quick_cli import events_of


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"status": "measured", "metric_value": 0.125, "held_out": {"metric_value": 0.5}},
            "0.1250 (the start); 0.5000 on held-out data",
        ),
        ({"status": "provided", "metric_value": 0.45}, "0.4500 (the start)"),
        ({"status": "failure", "reason": "no data"}, "failure (the start): no data"),
    ],
)
def test_a_baseline_has_its_value_or_a_reason(facts, line):
    stream = io.StringIO()
    RouteConsole(stream).handle(Baseline(label="the start", **facts))
    assert stream.getvalue() == f"baseline  {line}\n"


@pytest.mark.parametrize("status", ["success", "canceled", "failure"])
def test_the_events_of_a_plain_training_that_failed_end_with_its_error(status):
    stream = io.StringIO()
    job = Job(id="train-1", action="train", skill_dir="s", status=status, message="no data")
    print_job(job, stream)
    finished, *more = events_of(stream.getvalue())
    assert (finished["event"], finished["status"]) == ("finished", status)
    said = [(event["event"], event["message"]) for event in more]
    assert said == ([("error", "no data")] if status == "failure" else [])
