"""A study as a script: real run directory and ledger, events as the engine emits them."""

import copy
import json
import shutil
from pathlib import Path

from hpo.core.event_bus import EventBus, EventFile
from hpo.core.events import (
    Epoch,
    Error,
    Finished,
    Interrupted,
    Started,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.trial import Measurement, Suggestion, TrialState
from hpo.run.create_run import create_run
from hpo.run.ledger import Ledger
from hpo.tracking.mirror import MlflowMirror
from hpo.tracking.rows import Study

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
BEGAN = 1_700_000_000.0
NAME = "shelf"


class Script:
    """One study that a test plays: `open` a search, let trials happen, `close` it."""

    metric = "val_precision_at_1"

    def __init__(self, out):
        def fill(folder):
            (folder / "study.yaml").write_text("schema_version: 1\nname: shelf\n")
            (folder / "plan.json").write_text(json.dumps({"study_uuid": UUID}))
            Ledger.create(folder / "ledger.db", "maximize").close()

        self.run = create_run(out, NAME, fill)
        self.ledger = Ledger.open(self.run.ledger_file)
        self.uri = f"sqlite:///{out / 'mlflow.db'}"
        self.bus = EventBus()

    def open(self, uri=None, **summary):
        """Start a search's listeners."""
        study = Study(
            run=self.run,
            name=NAME,
            uuid=UUID,
            direction="maximize",
            metric=self.metric,
            summary={"budget": "4 trials", "algorithm": "tpe", **summary},
        )
        self.mirror = MlflowMirror(
            study,
            tracking_uri=uri or self.uri,
            snapshot=lambda: copy.deepcopy(self.ledger.trials()),
        )
        self.bus = EventBus([EventFile(self.run.events_file), self.mirror])
        self.bus.emit(Started(run_dir=str(self.run)))
        return self

    def close(self, last="finished"):
        """End the search."""
        run = str(self.run)
        if last:
            ends = {
                "finished": Finished(run_dir=run),
                "interrupted": Interrupted(run_dir=run, resume=f"hpo resume {run}"),
                "error": Error(run_dir=run, message="a bug"),
            }
            self.bus.emit(ends[last])
        self.bus.close()

    def start(self, number, purpose="search", **params):
        """Start a trial a hundred seconds after the one before."""
        suggestion = Suggestion(number=number, params=params, latents={}, until_epoch=3)
        self.ledger.start(suggestion, now=BEGAN + 100 * number, clock=0.0, purpose=purpose)
        self.bus.emit(TrialStarted(trial=number, params=params, purpose=purpose))

    def epochs(self, number, *values):
        """Go on with a trial: ten seconds an epoch."""
        for value in values:
            epoch = self.ledger.trial(number).epochs + 1
            metrics = {"train_loss": 1.0 / epoch, "p@5": 0.9}
            measurement = Measurement(epoch=epoch, value=value, metrics=metrics, seconds=10.0)
            self.ledger.record(number, measurement, clock=0.0)
            self.bus.emit(Epoch(trial=number, epoch=epoch, value=value, seconds=10.0))

    def end(self, number, state=TrialState.COMPLETE, reason="", error=None, receipt=None):
        """End a trial, with the files that a trainer leaves."""
        folder = self.run.trial_dir(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.yaml").write_text(f"trial: {number}\n")
        (folder / "log.txt").write_text("said\n")
        if receipt is not None:
            self.ledger.annotate(number, receipt=receipt)
        record = self.ledger.trial(number)
        now = record.started + record.seconds
        self.ledger.finish(number, state, now=now, clock=0.0, error=error)
        self.bus.emit(TrialFinished(trial=number, state=state, reason=reason))

    def suspend(self, number, reason="interrupted"):
        """Leave a trial for later."""
        self.bus.emit(TrialSuspended(trial=number, epoch=1, reason=reason))


def copy_store(template: Path, out: Path):
    """Put an empty store into a run root, in place of creating one, which takes seconds."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, out / "mlflow.db")
    return out
