"""The trainer without torch, passing the traps of a crash test and noting every epoch it begins."""

from __future__ import annotations

import json
from pathlib import Path

from tests.crashes.trap import pass_by
from tests.quick_trainer import QuickTrainer

NAME = "tests.crashes.trainer:TRAINER"
BEGUN = "begun.txt"
"""A line per epoch that was begun, those included that never ended."""


class TrappedTrainer(QuickTrainer):
    name = "trapped"

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        folder = Path(spec["results_dir"])
        out, number = folder.parents[3], int(folder.name)
        self._sign_in(folder)
        pass_by(out, "fit", "before", number=number)
        history = json.loads(Path(resume_from).read_text())["history"] if resume_from else []
        last = spec["train"]["num_epochs"]

        def begin(epoch):
            if epoch <= last:
                with (folder / BEGUN).open("a") as stream:
                    stream.write(f"{epoch}\n")

        def passing(line):
            if not line.get("replayed"):
                pass_by(out, "report", "before", number=number, epoch=line["epoch"])
            goes_on = report(line)
            if goes_on and line["epoch"] > len(history):
                begin(line["epoch"] + 1)
            return goes_on

        begin(len(history) + 1)
        return super().fit(spec, passing, resume_from, start_epoch)

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

    def export(self, spec):
        out = Path(spec["export"]["checkpoint"]).parents[3]
        pass_by(out, "export", "before")
        result = super().export(spec)
        pass_by(out, "export", "after")
        return result


TRAINER = TrappedTrainer()
