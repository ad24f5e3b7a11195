"""The staged trainer without torch, passing the traps of a crash test."""

from __future__ import annotations

import json
from pathlib import Path

from tests.crashes.trainer import Epochs, TrapsExport
from tests.crashes.trap import pass_by
from tests.staged_trainer import EARLIER, StagedTrainer

NAME = "tests.crashes.staged_trainer:TRAINER"
STUDY = {
    "trainer": NAME,
    "trials": 6,
    "over": ["train.lr", "train.width"],
    "earlier_stages": EARLIER,
}


class TrappedStagedTrainer(TrapsExport, StagedTrainer):
    name = "trapped_staged"

    def _train(self, specs, report, starts):
        folders = [Path(spec["results_dir"]) for spec in specs]
        pass_by(folders[0].parents[3], "fit", "before", number=int(folders[0].name))
        heard = []
        for place, (folder, start) in enumerate(zip(folders, starts, strict=True)):
            done = len(json.loads(Path(start).read_text())["history"]) if start else 0
            last = specs[place]["train"]["num_epochs"]
            own = lambda line, place=place: report(place, line)  # noqa: E731
            heard.append(Epochs(folder, own, done, last=last))
        return super()._train(specs, lambda place, line: heard[place](line), starts)


TRAINER = TrappedStagedTrainer()
