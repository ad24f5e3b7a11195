"""Lines of the AutoML route."""

import io

import pytest

from hpo.cli.automl_console import RouteConsole
from hpo.core.route_events import Baseline


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
