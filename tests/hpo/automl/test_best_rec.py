"""The hand-over file, against a schema written from its published description."""

import json
from functools import partial

import jsonschema
import pytest

from hpo.automl.best_rec import best_record
from hpo.automl.recommendation import metric_of
from hpo.core.trial import Measurement, Suggestion, TrialState
from hpo.run.ledger import Ledger

NUMBER = {"type": ["number", "null"]}
SCHEMA = {
    "type": "object",
    "required": ["schema_version", "experiment_id", "metric_name", "direction", "best", "all_recs"],
    "properties": {
        "schema_version": {"const": 1},
        "experiment_id": {"type": "string", "minLength": 1},
        "metric_name": {"type": "string"},
        "direction": {"enum": ["maximize", "minimize"]},
        "best": {
            "type": "object",
            "required": ["rec_id", "score", "specs", "observed_budget", "checkpoint_uri"],
            "properties": {
                "rec_id": {"type": "string"},
                "score": {"type": "number"},
                "specs": {"type": "object"},
                "observed_budget": {"type": "integer", "minimum": 1},
                "checkpoint_uri": {"type": ["string", "null"]},
                "checkpoint_epoch": {"type": "integer"},
            },
        },
        "all_recs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rec_id", "score"],
                "properties": {"rec_id": {"type": "string"}, "score": NUMBER},
            },
        },
    },
}


def add(ledger, params, values, state=TrialState.COMPLETE):
    number = ledger.next_number
    wanted = Suggestion(number=number, params=params, latents={}, until_epoch=3)
    ledger.start(wanted, now=0.0, clock=0.0)
    for epoch, value in enumerate(values, 1):
        ledger.record(number, Measurement(epoch=epoch, value=value), clock=0.0)
    error = {"kind": "code", "message": "broke"} if state is TrialState.FAILED else None
    ledger.finish(number, state, now=1.0, clock=0.0, error=error)


@pytest.fixture
def ledger():
    made = Ledger.create(None, "minimize")
    add(made, {"train.lr": 0.1, "train.num_epochs": 3}, [0.9, 0.25, 0.4])
    add(made, {"train.lr": 0.2, "train.num_epochs": 3}, [0.1], TrialState.FAILED)
    return made


@pytest.mark.parametrize(
    ("checkpoint", "uri"),
    [
        ("/runs/a b/best.ckpt", "file:///runs/a%20b/best.ckpt"),
        ("s3://shop/best.ckpt", "s3://shop/best.ckpt"),
        (None, None),
    ],
)
def test_it_holds_the_winner_and_the_scores_of_all(ledger, checkpoint, uri):
    record = best_record(
        ledger.trials(),
        ledger.trial(0),
        head={"experiment_id": "exp", "metric_name": "loss", "direction": "minimize"},
        epochs_key="train.num_epochs",
        checkpoint=checkpoint,
        score_of=partial(metric_of, direction="minimize"),
        job_of=lambda trial: "job-7" if trial.number else "",
    )
    jsonschema.validate(json.loads(json.dumps(record)), SCHEMA)
    assert record["best"] == {
        "rec_id": "0",
        "score": 0.25,
        "specs": {"train": {"lr": 0.1}},
        "observed_budget": 3,
        "checkpoint_uri": uri,
        "checkpoint_epoch": 2,
    }
    assert record["all_recs"] == [
        {"rec_id": "0", "score": 0.25},
        {"rec_id": "1", "score": None, "job_id": "job-7"},
    ]
