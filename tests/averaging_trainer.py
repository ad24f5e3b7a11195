"""The trainer without torch, which can also average: trials of one `train.width` share a start."""

from __future__ import annotations

import json
from pathlib import Path

from tests.quick_trainer import QuickTrainer

NAME = "tests.averaging_trainer:TRAINER"


class AveragingTrainer(QuickTrainer):
    """Keeps those of `good` and writes down what it averaged; a width of 1 stands for no start."""

    name = "averaging"

    def __init__(self, good=(3, 4)):
        self.good, self.asked, self.evaluated = good, [], []

    def shares_start(self, spec, other):
        return 1 != spec["train"]["width"] == other["train"]["width"]

    def average(self, spec, files, out):
        assert all(Path(file).is_file() for file in files)
        numbers = [int(file.parent.parent.name) for file in files[1:]]
        self.asked.append((str(files[0]), numbers))
        kept = [0, *(place for place, n in enumerate(numbers, start=1) if n in self.good)]
        if len(kept) > 1:
            of = [str(files[place]) for place in kept]
            Path(out).write_text(json.dumps({"history": [], "of": of}))
        return {"alone": 0.8, "value": 0.8 + 0.01 * len(kept), "kept": kept}

    def evaluate(self, spec):
        self.evaluated.append(spec["evaluate"]["checkpoint"])
        return super().evaluate(spec)


TRAINER = AveragingTrainer()
