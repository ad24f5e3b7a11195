"""The trainer without torch, which says what it does before its first epoch."""

from __future__ import annotations

from tests.quick_trainer import QuickTrainer

NAME = "tests.telling_trainer:TRAINER"
HEADS = 20


class TellingTrainer(QuickTrainer):
    name = "telling"

    def fit(self, spec, report, resume_from=None, start_epoch=None, progress=None):
        for done in range(1, HEADS + 1):
            progress("head epochs", done, HEADS)
        progress("looking around", 0, 0)
        progress("", 0, 0)
        return super().fit(spec, report, resume_from, start_epoch)

    def fit_heads(self, specs, report, progress=None):
        progress("computing features", 64, 128)
        return [{"applied": {}} for _ in specs]


TRAINER = TellingTrainer()
