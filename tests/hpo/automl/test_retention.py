"""Which jobs' artifacts stay while trials still run."""

from types import SimpleNamespace

from hpo.automl.retention import ArtifactCleaner
from hpo.core.selection import best_trial
from hpo.core.trial import Measurement, Purpose, Suggestion, TrialState
from hpo.run.ledger import Ledger


class Platform:
    """Notes what it is asked to delete."""

    def __init__(self):
        self.deleted = []

    def delete_job_artifacts(self, job_id):
        self.deleted.append(job_id)
        return True


def test_the_best_that_has_ended_stays_beside_a_running_one_that_is_ahead():
    ledger, platform = Ledger.create(None, "maximize"), Platform()
    for number, values in enumerate(([0.3, 0.6, 0.9], [0.95], [0.1, 0.2, 0.3])):
        point = Suggestion(
            number=number, params={"p": number}, latents={"p": float(number)}, until_epoch=3
        )
        ledger.start(point, now=0.0, clock=0.0, seed=0, purpose=Purpose.SEARCH, distributions=None)
        for epoch, value in enumerate(values, start=1):
            ledger.record(number, Measurement(epoch=epoch, value=value), clock=0.0)
        if len(values) == 3:
            ledger.finish(number, TrialState.COMPLETE, now=1.0, clock=0.0, error=None)
    states = {f"job{number}": "ended" for number in range(3)}
    book = SimpleNamespace(states=states, put=states.__setitem__)
    facts = SimpleNamespace(objectives=None, direction="maximize")
    cleaner = ArtifactCleaner(
        platform, book, ledger, facts, lambda number: (f"job{number}", ""), lambda: ()
    )
    cleaner.sweep()
    assert best_trial(ledger.trials(), "maximize").number == 1
    assert platform.deleted == ["job2"]
