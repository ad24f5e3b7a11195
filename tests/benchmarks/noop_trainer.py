"""A trainer that reports nine epochs and does nothing else: what is left is the harness."""

from __future__ import annotations

from tests.quick_trainer import QuickTrainer


class NoopTrainer(QuickTrainer):
    def fit(self, spec, report, resume_from=None):
        lr = spec["train"]["lr"]
        applied = {f"train.{k}": spec["train"][k] for k in ("lr", "margin", "width")}
        receipt = {"applied": applied}
        for epoch in range(1, 10):
            value = lr + epoch / 100
            report({"epoch": epoch, "value": value, "seconds": 1e-3, "receipt": receipt})
        return receipt


TRAINER = NoopTrainer()
