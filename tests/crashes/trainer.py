"""The trainer without torch, passing the traps of a crash test and noting every epoch it begins."""

from __future__ import annotations

import json
from pathlib import Path

from tests.crashes.trap import pass_by
from tests.quick_trainer import QuickTrainer

NAME = "tests.crashes.trainer:TRAINER"
TRAINED = "epochs_trained.txt"
"""A line per epoch that was trained."""


class Epochs:
    """Hears every epoch for a report, passes its moment, and notes what is trained.

    Args:
        folder: the trial's.
        report: what is to be told.
        done: epochs that the checkpoint holds.
        last: the last epoch.
        at: whether an epoch is noted as it is `begun` or when it has `ended`.
    """

    def __init__(self, folder, report, done, *, last, at="begun"):
        self._folder, self._report, self._done, self._last = folder, report, done, last
        self._at = at
        self._note("begun", done + 1)

    def __call__(self, line):
        out, epoch = self._folder.parents[3], line["epoch"]
        if epoch <= self._done:
            return self._report(line)
        self._note("ended", epoch)
        pass_by(out, "report", "before", number=int(self._folder.name), epoch=epoch)
        goes_on = self._report(line)
        if goes_on:
            self._note("begun", epoch + 1)
        return goes_on

    def _note(self, moment, epoch):
        if moment == self._at and epoch <= self._last:
            with (self._folder / TRAINED).open("a") as stream:
                stream.write(f"{epoch}\n")


class TrapsExport:
    """Passes the moments before and after an export; stands before a trainer's own class."""

    def export(self, spec):
        out = Path(spec["export"]["checkpoint"]).parents[3]
        pass_by(out, "export", "before")
        result = super().export(spec)
        pass_by(out, "export", "after")
        return result


class TrappedTrainer(TrapsExport, QuickTrainer):
    name = "trapped"

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        folder = Path(spec["results_dir"])
        self._sign_in(folder)
        pass_by(folder.parents[3], "fit", "before", number=int(folder.name))
        done = len(json.loads(Path(resume_from).read_text())["history"]) if resume_from else 0
        epochs = Epochs(folder, report, done, last=spec["train"]["num_epochs"])
        return super().fit(spec, epochs, resume_from, start_epoch)

    def _save(self, folder, history):
        number, epoch = int(folder.name), history[-1]["epoch"]
        (folder / "ckpt").mkdir(parents=True, exist_ok=True)
        facts = {"number": number, "epoch": epoch}
        for name in ("last.ckpt", "best.ckpt"):
            draft = folder / "ckpt" / f".{name}"
            draft.write_text(json.dumps({"history": history}))
            pass_by(folder.parents[3], f"rename {name}", "before", **facts)
            draft.replace(folder / "ckpt" / name)
            pass_by(folder.parents[3], f"rename {name}", "after", **facts)


TRAINER = TrappedTrainer()
