"""Summarise the receipts of all runs below a folder: device, precision, peak memory, seconds per epoch."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(folder):
    from hpo.run.ledger import Ledger
    from hpo.run.run_dir import list_runs

    seen = 0
    print(
        f"{'run':<28} {'trial':>5} {'state':<9} {'P@1':>7} {'s/epoch':>8} {'MiB':>7} {'limit':>7}  device"
    )
    for run in list_runs(Path(folder)):
        ledger = Ledger.open(run.ledger_file)
        for trial in ledger.trials():
            receipt = trial.receipt or {}
            best = trial.best_measurement(ledger.direction)
            value = f"{best.value:.4f}" if best else "-"
            seconds = trial.seconds / max(trial.epochs, 1)
            memory = receipt.get("peak_memory_mib", 0)
            limit = receipt.get("memory_limit_mib")
            limit_text = "-" if limit is None else f"{limit:.0f}"
            name = f"{run.study_name}/{run.path.name}"
            print(
                f"{name:<28} {trial.number:>5} {trial.state:<9} {value:>7} {seconds:>8.2f} "
                f"{memory:>7.0f} {limit_text:>7}  {receipt.get('device')} "
                f"[{receipt.get('visible_devices')}] {receipt.get('precision')}"
            )
            seen += 1
        ledger.close()
    if seen < 8:
        sys.exit(f"expected 8 trials, found {seen}")


if __name__ == "__main__":
    main(sys.argv[1])
