"""The files that published tools look for."""

import json

from hpo.automl.recommendation import show_trial
from hpo.automl.views import Views
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.trial import Measurement, Purpose, Suggestion, TrialState
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir

FACTS = WorkspaceFacts(
    skill_dir="/s", network="n", metric="acc", direction="maximize", algorithm="random",
    session_id="s1",
)  # fmt: skip


def test_the_best_is_the_one_of_the_repeats(tmp_path):
    ledger = Ledger.create(None, "maximize")
    for number, (lr, value) in enumerate([(1, 0.5), (2, 0.75), (1, 0.625), (2, 0.25)]):
        purpose = Purpose.CONFIRM if number > 1 else Purpose.SEARCH
        suggestion = Suggestion(number=number, params={"lr": lr}, latents={}, until_epoch=1)
        ledger.start(suggestion, now=0.0, clock=0.0, purpose=purpose)
        ledger.record(number, Measurement(epoch=1, value=value), clock=0.0)
        ledger.finish(number, TrialState.COMPLETE, now=1.0, clock=0.0)
    views = Views(
        RunDir(tmp_path), ledger, FACTS, {},
        lambda number: show_trial(ledger.trial(number), FACTS, direction="maximize"),
    )  # fmt: skip
    views.close()
    best = json.loads((tmp_path / ".automl/best_rec/s1.json").read_text())
    assert (best["rec_number"], best["rec_data"]["metric_value"]) == (0, 0.5)
    rows = json.loads((tmp_path / ".automl/controller/s1.json").read_text())
    assert [row["id"] for row in rows] == [0, 1]
