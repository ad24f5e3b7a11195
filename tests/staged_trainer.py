"""The trainer without torch, with stages: cheap heads first, then whole trainings from the best.

A head's value depends on its margin alone. A whole training that begins with a head has the head's
margin, and comes closer to its peak the better the head was.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.quick_trainer import QuickTrainer, value_at

NAME = "tests.staged_trainer:TRAINER"
PARENT = "train.begin_with"
EARLIER = {
    "heads": {
        "spec": {"train.frozen": True, "train.num_epochs": 2},
        "over": ["train.margin"],
        "ranges": {"train.margin": {"low": 0.1, "high": 0.9, "log": False}},
        "trials": 6,
        "batch": 3,
        "share": 0.4,
        "carries": ["train.margin"],
        "with_parent": {"train.warm": True},
    }
}
SEARCH = {"over": ("train.lr", "train.width"), "earlier_stages": EARLIER}


class StagedTrainer(QuickTrainer):
    name = "staged"
    parent_key = PARENT

    def validate(self, spec):
        own = {"frozen": False, "warm": False, "begin_with": ""}
        train = dict(spec.get("train", {}))
        own |= {key: train.pop(key) for key in own.keys() & train.keys()}
        full = super().validate({**spec, "train": train})
        full["train"] |= own
        return full

    def choose_start(self, given, *, gpus, budget_s, screened=()):
        row = EARLIER["heads"]
        kept = {k: row[k] for k in ("spec", "trials", "batch", "share", "carries", "with_parent")}
        heads = {
            **kept, "name": "heads", "search": tuple(row["over"]), "options": {},
            "ranges": {"train.margin": (0.1, 0.9, False)}, "reason": "stages: heads first",
        }  # fmt: skip
        full = {"name": "full", "search": ("train.lr", "train.width"), "ranges": {}}
        return {
            "spec": {}, "search": ("train.lr", "train.margin", "train.width"), "ranges": {},
            "reasons": (), "stages": [heads, full], "staged": False,
        }  # fmt: skip

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        return self._train([spec], lambda _, line: report(line), [resume_from])[0]

    def fit_heads(self, specs, report):
        return self._train(specs, report, [None] * len(specs))

    def _train(self, specs, report, starts):
        """Train epoch by epoch, all together."""
        receipts, running = [], {}
        for place, (spec, start) in enumerate(zip(specs, starts, strict=True)):
            folder = Path(spec["results_dir"])
            self._sign_in(folder)
            applied = {f"train.{k}": spec["train"][k] for k in ("lr", "margin", "width", "warm")}
            receipts.append({"applied": applied, "device": "cpu"})
            history = json.loads(Path(start).read_text())["history"] if start else []
            running[place] = (folder, history)
            for line in history:
                report(place, {**line, "replayed": True, "receipt": receipts[place]})
        for epoch in range(1, max(spec["train"]["num_epochs"] for spec in specs) + 1):
            for place, (folder, history) in list(running.items()):
                if epoch <= len(history):
                    continue
                time.sleep(specs[place]["fault"]["sleep"])
                value = self._value(specs[place], epoch)
                history.append({"epoch": epoch, "value": value, "metrics": {}, "seconds": 0.5})
                self._save(folder, history)
                with (folder / "trained.txt").open("a") as stream:
                    stream.write(f"{epoch}\n")
                if not report(place, {**history[-1], "receipt": receipts[place]}):
                    del running[place]
        return receipts

    def _value(self, spec, epoch):
        train = spec["train"]
        if train["frozen"]:
            return 0.5 - (train["margin"] - 0.6) ** 2 + epoch / 1000
        params = {key: train[key] for key in ("lr", "margin", "width")}
        value = value_at(params, epoch, train["seed"])
        if train["begin_with"]:
            head = json.loads(Path(train["begin_with"]).read_text())["history"][-1]["value"]
            value += 0.2 * head
        return value


TRAINER = StagedTrainer()
